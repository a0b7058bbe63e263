from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import small, state
from reference import maximizing as slow

import nn_lens as nl
from nn_lens.engine.maximizing.objective import Answers
from nn_lens.engine.maximizing.objectives import gram_similarity

o = nl.objectives


def answers(n: int = 3, seed: int = 0, grad: bool = False) -> Answers:
    g = torch.Generator().manual_seed(seed)
    maps = torch.randn(n, 5, 4, 6, generator=g, dtype=torch.float64, requires_grad=grad)
    outputs = torch.randn(n, 7, 1, 1, generator=g, dtype=torch.float64)
    pictures = torch.rand(n, 3, 9, 11, generator=g, dtype=torch.float64, requires_grad=grad)
    labels = tuple(f"class {i}" for i in range(7))
    return Answers({"a": maps, "": outputs}, pictures, {"a": (1, 2)}, labels)


PLAIN = {
    "neuron": (o.neuron("a:2@3,5"), lambda m, x: m[:, 2, 3, 5]),
    "central neuron": (o.neuron("a:2"), lambda m, x: m[:, 2, 1, 2]),
    "channel": (o.channel("a:4"), lambda m, x: m[:, 4].mean((1, 2))),
    "layer": (o.layer("a"), lambda m, x: (m**2).mean((1, 2, 3))),
    "l1": (o.l1(0.25), lambda m, x: abs(x - 0.25).mean((1, 2, 3))),
    "l2": (o.l2(), lambda m, x: np.sqrt(((x - 0.5) ** 2).mean((1, 2, 3)))),
    "total variation": (
        o.total_variation(),
        lambda m, x: abs(x[:, :, 1:] - x[:, :, :-1]).mean((1, 2, 3)) + abs(x[..., 1:] - x[..., :-1]).mean((1, 2, 3)),
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_each_objective_is_what_it_says(name):
    objective, expected = PLAIN[name]
    a = answers()
    np.testing.assert_allclose(
        objective.value(a).numpy(), expected(a.maps["a"].numpy(), a.pictures.numpy()), rtol=1e-6, atol=1e-9
    )


def test_classes_by_index_and_label():
    a = answers()
    logits = a.maps[""][:, :, 0, 0]
    torch.testing.assert_close(o.logit(3).value(a), logits[:, 3])
    torch.testing.assert_close(o.logit("class 3").value(a), logits[:, 3])
    torch.testing.assert_close(o.probability("class 6").value(a), logits.softmax(1)[:, 6])
    with pytest.raises(nl.LensError, match="did you mean class"):
        o.logit("clas 3").value(a)
    with pytest.raises(nl.LensError, match="classes 0 to 6"):
        o.logit(7).value(a)


def test_directions():
    a = answers()
    vector = np.array([1.0, -2.0, 0.5, 0.0, 3.0])
    v = vector / np.linalg.norm(vector)
    maps = a.maps["a"].numpy()
    dots = np.einsum("nchw,c->nhw", maps, v)
    cosines = dots / np.linalg.norm(maps, axis=1)
    d = nl.Direction("a", vector)
    np.testing.assert_allclose(o.direction(d).value(a), dots.mean((1, 2)))
    np.testing.assert_allclose(o.direction(d, "cosine").value(a), cosines.mean((1, 2)))
    np.testing.assert_allclose(
        o.direction(d, "dot_cosine", power=3, at=(2, 4)).value(a), (dots * cosines.clip(0.1) ** 3)[:, 2, 4]
    )
    np.testing.assert_allclose(o.direction(d, at="centre").value(a), dots[:, 1, 2])
    with pytest.raises(nl.LensError, match="dot, cosine, dot_cosine"):
        o.direction(d, "dots")
    with pytest.raises(nl.LensError, match="centre"):
        o.direction(d, at=3)


def test_diversity_follows_its_paper():
    maps = answers(4).maps["a"]
    np.testing.assert_allclose(gram_similarity(maps), slow.gram_similarity(maps.numpy()), rtol=1e-9)
    a = answers(4)
    reached = maps[:, 2, 1, 2].numpy()
    expected = reached - 0.7 * abs(reached).mean() * slow.gram_similarity(maps.numpy())
    np.testing.assert_allclose(o.diversity("a:2", 4, 0.7).value(a), expected, rtol=1e-9)


def test_between_goes_from_one_to_the_other():
    a = answers(5)
    x, y = a.maps["a"][:, 1, 1, 2], a.maps["a"][:, 3, 1, 2]
    found = o.between("a:1", "a:3", 5).value(a)
    np.testing.assert_allclose(found, [(1 - i / 4) * float(x[i]) + i / 4 * float(y[i]) for i in range(5)])


def test_blur_of_a_smooth_picture_is_small():
    ramp = torch.linspace(0, 1, 40).expand(1, 1, 40, 40)
    noise = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    smooth, rough = (float(o.blur(1.5).value(Answers({}, x))) for x in (ramp, noise))
    assert smooth < 0.005 < 0.1 < rough
    from scipy.ndimage import gaussian_filter

    expected = abs(noise - gaussian_filter(noise[0, 0].numpy(), 1.5, mode="nearest", radius=4)).mean()
    assert float(o.blur(1.5).value(Answers({}, noise))) == pytest.approx(float(expected), rel=0.02)
    with pytest.raises(nl.LensError, match="sigma above 0"):
        o.blur(0)


numbers = st.floats(-3, 3, allow_nan=False)
parts = st.sampled_from([o.neuron("a:1"), o.channel("a:3"), o.total_variation(), o.l2(), o.layer("a"), o.logit(2)])


@settings(max_examples=60, deadline=None)
@given(parts, parts, parts, numbers, numbers)
def test_the_algebra_holds(x, y, z, a, b):
    seen = answers()

    def equal(left, right):
        np.testing.assert_allclose(left.value(seen), right.value(seen), rtol=1e-9, atol=1e-9)

    equal(x + y, y + x)
    equal((x + y) + z, x + (y + z))
    equal(x - y, x + -1 * y)
    equal(a * (x + y), a * x + a * y)
    equal((a * x) * b, (a * b) * x)
    equal(x - (y - z), x - y + z)
    np.testing.assert_allclose((x * a).value(seen), a * x.value(seen))
    assert set((x + y).layers) == set(x.layers) | set(y.layers)
    assert eval_name((x - (y + z)).name) == (x - (y + z)).name


def eval_name(name: str) -> str:
    """The name of the objective that a name, read as Python, makes."""
    text = name.replace("neuron(a:1)", "o.neuron('a:1')").replace("channel(a:3)", "o.channel('a:3')")
    text = text.replace("layer(a)", "o.layer('a')").replace("total_variation", "o.total_variation")
    text = text.replace("l2(0.5)", "o.l2(0.5)").replace("logit(2)", "o.logit(2)")
    return eval(text).name


SMOOTH = {
    "direction": o.direction(nl.Direction("a", [1, 2, 0, -1, 1]), "dot_cosine"),
    "cosine": o.direction(nl.Direction("a", [1, 2, 0, -1, 1]), "cosine", at="centre"),
    "layer": o.layer("a"),
    "l2": o.l2(0.3),
    "blur": o.blur(1.0),
    "mixed": 2 * o.channel("a:1") - 0.5 * o.l2() + o.neuron("a:0@1,1"),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_agree_with_finite_differences(name):
    a = answers(2, grad=True)

    def value(maps, pictures):
        return SMOOTH[name].value(Answers({"a": maps}, pictures, {"a": (1, 2)}))

    assert torch.autograd.gradcheck(value, (a.maps["a"], a.pictures), eps=1e-6, atol=1e-5)


def test_mistakes_are_named():
    with pytest.raises(nl.LensError, match="multiplied by numbers"):
        o.neuron("a:1") * o.neuron("a:2")
    with pytest.raises(nl.LensError, match="same n"):
        o.diversity("a:1", 4) + o.between("a:1", "a:2", 5)
    for make in (o.diversity, lambda u, n: o.between(u, u, n)):
        with pytest.raises(nl.LensError, match="2 or more"):
            make("a:1", 1)
    with pytest.raises(TypeError):
        o.neuron("a:1") + 3


# ---- maximized ----


def test_the_negative_side(demo):
    up = nl.maximize(demo, o.neuron("conv2:5"), steps=40)
    down = nl.maximize(demo, -o.neuron("conv2:5"), steps=40)
    assert -down.activations[0] < 0 < up.activations[0]
    assert down.notes == ("",)


def test_several_pictures_of_one_unit(demo):
    alike = nl.maximize(demo, ["relu3:5"] * 4, steps=64)
    different = nl.maximize(demo, o.diversity("relu3:5", 4, 2.0), steps=64)
    assert different.images.shape == (4, *alike.images.shape[1:])
    assert different.goals[1] == "diversity(relu3:5) [2 of 4]"
    similar = []
    for images in (different.images, nl.restarts(demo, "relu3:5", 4, steps=64).images):
        with torch.no_grad(), demo.evaluation():
            similar.append(float(gram_similarity(demo.outputs(torch.from_numpy(images), ["relu3"])["relu3"]).mean()))
    assert similar[0] < similar[1]


def test_from_one_unit_to_another(demo):
    found = nl.maximize(demo, o.between("relu3:5", "relu3:9", 3), steps=48)
    net_maps = [nl.activations(demo, torch.from_numpy(x), "relu3").maps for x in found.images]
    first = [m[5].max() for m in net_maps]
    second = [m[9].max() for m in net_maps]
    assert first[0] > first[2]
    assert second[2] > second[0]


def test_inversion_and_caricature(demo):
    picture = demo.samples["cat"]
    found = nl.maximize(demo, o.inversion(demo, picture, "relu2"), steps=200)
    assert -0.35 < found.activations[0] <= 0
    wanted = demo.picture(picture).numpy()
    assert np.corrcoef(found.images[0].mean(0).ravel(), wanted.mean(0).ravel())[0, 1] > 0.7
    goal = o.caricature(demo, picture, "relu3")
    exaggerated = nl.maximize(demo, goal, steps=64).activations[0]
    with torch.no_grad(), demo.evaluation():
        x = demo.picture(picture)[None]
        own = float(goal.value(Answers(demo.outputs(x, ["relu3"]), x)))
    assert exaggerated > own
    with pytest.raises(nl.LensError, match="leave out size"):
        nl.maximize(demo, goal, steps=1, size=40)


def test_nothing_is_left_behind():
    net = small()
    before = state(net.model)
    nl.maximize(net, o.diversity("3:1", 2) - 0.1 * o.blur(), steps=3)
    from models import same

    assert same(before, state(net.model))


@pytest.mark.parametrize("module", ["penalties", "colours"])
def test_examples_of_what_the_public_modules_take_from_others(module):
    parts = importlib.import_module(f"nn_lens.engine.maximizing.{module}")
    run = doctest.testmod(parts, extraglobs={"nl": nl, "torch": torch})
    assert run.attempted > 0
    assert run.failed == 0
