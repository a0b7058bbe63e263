from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import nn_lens as nl
from nn_lens.engine.maximizing.belief import BeliefNetwork


def test_a_planted_machine_imagines_its_template():
    """A machine of two units, each wired to one pattern: clamping one must bring its pattern, whatever the chain."""
    rows = np.zeros((2, 36))
    rows[0, :18], rows[1, 18:] = 8, 8
    machine = SimpleNamespace(
        components_=rows - 4 * (rows == 0),
        intercept_hidden_=np.array([-200.0, -200.0]),
        intercept_visible_=-np.ones(36),
    )
    net = nl.Network(BeliefNetwork([machine], (1, 6, 6)), (1, 6, 6), False)
    for unit in (0, 1):
        found = nl.sample_unit(net, f"hidden.0:{unit}", n=6, sweeps=5)
        template = (rows[unit] > 0).reshape(6, 6)
        assert np.corrcoef(found.mean[0].ravel(), template.ravel())[0, 1] > 0.95


def test_two_machines_of_digits():
    net = nl.demo("belief")
    found = nl.sample_unit(net, "hidden.1:3", n=5, sweeps=20)
    assert found.images.shape == (5, 1, 8, 8)
    assert 0 <= found.images.min() < found.images.max() <= 1
    np.testing.assert_array_equal(found.images, nl.sample_unit(net, "hidden.1:3", n=5, sweeps=20).images)
    assert not np.array_equal(found.images, nl.sample_unit(net, "hidden.1:3", n=5, sweeps=20, seed=1).images)
    # Beside it, the same unit's maximizing image: it drives the unit at least as far as the samples do.
    best = nl.maximize(net, "hidden.1:3")
    reached = [nl.activations(net, x, "hidden.1").maps[3].item() for x in found.images]
    assert best.activations[0] >= max(reached) - 0.01
    assert best.images.shape == (1, 1, 8, 8)
    found.figure()


def test_samples_look_like_digits():
    """Imagined pictures lie nearer to the digits than noise of the same mean and spread."""
    from nn_lens.networks.digits import digits

    x = digits()[0].numpy().reshape(-1, 64)
    net = nl.demo("belief")
    imagined = np.concatenate([nl.sample_unit(net, f"hidden.1:{c}", n=8).images for c in range(6)]).reshape(-1, 64)
    g = np.random.default_rng(0)
    noise = g.permuted(imagined, axis=1)

    def distance(pictures):
        return np.mean([np.sqrt(((x - p) ** 2).sum(1)).min() for p in pictures])

    assert distance(imagined) < 0.8 * distance(noise)


def test_mistakes_are_named(demo):
    with pytest.raises(nl.LensError, match="deep belief network"):
        nl.sample_unit(demo, "relu1:0")
    with pytest.raises(nl.LensError, match="1 or more"):
        nl.sample_unit(nl.demo("belief"), "hidden.0:1", n=0)
    with pytest.raises(nl.LensError, match=r"hidden\.0"):
        nl.sample_unit(nl.demo("belief"), "hidden.7:1")
