"""Badges: each on a network or a picture of which the answer is known."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from models import small
from torch import nn

import nn_lens as nl
from nn_lens.engine.maximizing.plan import central_neurons


def maximized(net: nl.Network, unit: str, images: np.ndarray) -> object:
    """A maximizing image as if the loop had made it, with the network's own answer."""
    made = nl.maximize(net, unit, steps=1)
    place = made_place(net, unit, images.shape[1:])
    maps = nl.activations(net, torch.from_numpy(images[0]), nl.Unit.parse(unit).layer).maps
    return replace(made, images=images, activations=maps[nl.Unit.parse(unit).channel][place][None])


def made_place(net: nl.Network, unit: str, shape: tuple[int, ...]) -> tuple[int, int]:
    layer = nl.Unit.parse(unit).layer
    return central_neurons(net, [layer], shape)[layer]


def test_a_badge_is_a_number_with_words():
    net = small()
    badge = nl.trust.liveliness(
        net, "3:1", examples=nl.dataset_examples(net, "3", torch.rand(9, 3, 20, 28), progress=False)
    )
    assert isinstance(badge, float)
    assert badge.name == "liveliness"
    assert "3:1" in badge.text
    again = pickle.loads(pickle.dumps(badge))
    assert (float(again), again.text, again.warning) == (float(badge), badge.text, badge.warning)


class Thresholds(nn.Module):
    """Its three units answer with the mean brightness above -1, above .9 and above 2."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 4)
        with torch.no_grad():
            self.conv.weight.fill_(1 / 16)
            self.conv.bias.copy_(torch.tensor([1.0, -0.9, -2.0]))
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.conv(x)).mean((2, 3))


def grey(levels) -> torch.Tensor:
    return torch.tensor(levels, dtype=torch.float32)[:, None, None, None].expand(-1, 1, 8, 8).clone()


def test_liveliness_and_percentile_of_known_brightness():
    net = nl.Network(Thresholds(), (1, 8, 8), False)
    found = nl.dataset_examples(net, "relu", grey(np.linspace(0, 0.99, 100)), progress=False)
    always, some, dead = (nl.trust.liveliness(net, f"relu:{c}", examples=found) for c in range(3))
    assert (float(always), always.warning) == (1.0, True)
    assert float(some) == pytest.approx(0.09)
    assert not some.warning
    assert (float(dead), dead.warning) == (0.0, True)
    assert "is dead" in dead.text
    assert "always active" in always.text
    white = nl.maximize(net, "relu:1", steps=1)
    beyond = nl.trust.percentile(net, "relu:1", examples=found, maximized=replace(white, activations=np.array([0.1])))
    assert float(beyond) == 100
    assert "does not look like a typical sample" in beyond.text
    within = nl.trust.percentile(net, "relu:1", examples=found, maximized=replace(white, activations=np.array([0.055])))
    assert float(within) == pytest.approx(96, abs=0.01)
    assert within.warning


def test_a_natural_picture_travels_naturally(demo):
    """A real picture that moves the unit takes the natural path; noise that is cut to the same size does not."""
    unit = "relu3:5"
    found = nl.dataset_examples(demo, unit, k=24, progress=False)
    field = nl.receptive_field(demo, "relu3")
    one = found.top[unit][11]
    side = nl.maximize(demo, unit, steps=1).images.shape[1:]
    real = field.cut(found.picture(one), (one.row, one.column), side).numpy()[None]
    noise = np.random.default_rng(0).random((1, *side), np.float32)
    own = nl.trust.natural_path(demo, unit, examples=found, maximized=maximized(demo, unit, real))
    other = nl.trust.natural_path(demo, unit, examples=found, maximized=maximized(demo, unit, noise))
    assert len(own.layers) == len(own.similarity)
    assert own.layers[-1] == "relu3"
    assert float(own.badge) > 0.5 > float(other.badge)
    assert other.badge.warning
    assert "way of its own" in other.badge.text
    assert "relu3:5" in own.alt_text
    own.figure()


def test_shuffled_weights_draw_another_picture(demo):
    before = {k: v.clone() for k, v in demo.model.state_dict().items()}
    found = nl.trust.randomized_control(demo, "relu3:5")
    assert found.images.shape[0] == 2
    assert float(found.badge) < 0.5
    assert not found.badge.warning
    assert all(torch.equal(v, before[k]) for k, v in demo.model.state_dict().items())
    found.figure()
    twin = nl.randomized(demo, seed=1)
    for (name, a), (_, b) in zip(demo.model.named_parameters(), twin.model.named_parameters(), strict=True):
        assert torch.equal(a.flatten().sort().values, b.flatten().sort().values), name
        assert torch.equal(a, b) == (a.ndim < 2), name


def test_transfer_tells_a_template_from_a_checkerboard():
    """A unit that averages survives every change; one that lives from single pixels does not."""
    model = nn.Sequential(nn.Conv2d(1, 2, 8, bias=False), nn.ReLU())
    board = torch.tensor([[(-1.0) ** (r + c) for c in range(8)] for r in range(8)])
    with torch.no_grad():
        model[0].weight[0] = 1 / 64
        model[0].weight[1] = board / 64
    net = nl.Network(model, (1, 24, 24), False)
    checkered = (0.5 + 0.4 * board).repeat(3, 3)[None, None].numpy()
    bright = nl.trust.transfer(net, "1:0")
    fine = nl.trust.transfer(net, "1:1", maximized=maximized(net, "1:1", checkered))
    assert float(bright) > 0.9
    assert not bright.warning
    assert float(fine) < float(bright) - 0.1
    assert "blur 0%" in fine.text
    assert fine.warning == ("relies on details that these changes destroy" in fine.text)
    assert "less contrast 70%" in fine.text


def test_vectors_have_no_pictures_to_compare():
    net = nl.Network(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (4,), False)
    with pytest.raises(nl.LensError, match="natural_path compares pictures"):
        nl.trust.natural_path(net, "1:0")
    with pytest.raises(nl.LensError, match="transfer changes pictures"):
        nl.trust.transfer(net, "1:0")


def test_the_percentile_of_vectors_is_counted():
    """Of the unit max(x, 0), the numbers 1 to 20: an image that reaches 15.5 is above 15 of 20."""
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    with torch.no_grad():
        model[0].weight.fill_(1)
        model[0].bias.zero_()
    net = nl.Network(model, (1,), False)
    found = nl.dataset_examples(net, "1", torch.arange(1.0, 21)[:, None], progress=False)
    made = replace(nl.maximize(net, "1:0", steps=1), activations=np.array([15.5]))
    assert float(nl.trust.percentile(net, "1:0", examples=found, maximized=made)) == 75
    equal = replace(made, activations=np.array([15.0]))
    assert float(nl.trust.percentile(net, "1:0", examples=found, maximized=equal)) == 72.5
    with pytest.raises(nl.LensError, match="is not among the 1 units that were looked at"):
        nl.trust.percentile(net, "1:0", examples=nl.dataset_examples(net, "0", torch.rand(5, 1), progress=False))
