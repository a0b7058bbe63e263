"""Steering: units and directions set, raised and multiplied by hand, against a forward by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import Failing, same, small, state
from reference.kinds import Recurrent, Segmenting, model_of
from reference.planted import BLOCK, OTHER, STRIPES, picture, planted
from torch import nn
from zoo import Vision

import nn_lens as nl
from nn_lens.engine.evidence.steering import steered


def pictures(n: int = 5) -> torch.Tensor:
    return torch.rand(n, 3, 20, 28, generator=torch.Generator().manual_seed(0))


def by_hand(model: nn.Sequential, x: torch.Tensor, layer: int, change) -> np.ndarray:
    with torch.no_grad():
        y = model[: layer + 1](x.clone()).clone()
        change(y)
        return model[layer + 1 :](y).numpy()


# ---- a network whose units are known ----


def test_a_silent_unit_wakes_its_class_and_random_others_do_not():
    net = nl.Network(planted(), (1, 24, 32), False, ["block", "stripes", "neither"])
    dark = picture(None, None)
    found = nl.steer(net, dark, f"1:{BLOCK}", to=0.5, place=(10, 11))
    # By hand: 0.5 at one place counts 3 times for the block.
    np.testing.assert_allclose(found.delta, [[1.5, 0, 0]], atol=1e-5)
    assert (found.before.argmax(1), found.after.argmax(1)) == ([2], [0])
    assert all(str(draw[0]) != f"1:{BLOCK}" for draw in found.control.units)
    only_stripes = [float(d[1]) for d in found.control.mean_deltas]
    assert set(np.round(only_stripes, 4)) <= {0.0, 2.0}  # 0.5 of unit 3 counts 4 times for the stripes
    np.testing.assert_allclose(found.change(("block", "stripes")), [1.5], atol=1e-5)
    np.testing.assert_allclose(found.change("neither"), [0], atol=1e-6)
    # No factor wakes it, and nothing else does.
    assert not nl.steer(net, dark, f"1:{BLOCK}", times=3).delta.any()
    assert not nl.steer(net, dark, f"1:{OTHER}", to=9).delta[:, :2].any()


def test_contrast_follows_the_two_units_apart():
    net = nl.Network(planted(), (1, 24, 32), False, ["block", "stripes", "neither"])
    off = nl.steer(net, picture(), f"1:{STRIPES}", times=0)
    assert off.change(("stripes", "block"))[0] == pytest.approx(-2.0, abs=1e-5)
    more = nl.steer(net, picture(), f"1:{BLOCK}", by=0.5, place=[(3, 4), (9, 9)])
    assert more.change(("stripes", "block"))[0] == pytest.approx(-3.0, abs=1e-5)
    labels = [t.get_text() for t in more.figure(("stripes", "block")).axes[0].get_yticklabels()]
    assert labels[-1] == "stripes rather than blo…"


# ---- a forward by hand ----


@pytest.mark.parametrize(
    ("how", "change"),
    [
        ({"times": -2.5}, lambda y, w: y[w].mul_(-2.5)),
        ({"times": 0}, lambda y, w: y[w].zero_()),
        ({"to": 0.7}, lambda y, w: y[w].fill_(0.7)),
        ({"by": 1.5}, lambda y, w: y[w].add_(1.5)),
    ],
)
def test_units_by_hand(how, change):
    net, x = small(), pictures()
    model = net.model.eval()
    mask = torch.zeros(net["3"].layout.grid, dtype=torch.bool)
    mask[0, 3] = mask[1, 0] = True
    for place, unit, where in (
        (None, "3:2", (slice(None), 2)),
        (None, "3:2@1,3", (slice(None), 2, 1, 3)),
        ((1, 3), "3:2", (slice(None), 2, 1, 3)),
        ([(0, 3), (1, 0)], "3:2", (slice(None), 2, [0, 1], [3, 0])),
        (mask, "3:2", (slice(None), 2, [0, 1], [3, 0])),
    ):

        def edit(y, where=where):
            part = y[where].clone()
            change(part[None], 0)
            y[where] = part

        expected = by_hand(model, x, 3, edit)
        found = nl.steer(net, x, unit, **how, place=place, controls=1)
        np.testing.assert_allclose(found.after, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.before, by_hand(model, x, 3, lambda y: None), rtol=1e-4, atol=1e-6)
    assert np.abs(found.delta).max() > 0


def test_ablation_is_its_left_end():
    net, x = small(), pictures()
    classes = [0, 1, 2, 3, 0]
    off = nl.ablate(net, x, ["3:1", "0:4"], targets=classes)
    left = nl.steer(net, x, ["3:1", "0:4"], times=0, targets=classes)
    for name in ("before", "after", "delta"):
        np.testing.assert_array_equal(getattr(off, name), getattr(left, name))
    assert off.accuracy_change == left.accuracy_change
    np.testing.assert_array_equal(off.control.delta, left.control.delta)
    assert off.control.units == left.control.units


def test_several_units_of_several_layers_with_a_value_each():
    net, x = small(), pictures()
    model = net.model.eval()
    with torch.no_grad():
        y = model[:2](x)
        y[:, 4] = 0.25
        z = model[2:4](y)
        z[:, 1] = -0.5
        expected = model[4:](z)
    found = nl.steer(net, x, ["3:1", "1:4"], to=[-0.5, 0.25])
    np.testing.assert_allclose(found.after, expected, rtol=1e-4, atol=1e-6)
    assert found.values == (-0.5, 0.25)
    assert [[u.layer for u in draw] for draw in found.control.units] == [["3", "1"]] * 5


@pytest.mark.parametrize("place", [None, (1, 3)])
def test_directions_change_what_is_along_them_and_nothing_else(place):
    net, x = small(), pictures()
    model = net.model.eval()
    vector = np.random.default_rng(3).standard_normal(8)
    v = torch.tensor(vector / np.linalg.norm(vector), dtype=torch.float32)
    for how, along in (
        ({"times": 0}, lambda c: 0 * c),
        ({"to": 2.0}, lambda c: 0 * c + 2),
        ({"by": 1.0}, lambda c: c + 1),
    ):

        def edit(y, along=along):
            for one in y:
                for row in range(y.shape[2]):
                    for column in range(y.shape[3]):
                        if place in (None, (row, column)):
                            c = one[:, row, column] @ v
                            one[:, row, column] += (along(c) - c) * v

        found = nl.steer(net, x, nl.Direction("3", vector), **how, place=place)
        np.testing.assert_allclose(found.after, by_hand(model, x, 3, edit), rtol=1e-3, atol=1e-5)
    assert isinstance(found.control.units[0][0], nl.Direction)
    unit = nl.steer(net, x, nl.Direction.of(nl.Unit("3", 2), 8), to=1.0)
    np.testing.assert_allclose(unit.after, nl.steer(net, x, "3:2", to=1.0).after, rtol=1e-4, atol=1e-5)


# ---- every kind of network ----


@pytest.mark.parametrize(("kind", "place"), [("signal", (17,)), ("volume", (1, 4, 2))])
def test_signals_and_volumes(kind, place):
    model, shape = model_of(kind)
    net, x = nl.Network(model, shape, False), torch.randn(3, *shape)
    expected = by_hand(model, x, 0, lambda y: y[(slice(None), 2, *place)].fill_(1.5))
    np.testing.assert_allclose(nl.steer(net, x, "0:2", to=1.5, place=place).after, expected, rtol=1e-4, atol=1e-6)
    if kind == "signal":
        np.testing.assert_array_equal(
            nl.steer(net, x, "0:2", to=1.5, place=17).after, nl.steer(net, x, "0:2", to=1.5, place=place).after
        )


def test_steps_of_recurrent_layers_and_class_tokens():
    torch.manual_seed(0)
    model = Recurrent(nn.GRU, batch_first=False).eval()
    net, x = nl.Network(model, (9, 4), False, kind="sequence"), torch.randn(3, 9, 4)
    with torch.no_grad():
        y = model.steps(model.mix(x.transpose(1, 2)).permute(2, 0, 1))[0].clone()
        y[4, :, 2] = 0.8
        expected = model.head(y.mean(0))
    np.testing.assert_allclose(nl.steer(net, x, "steps:2", to=0.8, place=4).after, expected, rtol=1e-4, atol=1e-6)
    vision = Vision().eval()
    net, x = nl.Network(vision, (3, 32, 48), False), torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        tokens = torch.cat([vision.token.expand(2, -1, -1), vision.patches(x).flatten(2).transpose(1, 2)], 1)
        y = vision.blocks[0](tokens)
        everywhere, here = y.clone(), y.clone()
        everywhere[..., 5] += 2  # the class token too, which the head reads
        here[:, 1 + 2 * 6 + 3, 5] += 2
        expected = [vision.head(vision.norm(vision.blocks[1](each))[:, 0]) for each in (everywhere, here)]
    for place, wanted in zip((None, (2, 3)), expected, strict=True):
        found = nl.steer(net, x, "blocks.0:5", by=2, place=place)
        np.testing.assert_allclose(found.after, wanted, rtol=1e-3, atol=1e-5)


def test_dense_answers_and_vectors():
    torch.manual_seed(5)
    model, x = Segmenting().eval(), torch.rand(2, 1, 10, 14)
    net = nl.Network(model, (1, 10, 14), False)
    with torch.no_grad():
        y = torch.tanh(model.a(x))
        b = model.b(y)
        b[:, 3, 4, 5] = 2
        expected = model.out(torch.tanh(b))[:, :, 2, 9]
    np.testing.assert_allclose(
        nl.steer(net, x, "b:3", to=2, place=(4, 5), at=(2, 9)).after, expected, rtol=1e-4, atol=1e-5
    )
    model, shape = model_of("vector")
    net, x = nl.Network(model, shape, False), torch.randn(3, *shape)
    expected = by_hand(model, x, 1, lambda y: y[:, 2].fill_(0.5))
    np.testing.assert_allclose(nl.steer(net, x, "1:2", to=0.5).after, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(nl.LensError, match="Layer '1' answers at no place; leave place= out"):
        nl.steer(net, x, "1:2", to=0.5, place=(0, 0))


# ---- for the live views ----


def test_maps_and_contributions_follow_while_it_is_steered():
    net = small()
    x = pictures(1)[0]
    model = net.model.eval()
    before = state(model)
    with steered(net, "1:4", times=3):
        maps = nl.activations(net, x, "4").maps
    with torch.no_grad():
        y = model[:2](x[None])
        y[:, 4] *= 3
        expected = model[2:5](y)[0]
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6)
    with steered(net, "1:4", times=3):
        found = nl.contributions(net, x, 1, "6", control=False)
    np.testing.assert_allclose(
        found.by_channel, expected.mean((1, 2)) * model[8].weight[1].detach(), rtol=1e-3, atol=1e-6
    )
    assert same(before, state(model))


# ---- no trace, and what was wrong ----


def test_no_trace_is_left():
    net, x = small(), pictures()
    net.model.train()
    before = state(net.model)
    found = nl.steer(net, x, "3:2", by=1)
    assert same(before, state(net.model))
    with pytest.raises(nl.LensError, match="channels 0 to 7, not 99"):
        nl.steer(net, x, "3:99", by=1)
    assert same(before, state(net.model))
    again = nl.steer(net, x, "3:2", by=1)
    np.testing.assert_array_equal(found.after, again.after)
    failing, x = nl.Network(Failing(), (3, 6, 7), False), torch.rand(3, 6, 7)
    failing.model.fails, before = True, state(failing.model)
    with pytest.raises(nl.LensError, match="the cable is out"):
        nl.steer(failing, x, "conv:1", to=1)
    assert same(before, state(failing.model))


def test_what_was_wrong_is_named():
    net, x = small(), pictures()
    with pytest.raises(nl.LensError, match=r"exactly one of times=, to= and by=.*; got none"):
        nl.steer(net, x, "3:2")
    with pytest.raises(nl.LensError, match="got times and by"):
        nl.steer(net, x, "3:2", times=2, by=1)
    for bad in (float("nan"), "much", [1, float("inf")]):
        with pytest.raises(nl.LensError, match="to is a finite number, or one for each that is steered; got"):
            nl.steer(net, x, ["3:2", "3:3"], to=bad)
    with pytest.raises(nl.LensError, match="to has 3 numbers for 2 that are steered; give one, or one for each"):
        nl.steer(net, x, ["3:2", "3:3"], to=[1, 2, 3])
    with pytest.raises(nl.LensError, match=r"3:2@0,1 names its place; leave place= out, or write 3:2\."):
        nl.steer(net, x, "3:2@0,1", to=1, place=(0, 0))
    for bad in ((9, 0), (0,), (0.5, 1), np.zeros((2, 2), bool), "here", []):
        with pytest.raises(
            nl.LensError, match=r"place is one of the 2x4 places of '3', such as \(1, 2\), a list of them, or"
        ):
            nl.steer(net, x, "3:2", to=1, place=bad)
    with pytest.raises(nl.LensError, match="There is no layer 'nine'"):
        nl.steer(net, x, "nine:2", to=1)
    with pytest.raises(nl.LensError, match="classes 0 to 3, not 7"):
        nl.steer(net, x, "3:2", to=1).change(7)
    with pytest.raises(nl.LensError, match=r"or a pair \(this, that\) of them"):
        nl.steer(net, x, "3:2", to=1).change((1, 2, 3))


def test_a_layer_of_one_unit_has_no_control():
    model = nn.Sequential(nn.Conv2d(3, 1, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    net = nl.Network(model, (3, 9, 11), False)
    found = nl.steer(net, torch.rand(3, 9, 11), nl.Direction("0", [1.0]), by=1)
    assert found.control is None
    assert "no control: layer 0 has a single channel, and so no other direction" in found.alt_text


def test_result_says_what_was_done():
    net, x = small(), pictures()
    found = nl.steer(net, x, ["3:2", nl.Direction("3", [1.0] * 8)], to=[1, 2.5], place=(1, 3))
    said = "3:2 set to 1, 3:direction of 8 channels set to 2.5 at 1,3"
    assert found.alt_text.startswith(f"{said} moves the mean score of class ")
    assert repr(found) == f"<{found.alt_text}>"
    assert found._repr_png_()[:4] == b"\x89PNG"
