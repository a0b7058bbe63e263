"""Ablation beyond one score per class of a picture: other kinds of input, answers at places, yes or no."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference.kinds import Recurrent, Segmenting, model_of
from torch import nn

import nn_lens as nl


@pytest.mark.parametrize(("kind", "place"), [("signal", (17,)), ("volume", (1, 4, 2))])
def test_units_of_signals_and_volumes(kind, place):
    model, shape = model_of(kind)
    net, x = nl.Network(model, shape, False), torch.randn(5, *shape)
    for unit in (nl.Unit("0", 2), nl.Unit("0", 2, *place)):
        with torch.no_grad():
            maps = model[0](x)
            maps[(slice(None), 2, *(unit.place or ()))] *= 3
            expected = model[1:](maps)
        found = nl.ablate(net, x, unit, 3.0)
        np.testing.assert_allclose(found.after, expected, rtol=1e-4, atol=1e-6)
        assert all(draw[0].place == unit.place for draw in found.control.units)
    assert np.abs(found.delta).max() > 0


@pytest.mark.parametrize("batch_first", [True, False])
def test_units_of_recurrent_layers(batch_first):
    torch.manual_seed(0)
    model = Recurrent(nn.LSTM, batch_first=batch_first).eval()
    net, x = nl.Network(model, (9, 4), False, kind="sequence"), torch.randn(5, 9, 4)
    for unit, step in (("steps:2", slice(None)), ("steps:2@4", 4)):
        with torch.no_grad():
            y = model.mix(x.transpose(1, 2)).transpose(1, 2)
            y = (model.steps(y)[0] if batch_first else model.steps(y.transpose(0, 1))[0].transpose(0, 1)).clone()
            y[:, step, 2] = 0
            expected = model.head(y.mean(1))
        np.testing.assert_allclose(nl.ablate(net, x, unit).after, expected, rtol=1e-4, atol=1e-6)


def test_dense_answers_are_summed_where_a_class_won_before():
    torch.manual_seed(5)
    model, x = Segmenting().eval(), torch.rand(4, 1, 10, 14)
    with torch.no_grad():
        before = model(x)
        model.out.bias[1] += (before[:, 0] - before[:, 1]).median()
        before = model(x)
        maps = torch.tanh(model.a(x))
        hidden = model.b(maps)
        hidden[:, 3] = 0
        after = model.out(torch.tanh(hidden))
    net = nl.Network(model, (1, 10, 14), False, ["back", "cell", "edge"])
    winners = before.argmax(1)
    found = nl.ablate(net, x, "b:3")
    for i in range(4):
        for c in range(3):
            own = winners[i] == c
            assert found.before[i, c] == pytest.approx(before[i, c][own].sum().item(), rel=1e-4, abs=1e-4)
            assert found.after[i, c] == pytest.approx(after[i, c][own].sum().item(), rel=1e-4, abs=1e-4)
    assert "summed over the places where each class wins in the picture as it is; nowhere wins edge" in found.alt_text
    there = nl.ablate(net, x, "b:3", at=(2, 9), targets=[0, 1, 0, 1])
    np.testing.assert_allclose(there.before, before[:, :, 2, 9], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(there.after, after[:, :, 2, 9], rtol=1e-4, atol=1e-5)
    right = (before[:, :, 2, 9].argmax(1) == torch.tensor([0, 1, 0, 1])).float().mean()
    changed = (after[:, :, 2, 9].argmax(1) == torch.tensor([0, 1, 0, 1])).float().mean()
    assert there.accuracy_change == pytest.approx(float(changed - right))
    mask = torch.rand(10, 14) > 0.5
    np.testing.assert_allclose(nl.ablate(net, x, "b:3", at=mask).after, after[:, :, mask].sum(2), rtol=1e-4, atol=1e-4)
    found.figure()
    with pytest.raises(nl.LensError, match="targets are one class per picture, and Segmenting answers at each place"):
        nl.ablate(net, x, "b:3", targets=[0, 1, 0, 1])
    with pytest.raises(nl.LensError, match="at is a place of 10x14"):
        nl.ablate(net, x, "b:3", at=(10, 0))


class YesOrNo(nn.Module):
    """One logit, with or without a dimension of its own: the brightness above a half."""

    def __init__(self, squeezed: bool) -> None:
        super().__init__()
        self.squeezed, self.mean, self.scale = squeezed, nn.AdaptiveAvgPool2d(1), nn.Linear(1, 1)
        nn.init.constant_(self.scale.weight, 2)
        nn.init.constant_(self.scale.bias, -1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.scale(self.mean(x).flatten(1))
        return y[:, 0] if self.squeezed else y


@pytest.mark.parametrize("squeezed", [False, True])
def test_one_logit_says_yes_above_zero(squeezed):
    net = nl.Network(YesOrNo(squeezed), (1, 5, 7), False, ["bright"])
    x = torch.tensor([0.2, 0.9, 0.7, 0.1])[:, None, None, None].expand(4, 1, 5, 7).clone()
    found = nl.ablate(net, x, "mean:0", targets=[0, 1, 1, 1])
    np.testing.assert_allclose(found.before[:, 0], [-0.6, 0.8, 0.4, -0.8], atol=1e-6)
    np.testing.assert_allclose(found.after[:, 0], -1, atol=1e-6)
    assert found.accuracy_change == pytest.approx(0.25 - 0.75)
    assert found.per_class == {0: 0.0, 1: pytest.approx(-2 / 3)}
    named = nl.ablate(net, x[1], "mean:0", targets="bright")
    assert named.accuracy_change == -1
    with pytest.raises(nl.LensError, match="classes 0 to 1, not 2"):
        nl.ablate(net, x[0], "mean:0", targets=2)
    with pytest.raises(nl.LensError, match="one score per class, at no place; leave at= out"):
        nl.ablate(net, x, "mean:0", at=(1, 1))


def test_the_answer_that_was_picked_is_the_one_that_changes():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.first, self.second = nn.Conv2d(3, 4, 3), nn.Linear(4, 2), nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            y = self.conv(x).relu().mean((2, 3))
            return {"first": self.first(y), "second": self.second(y)}

    torch.manual_seed(0)
    model, x = Two().eval(), torch.rand(3, 3, 9, 12)
    for key, classes in (("first", 2), ("second", 5)):
        net = nl.Network(model, (3, 9, 12), False, output=key)
        with torch.no_grad():
            maps = model.conv(x)
            maps[:, 1] = 0
            expected = getattr(model, key)(maps.relu().mean((2, 3)))
        found = nl.ablate(net, x, "conv:1")
        assert found.after.shape == (3, classes)
        np.testing.assert_allclose(found.after, expected, rtol=1e-4, atol=1e-6)
