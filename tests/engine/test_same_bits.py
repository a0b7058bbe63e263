"""What makes the same call give the same bits on a GPU, tried on the processor as far as it can be."""

from __future__ import annotations

import threading
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import nn_lens as nl
from nn_lens.engine.maximizing import ascent, growth, waves
from nn_lens.engine.maximizing import maximize as maximizing
from nn_lens.engine.maximizing.resampling import Resampled
from nn_lens.engine.network.deterministic import deterministic

GPU = torch.device("cuda")


def of_torch(x, grid):
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


@pytest.mark.parametrize("shape", [(3, 2, 9, 14), (2, 3, 1, 20), (2, 1, 5, 6, 7)])
def test_the_gradient_of_resampling_is_torchs(shape):
    g = torch.Generator().manual_seed(0)
    places = len(shape) - 2
    x, gradient = torch.randn(shape, generator=g), torch.randn(shape, generator=g)
    grid = F.affine_grid(torch.randn(shape[0], places, places + 1, generator=g), list(shape), align_corners=False)
    found, expected = (
        torch.autograd.grad(f(leaf, grid), leaf, gradient)[0]
        for f, leaf in ((f, x.clone().requires_grad_()) for f in (Resampled.apply, of_torch))
    )
    assert torch.allclose(found, expected, atol=2e-5)
    assert torch.equal(Resampled.apply(x, grid), of_torch(x, grid))


def test_a_gradient_that_is_no_number_stays_with_its_picture():
    x, gradient = torch.rand(2, 1, 5, 5).requires_grad_(), torch.ones(2, 1, 5, 5)
    gradient[1, 0, 2, 2] = torch.nan
    grid = F.affine_grid(torch.eye(2, 3).expand(2, 2, 3), [2, 1, 5, 5], align_corners=False)
    (found,) = torch.autograd.grad(Resampled.apply(x, grid), x, gradient)
    assert torch.allclose(found[0], torch.ones(5, 5), atol=1e-5)
    assert found[1].isnan().any()


def test_torch_is_told_while_anybody_is_inside_and_then_has_its_own_way_again():
    def flags():
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.benchmark,
            torch.utils.deterministic.fill_uninitialized_memory,
        )

    before, filters = flags(), list(warnings.filters)
    torch.backends.cudnn.benchmark = True
    mine, seen = flags(), []
    try:

        def use():
            for _ in range(50):
                with deterministic(GPU), deterministic(GPU):
                    seen.append(flags())

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(seen) == {(True, True, False, False)}
        assert flags() == mine
        with deterministic(torch.device("cpu")):
            assert flags() == mine
        with pytest.raises(ValueError, match="its own"), deterministic(GPU):
            raise ValueError("its own")
        assert flags() == mine
        assert warnings.filters == filters
    finally:
        torch.backends.cudnn.benchmark = before[2]


def test_full_batches_change_nothing_but_what_they_cost(monkeypatch):
    """On a GPU the last bits depend on how many pictures there are: so there are always as many."""
    net = nl.demo()
    plain = nl.maximize(net, ["relu2:1", "relu2:5", "relu2:7"], steps=8)
    batches = []

    class Watched(maximizing.Batch):
        def _value(self, moved, pictures):
            batches.append(len(moved))
            return super()._value(moved, pictures)

    settings = maximizing.Settings
    monkeypatch.setattr(maximizing, "Settings", lambda *given: replace(settings(*given), full=4))
    monkeypatch.setattr(maximizing, "Batch", Watched)
    full = nl.maximize(net, ["relu2:1", "relu2:5", "relu2:7"], steps=8)
    alone = nl.maximize(net, "relu2:7", steps=8)
    assert set(batches) == {4}
    assert full.images.shape == plain.images.shape
    assert full.history.shape == (8, 3)
    assert np.abs(full.images - plain.images).max() <= 1 / 255
    assert np.array_equal(full.images[2:], alone.images)
    assert np.array_equal(full.activations[2:], alone.activations)


def test_inside_an_evaluation_another_changes_nothing():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout())
    net = nl.Network(model, (3, 8, 8))
    model.train()
    with net.evaluation():
        with net.evaluation():
            assert not model.training
        assert not any(m.training for m in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
    assert all(m.training for m in model.modules())
    assert all(p.requires_grad for p in model.parameters())


class NoDouble(TorchDispatchMode):
    """A device without double precision, as Apple's: whatever makes such numbers fails."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        answer = func(*args, **(kwargs or {}))
        for tensor in answer if isinstance(answer, (tuple, list)) else [answer]:
            if isinstance(tensor, torch.Tensor) and tensor.dtype is torch.float64 and tensor.numel() > 1:
                raise TypeError(f"{func} made double precision")
        return answer


def test_images_are_made_where_there_is_no_double_precision(monkeypatch):
    for module in (ascent, growth, waves):
        monkeypatch.setattr(module, "widest", lambda device: torch.float32)
    net = nl.Network(nn.Sequential(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.Conv2d(6, 4, 5, stride=2)).eval(), (3, 24, 24))
    nl.maximize(net, "2:1", steps=2)  # what is known of the layer, on the processor, is looked up then
    plan = maximizing.Run(net, [nl.Unit("2", 0), nl.Unit("2", 3)])
    with NoDouble():
        for step in plan.steps():
            assert np.isfinite(step.activations).all()
            if step.index == 12:
                break
    assert plan.history[-1].mean() > plan.history[0].mean()
