"""Pictures are laid out as convolutions like them, and models that cannot have it so still work."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nn_lens as nl
from nn_lens.engine.network import memory_format


class Viewing(nn.Module):
    """Calls view() on a map with places, which fails where channels lie side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Linear(6 * 16 * 16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).relu().view(len(x), -1))


def test_a_model_that_calls_view_answers_as_ever() -> None:
    torch.manual_seed(0)
    model = Viewing()
    net = nl.Network(model, input_shape=(3, 16, 16))
    x = torch.rand(2, 3, 16, 16)
    assert memory_format.pays(memory_format.kernel_weights(model.modules())[-1], x)
    with torch.no_grad(), net.evaluation():
        assert torch.equal(net.outputs(x, [""])[""][:, :, 0, 0], model(x))
    assert nl.maximize(net, "head:1", steps=4).activations[0] > 0


class Writing(nn.Module):
    """Writes on what flatten() gives, and reads the map itself later: a view of it, where channels lie apart."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        y.flatten(1).relu_()
        return self.b(y).mean((2, 3))


def test_a_model_that_writes_on_a_view_answers_as_ever() -> None:
    torch.manual_seed(0)
    model = Writing()
    net = nl.Network(model, input_shape=(3, 16, 16))
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad(), net.evaluation():
        assert torch.equal(net.outputs(x, [""])[""][:, :, 0, 0], model(x))


def test_an_error_of_the_model_stays_its_own() -> None:
    net = nl.Network(Viewing(), input_shape=(3, 16, 16))
    with pytest.raises(nl.LensError, match="mat1"), torch.no_grad(), net.evaluation():
        net.outputs(torch.rand(1, 3, 12, 12), [""])


def test_the_memory_format_does_not_change_the_answer(demo: nl.Network) -> None:
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for name in ("relu1", "block4", ""):
        with torch.no_grad(), demo.evaluation():
            ours = demo.outputs(x, [name])[name]
            plain = demo.model.get_submodule(name)
            found = []
            handle = plain.register_forward_hook(lambda _m, _i, o, found=found: found.append(o.clone()))
            try:
                demo.model(demo.normalized(x))
            finally:
                handle.remove()
        torch.testing.assert_close(ours.flatten(), found[0].reshape(ours.shape).flatten(), rtol=1e-4, atol=1e-4)


def test_large_kernels_under_small_pictures_are_not_laid_out_anew() -> None:
    weights = memory_format.kernel_weights([nn.Conv2d(512, 512, 3), nn.Conv2d(512, 512, 1), nn.ReLU()])
    assert weights == [512 * 512 * 9] * 3
    assert not memory_format.pays(weights[-1], torch.zeros(16, 3, 32, 32))
    assert memory_format.pays(weights[-1], torch.zeros(1, 3, 224, 224))
    assert not memory_format.pays(weights[-1], torch.zeros(1, 3, 224, 224, dtype=torch.float64))
