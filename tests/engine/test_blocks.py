"""Building blocks: known groups are found again, and every number adds up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn import pixel
from models import small
from torch import nn

import nn_lens as nl
from nn_lens.engine.pictures.images import colour_table


def of_maps(maps: np.ndarray) -> nl.Network:
    """A network whose layer "0" answers `maps` (C,H,W) to any picture: each channel adds up what it reads of them."""

    class Given(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps = nn.Parameter(torch.from_numpy(maps.astype(np.float32)), requires_grad=False)

        def forward(self, x):
            return self.maps[None].repeat(len(x), 1, 1, 1) + 0 * x.mean()

    return nl.Network(nn.Sequential(Given(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (3, 16, 16), False)


PICTURE = torch.rand(3, 16, 16)


def test_groups_that_were_put_in_come_out():
    rng = np.random.default_rng(0)
    where = np.zeros((3, 8, 8))
    where[0, :3], where[1, 4:, :4], where[2, 5:, 5:] = 1, 0.8, 0.5
    mixtures = np.zeros((3, 12))
    mixtures[0, :4], mixtures[1, 4:8], mixtures[2, 8:] = rng.random((3, 4)) + 0.5
    found = nl.building_blocks(of_maps(np.tensordot(mixtures.T, where, 1)), PICTURE, "0", groups=3)
    assert found.groups.shape == (3, 8, 8)
    assert found.explained > 0.99
    assert found.shares.sum() == pytest.approx(1, abs=0.02)
    assert list(found.shares) == sorted(found.shares, reverse=True)
    for direction, group in zip(found.directions, found.groups, strict=True):
        own = np.array(direction.vector)
        assert np.linalg.norm(own) == pytest.approx(1, rel=1e-6)
        likeness = mixtures @ own / np.linalg.norm(mixtures, axis=1)
        which = likeness.argmax()
        assert likeness[which] > 0.99
        assert np.corrcoef(group.ravel(), where[which].ravel())[0, 1] > 0.99


def test_the_strongest_unit_of_each_place():
    net = small()
    picture = torch.rand(3, 20, 28)
    found = nl.building_blocks(net, picture, "3")
    maps = nl.activations(net, picture, "3").maps
    np.testing.assert_array_equal(found.strongest, maps.argmax(0))
    np.testing.assert_array_equal(found.values, maps.max(0))
    counts = [int((found.strongest == unit).sum()) for unit in found.units]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == found.strongest.size


def test_groups_and_directions_give_the_answers_back():
    net = small()
    picture = torch.rand(3, 20, 28)
    found = nl.building_blocks(net, picture, "1", groups=6)
    maps = nl.activations(net, picture, "1").maps
    back = np.tensordot(np.array([d.vector for d in found.directions]).T, found.groups, 1)
    off = ((maps - back) ** 2).sum() / (maps**2).sum()
    assert 1 - off == pytest.approx(found.explained, abs=1e-4)
    assert found.explained > 0.9


def test_large_maps_and_single_places():
    rng = np.random.default_rng(0)
    large = nl.building_blocks(of_maps(rng.random((5, 60, 60))), PICTURE, "0", groups=2)
    assert large.groups.shape == (2, 60, 60)
    assert large.explained > 0.5
    sparse = np.zeros((5, 60, 60))
    sparse[2, 7, 9] = sparse[4, 30, 31] = 1
    few = nl.building_blocks(of_maps(sparse), PICTURE, "0", groups=4)
    assert few.explained > 0.99
    single = nl.building_blocks(of_maps(rng.random((5, 1, 1))), PICTURE, "0", groups=4)
    assert (single.groups.shape, single.explained) == ((1, 1, 1), pytest.approx(1, abs=1e-3))


def test_the_same_call_gives_the_same():
    net, picture = small(), torch.rand(3, 20, 28)
    one, two = (nl.building_blocks(net, picture, "1", groups=3, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.groups, two.groups)
    assert one.directions == two.directions
    assert repr(one) == repr(two)


def test_what_has_no_blocks_says_so():
    with pytest.raises(nl.LensError, match="answers above 0"):
        nl.building_blocks(of_maps(-np.ones((3, 4, 4))), PICTURE, "0")
    odd = np.ones((3, 4, 4))
    odd[1, 2, 3] = np.nan
    with pytest.raises(
        nl.LensError, match="1 of 3 units of '0' answer NaN or infinity to this picture, the first is 1"
    ):
        nl.building_blocks(of_maps(odd), PICTURE, "0")
    with pytest.raises(nl.LensError, match="1 or more"):
        nl.building_blocks(small(), torch.rand(3, 20, 28), "1", groups=0)
    with pytest.raises(nl.LensError, match="Nearest"):
        nl.building_blocks(small(), torch.rand(3, 20, 28), "11")


def test_its_figure():
    found = nl.building_blocks(small(), torch.rand(3, 20, 28), "1", groups=3)
    axes = found.figure().axes
    assert len(axes) == 4
    table = colour_table("sequential").astype(int)
    for shown, values in zip(axes[1:], found.groups, strict=True):
        for row, column in ((0, 0), np.unravel_index(values.argmax(), values.shape), (3, 5)):
            level = round(255 * float(values[row, column]) / float(values.max()))
            near = table[max(0, level - 1) : level + 2]
            assert (abs(near - pixel(shown, row, column)).max(1) <= 1).any()
    assert "groups explain" in found.alt_text
    assert found._repr_png_()[1:4] == b"PNG"
