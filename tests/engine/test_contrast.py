"""This rather than that: pairs of targets, wherever a class is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import small
from reference.kinds import Segmenting
from reference.planted import inside, picture, planted

import nn_lens as nl
from nn_lens.engine.evidence.attribution.methods import METHODS


def test_evidence_for_this_and_against_that_lies_on_their_places():
    net = nl.Network(planted(), (1, 24, 32), False, ["block", "stripes", "neither"])
    found = nl.attribute(net, picture(), ("stripes", "block"), "integrated_gradients", baseline=0.0)
    block, stripes = found.map[inside((4, 5))], found.map[inside((17, 24))]
    assert block.sum() < 0 < stripes.sum()
    assert np.abs(block).sum() + np.abs(stripes).sum() > 0.99 * np.abs(found.map).sum()
    # By hand: 0.5 counts 4 times for the stripes, 3 times for the block.
    assert found.answer == pytest.approx((2 - 0.2) - (1.5 + 0.1), abs=1e-5)
    assert found.target == "stripes rather than block"
    assert "Evidence for stripes rather than block" in found.alt_text


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("guided_backprop", "deconvolution", "saliency")])
def test_methods_that_are_linear_in_the_answer_give_the_difference(method):
    net, x = small(), torch.rand(3, 20, 28, generator=torch.Generator().manual_seed(2))
    pair = nl.attribute(net, x, (1, 3), method).map
    apart = nl.attribute(net, x, 1, method).map - nl.attribute(net, x, 3, method).map
    np.testing.assert_allclose(pair, apart, rtol=1e-3, atol=1e-5)
    assert np.abs(pair).max() > 0


def test_methods_with_rules_take_the_gradient_of_the_difference():
    net, x = small(), torch.rand(3, 20, 28)
    found = nl.attribute_all(net, x, (1, 3), control=True)
    assert found["saliency"].target == "class 1 rather than class 3"
    inputs = x[None].requires_grad_()
    answer = net.model.eval()(inputs * 1)
    (gradient,) = torch.autograd.grad(answer[0, 1] - answer[0, 3], inputs)
    np.testing.assert_allclose(found["saliency"].channels, gradient[0].abs(), rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(nl.attribute(net, x, [1, 3], "saliency").map, found["saliency"].map)
    *_, last = nl.occlusion_steps(net, x, (1, 3))
    np.testing.assert_allclose(last.map, nl.attribute(net, x, (1, 3), "occlusion").map, atol=1e-5)


def test_two_units_of_a_layer():
    net, x = small(), torch.rand(3, 20, 28)
    found = nl.attribute(net, x, ("4:2@1,2", "4:5"), "saliency", abs=False)
    inputs = x[None].requires_grad_()
    maps = net.model.eval()[:5](inputs * 1)
    (gradient,) = torch.autograd.grad(maps[0, 2, 1, 2] - maps[0, 5, 1, 2], inputs)
    np.testing.assert_allclose(found.channels, gradient[0], rtol=1e-3, atol=1e-6)
    assert found.target == "4:2@1,2 rather than 4:5"
    own = nl.attribute(net, x, ("4:2@1,2", "4:5@0,3"), "saliency", abs=False)
    maps = net.model[:5](inputs * 1)
    (gradient,) = torch.autograd.grad(maps[0, 2, 1, 2] - maps[0, 5, 0, 3], inputs)
    np.testing.assert_allclose(own.channels, gradient[0], rtol=1e-3, atol=1e-6)


def test_dense_answers_are_compared_at_the_same_places():
    torch.manual_seed(5)
    model, x = Segmenting().eval(), torch.rand(1, 10, 14)
    with torch.no_grad():
        answer = model(x[None])
        model.out.bias[1] += (answer[:, 0] - answer[:, 1]).median()
        answer = model(x[None])[0]
    net = nl.Network(model, (1, 10, 14), False, ["back", "cell", "edge"])
    wins = answer.argmax(0) == 1
    found = nl.attribute(net, x, ("cell", "back"), "saliency")
    assert found.answer == pytest.approx(float((answer[1] - answer[0])[wins].sum()), rel=1e-4)
    assert found.target == f"cell where it wins ({int(wins.sum())} of 140 places) rather than back"
    there = nl.attribute(net, x, ("edge", "back"), "saliency", at=(3, 7))
    assert there.answer == pytest.approx(float(answer[2, 3, 7] - answer[0, 3, 7]), rel=1e-4)


def test_objectives_of_a_pair():
    net = small()
    x = torch.rand(2, 3, 20, 28)
    both = nl.objectives.logit((1, 3))
    assert repr(both) == "Objective(logit(1 rather than 3))"
    assert repr(nl.objectives.probability(("a", "b"))) == "Objective(probability(a rather than b))"
    from nn_lens.engine.maximizing.objective import Answers

    with torch.no_grad():
        scores = net.model.eval()(x.clone())
    answers = Answers({"": scores[:, :, None, None]}, x)
    torch.testing.assert_close(both.value(answers), scores[:, 1] - scores[:, 3])
    shares = scores.softmax(1)
    torch.testing.assert_close(nl.objectives.probability((1, 3)).value(answers), shares[:, 1] - shares[:, 3])
    dense = torch.randn(2, 3, 4, 5)
    wins = dense.argmax(1) == 1
    expected = ((dense[:, 1] - dense[:, 0]) * wins).sum((1, 2))
    torch.testing.assert_close(nl.objectives.logit((1, 0)).value(Answers({"": dense}, x)), expected)
    torch.testing.assert_close(
        nl.objectives.logit((1, 0), at=(2, 3)).value(Answers({"": dense}, x)), dense[:, 1, 2, 3] - dense[:, 0, 2, 3]
    )
    made = nl.maximize(net, both, steps=8)
    with torch.no_grad():
        reached = net.model(torch.from_numpy(made.images))
    assert made.activations[0] == pytest.approx(float(reached[0, 1] - reached[0, 3]), rel=1e-3, abs=1e-4)
    with pytest.raises(nl.LensError, match="1 rather than itself is always 0"):
        nl.objectives.logit((1, 1)).value(answers)


def test_what_was_wrong_is_named():
    net, x = small(), torch.rand(3, 20, 28)
    for bad in ((1,), (1, 2, 3), (1, None), (1, (2, 3))):
        with pytest.raises(nl.LensError, match=r"one class or unit, or a pair \(this, that\) of them"):
            nl.attribute(net, x, bad)
        with pytest.raises(nl.LensError, match=r"one class or unit, or a pair \(this, that\) of them"):
            nl.objectives.logit(bad)
    with pytest.raises(nl.LensError, match="class 1 rather than itself is always 0; pass two targets that differ"):
        nl.attribute(net, x, (1, 1))
    with pytest.raises(nl.LensError, match=r"two classes or two units of one layer.*got a class and 4:2"):
        nl.attribute(net, x, (1, "4:2"))
    with pytest.raises(nl.LensError, match="got 4:2 and 3:2"):
        nl.contributions(net, x, ("4:2", "3:2"), "1")
    with pytest.raises(nl.LensError, match="classes 0 to 3, not 8"):
        nl.attribute(net, x, (1, 8))
