"""Large canvases that begin small, and units whose way to the input is shut more than once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import nn_lens as nl
from nn_lens.engine.maximizing import growth
from nn_lens.engine.maximizing.maximize import Run


def deep(seed: int = 0) -> nl.Network:
    """Receptive fields of 131 pixels, of which the outer ones count little."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b, stride in ((3, 6, 2), (6, 8, 2), (8, 8, 2), (8, 8, 2), (8, 8, 1), (8, 8, 1), (8, 8, 1)):
        layers += [nn.Conv2d(a, b, 3, stride, 1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    return nl.Network(model, (3, 192, 208), False)


def test_images_are_always_of_the_final_canvas_and_grow_in_it():
    net = deep()
    steps = list(nl.maximize_steps(net, "12:3"))
    found = nl.maximize(net, "12:3")
    sides = [step.canvas for step in steps]
    assert len(steps) == found.steps == 96
    assert all(a <= b for a, b in pairwise(sides))
    assert len(set(sides)) >= 3
    assert sides[-1] == found.images.shape[2:]
    assert [(i, s) for i, s in enumerate(sides) if i == 0 or s != sides[i - 1]] == list(found.canvases)
    for step in steps[::12]:
        assert step.images.shape == found.images.shape
        inside = np.ones(found.images.shape[2:], bool)
        top, left = step._stage.offset
        inside[top : top + step.canvas[0], left : left + step.canvas[1]] = False
        assert (step.images[0][:, inside] == 0.5).all()
        assert step.images[0][:, ~inside].std() > 0.05


def test_what_is_found_on_small_canvases_is_kept():
    """As far as on the whole canvas at every step, nearly, for a third less pixels."""
    net = deep()
    units = [nl.Unit("12", c) for c in range(4)]
    whole = nl.parametrizations.fourier()
    grown, still = nl.maximize(net, units), nl.maximize(net, units, steps=96, parametrization=whole)
    assert still.canvases == ((0, grown.images.shape[2:]),)
    alive = still.activations > 1e-3
    assert alive.any()
    assert (grown.activations[alive] >= 0.85 * still.activations[alive]).all()
    run = Run(net, units)
    pixels = sum(np.prod(step.canvas) for step in run.steps())
    assert pixels < 0.7 * 96 * np.prod(grown.images.shape[2:])


def test_an_image_alone_is_that_of_the_page_to_the_bit():
    net = deep()
    page = nl.maximize(net, ["12:1", "12:3", "12:6"])
    alone = nl.maximize(net, "12:3")
    np.testing.assert_array_equal(page.images[1], alone.images[0])
    np.testing.assert_array_equal(nl.maximize(net, "12:3").images, alone.images)


def test_what_one_run_knows_of_the_network_changes_nothing_for_the_next():
    net = deep()
    first = Run(net, ["12:1"])
    steps = first.steps()
    for next_to in ("12:3", "12:6"):
        for _ in range(5):  # at first it knows the graph alone, then the canvases too
            next(steps)
        run, alone = Run(net, [next_to], like=first), Run(net, [next_to])
        found, wanted = ([step.images for step in each.steps()] for each in (run, alone))
        np.testing.assert_array_equal(found, wanted)
        assert run.result().canvases == alone.result().canvases
    with pytest.raises(nl.LensError):
        Run(net, ["12:99"], like=first)


def test_a_canvas_lies_where_its_neuron_sees_the_same():
    """Valid convolutions see nothing of the border: on grey around it, a picture gets the very same answer."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 5, 3), nn.ReLU(), nn.Conv2d(6, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 5, 3, 2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
    )  # fmt: skip
    net = nl.Network(model, (3, 181, 158), False)
    run = Run(net, [nl.Unit("4", 2)], size=(181, 158))
    first = run.stages[0]
    assert not first.is_whole
    small, whole = first.settings.plan, run.plan
    assert min(small.shape[1:]) >= max(net["4"].receptive_field.size)
    x = torch.rand(1, *small.shape)
    with torch.no_grad():
        there = model[:5](first.framed(x))[(0, slice(None), *whole.centres["4"])]
        here = model[:5](x)[(0, slice(None), *small.centres["4"])]
    torch.testing.assert_close(there, here)


def test_the_effective_side_is_that_of_the_gradient():
    """Of weights that are nearly all in the middle, whatever the field may be in theory."""
    wide = nn.Conv2d(3, 4, 3, padding=60, dilation=60)
    with torch.no_grad():
        wide.weight[:] = 1e-4
        wide.weight[:, :, 1, 1] = 1
    blur = nn.Conv2d(4, 4, 9, padding=4)
    model = nn.Sequential(wide, blur, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    net = nl.Network(model, (3, 144, 160), False)
    assert net["1"].receptive_field.size == (129, 129)
    run = Run(net, [nl.Unit("1", 0)], steps=1)
    half, most = growth.effective_sides(run.settings, (0.5, 0.999))
    assert half <= most <= 11


def test_a_network_that_takes_one_size_only_begins_on_it():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 9, 4, 4), nn.ReLU(), nn.Conv2d(6, 8, 9, 4, 4), nn.Flatten(), nn.Linear(8 * 9 * 9, 4)
    )
    net = nl.Network(model, (3, 144, 144), False)
    found = nl.maximize(net, "4:1", steps=12)
    assert found.canvases == ((0, (144, 144)),)


def test_a_run_that_is_stopped_early_is_seen_on_the_whole_canvas():
    net = deep()
    run = Run(net, [nl.Unit("12", 3)])
    steps = run.steps()
    next(steps), next(steps)
    found = run.result()
    assert found.steps == 2
    assert found.images.shape == (1, *run.plan.shape)


class Depthwise(nn.Module):
    """Each channel's way: expanded, rectified, filtered by itself, rectified; off on noise and on grey, on with a bright edge."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.depth = nn.Conv2d(2, 4, 7), nn.Conv2d(4, 4, 3, groups=4)
        self.head = nn.Linear(4, 2)
        with torch.no_grad():
            edge = torch.tensor([1.0, 1, 1, 0, -1, -1, -1])[:, None].expand(7, 7)
            self.expand.weight[:], self.expand.bias[:] = edge, -13  # 42 at most, noise 12
            self.depth.weight[:], self.depth.bias[:] = 0.5, -0.1

    def forward(self, x):
        y = nn.functional.relu6(self.expand(x))
        y = nn.functional.relu6(self.depth(y))
        return self.head(y.mean((2, 3)))


def test_a_channel_that_is_shut_twice_is_woken():
    net = nl.Network(Depthwise(), (2, 32, 40), False)  # no package has pictures of 2 channels
    with torch.no_grad():
        assert not (net.model.expand(torch.rand(8, 2, 32, 40, generator=torch.Generator().manual_seed(0))) > 0).any()
    found = nl.maximize(net, "depth:1")
    assert found.activations[0] > -0.1 + 1e-3, found.notes  # -.1 is what it answers to nothing
    assert found.notes == ("",)


@pytest.mark.parametrize("steps", [*range(8, 28), 33])
def test_a_short_run_ends_on_the_whole_canvas(steps):
    """However few steps there are beside those of the first look."""
    net = deep()
    found = nl.maximize(net, "12:3", steps=steps)
    assert found.steps == len(found.history) == steps
    assert found.canvases[-1][1] == found.images.shape[2:]
    assert all(a[0] < b[0] < steps for a, b in pairwise(found.canvases))
