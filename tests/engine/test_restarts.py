from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import nn_lens as nl
from nn_lens.engine.maximizing.restarts import agreement


def test_agreement_of_equal_opposite_and_unrelated_rows():
    row = np.array([1.0, 2.0, 4.0, 8.0])
    assert agreement(np.stack([row, 2 * row + 1, row - 5])) == pytest.approx(1)
    assert agreement(np.stack([row, -row])) == 0
    assert agreement(np.stack([row, np.ones(4)])) == 0
    # By hand: correlations 1, 0 and 0 between three rows.
    rows = np.array([[1.0, -1.0, 0.0, 0.0], [1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]])
    assert agreement(rows) == pytest.approx(1 / 3)


def test_starts_differ_and_are_those_of_maximize(demo):
    found = nl.restarts(demo, "relu2:5", 3, steps=12)
    assert found.images.shape[0] == len(found.activations) == 3
    for i in (0, 2):
        alone = nl.maximize(demo, "relu2:5", seed=i, steps=12)
        assert np.abs(alone.images[0] - found.images[i]).max() <= 1 / 255
    assert np.abs(found.images[0] - found.images[1]).max() > 0.05
    pairs = np.corrcoef(found.images.reshape(3, -1).astype(float))[np.triu_indices(3, 1)]
    assert found.picture_agreement == pytest.approx(pairs.clip(0, 1).mean(), abs=1e-6)
    with torch.no_grad(), demo.evaluation():
        maps = demo.outputs(torch.from_numpy(found.images), ["relu2"])["relu2"]
    middle = np.argwhere(np.isclose(maps[0, 5], found.activations[0], rtol=1e-5))
    others = np.stack([np.delete(m[:, middle[0][0], middle[0][1]], 5) for m in maps.numpy()])
    pairs = np.corrcoef(others)[np.triu_indices(3, 1)]
    assert found.agreement == pytest.approx(pairs.clip(0, 1).mean(), abs=1e-6)
    mean = sum(found.activations) / 3
    assert found.spread == pytest.approx(np.sqrt(sum((a - mean) ** 2 for a in found.activations) / 3) / mean, rel=1e-5)
    found.figure()


def test_a_linear_unit_agrees_with_itself(demo):
    """Of a first layer there is one best picture: all starts must find it."""
    assert nl.restarts(demo, "conv1:3", 4).agreement > 0.9


def test_mistakes_are_named(demo):
    with pytest.raises(nl.LensError, match="2 or more"):
        nl.restarts(demo, "relu2:5", 1)
    with pytest.raises(nl.LensError, match="vectors"):
        nl.restarts(nl.Network(nn.Sequential(nn.Linear(3, 2)), (3,), False), "0:1")
