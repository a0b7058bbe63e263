"""Directions over channels: against numpy, and on layers whose answers are made up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import small
from torch import nn

import nn_lens as nl


def vectors(directions) -> np.ndarray:
    return np.array([d.vector for d in directions])


class Mixed(nn.Module):
    """A layer that answers with its input's channels, mixed by a known non-negative matrix."""

    MIX = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.0], [0.0, 0.2]], np.float32)

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(2, 4, 1, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.from_numpy(self.MIX)[:, :, None, None])
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.mix(x).mean((2, 3)))


def mixed() -> nl.Network:
    return nl.Network(Mixed(), (2, 6, 7), False)


def spots(n: int = 40) -> torch.Tensor:
    """Pictures whose two channels are never on at the same place."""
    generator = torch.Generator().manual_seed(0)
    on = torch.rand(n, 1, 6, 7, generator=generator) < 0.5
    x = torch.rand(n, 2, 6, 7, generator=generator)
    return torch.cat([x[:, :1] * on, x[:, 1:] * ~on], 1)


def test_random_directions_are_as_long_as_a_unit():
    net = small()
    found = vectors(nl.directions.random(net, "3", 500, seed=1))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    assert abs(found.mean(0)).max() < 0.1
    np.testing.assert_array_equal(found, vectors(nl.directions.random(net, "3", 500, seed=1)))
    assert not np.array_equal(found, vectors(nl.directions.random(net, "3", 500, seed=2)))


def test_factors_find_what_was_mixed():
    net, x = mixed(), spots()
    columns = (Mixed.MIX / np.linalg.norm(Mixed.MIX, axis=0)).T
    found = vectors(nl.directions.nmf(net, "mix", x, 2))
    alike = found @ columns.T
    assert np.sort(alike.max(0)).min() > 0.99
    assert set(alike.argmax(0)) == {0, 1}


def test_principal_directions_are_numpys():
    net, x = mixed(), spots()
    found = vectors(nl.directions.pca(net, "mix", x, 2))
    # All 42 places, where the function looks at 16 of each picture: nearly the same axes.
    codes = np.einsum("nchw,dc->nhwd", x.numpy(), Mixed.MIX).reshape(-1, 4)
    _, axes = np.linalg.eigh(np.cov(codes.T))
    for direction, axis in zip(found, axes.T[::-1], strict=False):
        assert abs(direction @ axis) > 0.98


def test_from_one_unit_to_another():
    found = nl.directions.between(small(), "3:1", "3:4", 3)
    channels = small()["3"].channels
    np.testing.assert_allclose(found[0].vector, np.eye(channels)[1])
    np.testing.assert_allclose(found[2].vector, np.eye(channels)[4])
    np.testing.assert_allclose(found[1].vector, (np.eye(channels)[1] + np.eye(channels)[4]) / np.sqrt(2))


def test_a_concept_is_what_its_pictures_have_more_of():
    net = mixed()
    x = spots()
    more = x.clone()
    more[:, 0] += 0.5
    found = nl.directions.concept(net, "mix", more, x)
    np.testing.assert_allclose(found.vector, Mixed.MIX[:, 0] / np.linalg.norm(Mixed.MIX[:, 0]), atol=1e-5)


WRONG = {
    "n": (lambda net: nl.directions.random(net, "mix", 0), "n is a whole number"),
    "too many": (lambda net: nl.directions.pca(net, "mix", spots(), 5), "at most 4 directions"),
    "same": (lambda net: nl.directions.between(net, "mix:1", "mix:1"), "two channels of one layer"),
    "layers": (lambda net: nl.directions.between(net, "mix:1", "last:1"), "two channels of one layer"),
    "alike": (lambda net: nl.directions.concept(net, "mix", spots(), spots()), "give no direction"),
    "negative": (lambda net: nl.directions.nmf(net, "last", spots(), 1), "negative answers"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_direction_is_named(name):
    call, says = WRONG[name]
    net = mixed()
    with torch.no_grad():
        net.model.last.bias.fill_(-9)
    with pytest.raises(nl.LensError, match=says):
        call(net)
