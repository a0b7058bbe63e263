"""Attribution: Captum's numbers, planted causes, what is not valid, and no trace on the model."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from models import Failing, Functional, material_network, same, small, squeezenet, state
from reference import attributing
from torch import nn

import nn_lens as nl
from nn_lens.engine.evidence.attribution.attribute import attribute, attribute_all, occlusion_steps
from nn_lens.engine.evidence.attribution.methods import METHODS as TABLE
from nn_lens.engine.evidence.attribution.methods import saliency

METHODS = tuple(TABLE)


def picture(net: nl.Network, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(net.input_shape, np.float32)


# ---- Captum's numbers ----


class OneConvolution(nn.Module):
    """The network of Captum's own tests, as the golden file describes it."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(1, 2, 3), nn.ReLU(inplace)
        self.fc1, self.relu2 = nn.Linear(8, 4), nn.ReLU(inplace)
        with torch.no_grad():
            self.conv1.weight.fill_(1)
            self.conv1.bias.copy_(torch.tensor([-50.0, -75.0]))
            self.fc1.weight.copy_(torch.tensor([1.0] * 5 + [-1.0] * 3).expand(4, 8))
            self.fc1.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu2(self.fc1(self.relu1(self.conv1(x)).view(-1, 8)))


@pytest.fixture
def golden(material):
    return json.loads((material / "golden" / "captum_numbers.json").read_text())


def one_convolution(inplace: bool = False, plus: int = 0) -> nl.Network:
    """It reads 0 to 15, so pictures in [0,1] are times 16; `plus` adds to each number after that."""
    return nl.Network(OneConvolution(inplace), (1, 4, 4), ([-plus / 16], [1 / 16]))


COUNTING = np.arange(16, dtype=np.float32).reshape(1, 4, 4) / 16


@pytest.mark.parametrize("inplace", [False, True])
def test_golden_numbers(golden, inplace):
    net = one_convolution(inplace)
    np.testing.assert_allclose(nl.activations(net, COUNTING, "conv1").maps, golden["conv1_activation"][0])
    for layer in ("conv1", "relu1"):
        found = attribute(net, COUNTING, 0, "grad_cam", layer=layer)
        np.testing.assert_allclose(found.channels, [golden[f"gradcam_{layer}"]])
        assert found.map.shape == (4, 4)
        assert found.layer == layer
    for method in ("guided_backprop", "deconvolution"):
        found = attribute(net, COUNTING, 0, method)
        np.testing.assert_allclose(found.channels / 16, [golden[method]])
        np.testing.assert_array_equal(found.map, found.channels[0])


def test_golden_occlusion(golden):
    net = one_convolution(plus=1)
    options = {"window": (2, 3), "stride": (2, 1), "baseline": 0}
    expected = golden["occlusion_first_input_x_plus_ones_window_2x3_stride_2_1"]
    np.testing.assert_allclose(attribute(net, COUNTING, 0, "occlusion", **options).map, expected)
    *_, last = occlusion_steps(net, COUNTING, 0, **options)
    np.testing.assert_allclose(last.map, expected)


def test_the_numbers_are_captums_own():
    from captum import attr

    net, x = small(), None
    x = torch.from_numpy(picture(net))[None].requires_grad_()
    net.model.eval()
    mine = {m: attribute(net, x[0], 2, m).channels for m in METHODS}
    captum = {
        "saliency": attr.Saliency(net.model).attribute(x, target=2),
        "integrated_gradients": attr.IntegratedGradients(net.model).attribute(x, baselines=0.5, target=2),
        "grad_cam": attr.LayerGradCam(net.model, net.model[4]).attribute(x, target=2),
        "occlusion": attr.Occlusion(net.model).attribute(x, (3, 2, 4), (3, 1, 2), baselines=0.5, target=2),
    }
    for method, expected in captum.items():
        np.testing.assert_allclose(mine[method], expected[0].detach().numpy(), rtol=1e-4, atol=1e-7, err_msg=method)


# ---- the papers ----


def test_occlusion_is_its_slow_reference():
    net = small(channels=4, side=(20, 31))
    x, cover = picture(net), np.random.default_rng(1).random(net.input_shape, np.float32)
    expected = attributing.occlusion(lambda p: float(net.scores(p)[1]), x, cover, (5, 4), (3, 4))
    found = attribute(net, x, 1, "occlusion", window=(5, 4), stride=(3, 4), baseline=cover)
    np.testing.assert_allclose(found.map, expected, rtol=1e-3, atol=1e-6)
    assert found.channels.shape == (4, 20, 31)
    assert found.completeness_error is None
    *_, last = occlusion_steps(net, x, 1, window=(5, 4), stride=(3, 4), baseline=cover)
    np.testing.assert_allclose(last.map, expected, rtol=1e-3, atol=1e-6)


def smooth_network() -> tuple[nl.Network, np.ndarray, np.ndarray]:
    """tanh between two Linear layers, and its weights."""
    torch.manual_seed(3)
    net = nl.Network(nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3)), (7,), False)
    return net, *(net.model[i].weight.detach().numpy().astype(float) for i in (0, 2))


@pytest.mark.parametrize("baseline", [None, 0.3])
def test_integrated_gradients_are_their_slow_reference(baseline):
    net, a, b = smooth_network()
    bias = net.model[0].bias.detach().numpy()
    x = np.random.default_rng(0).normal(size=7).astype(np.float32) * 2

    def gradient(z):
        return a.T @ (b[1] * (1 - np.tanh(a @ z + bias) ** 2))

    options = {} if baseline is None else {"baseline": baseline}
    found = attribute(net, x, 1, **options)
    expected = attributing.integrated_gradients(gradient, x, np.full(7, baseline or 0.0))
    np.testing.assert_allclose(found.map, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(attribute(net, x, 1, "saliency", abs=False).map, gradient(x), rtol=1e-4)
    np.testing.assert_allclose(attribute(net, x, 1, "saliency").map, np.abs(gradient(x)), rtol=1e-4)


@pytest.mark.parametrize("inplace", [False, True])
def test_rules_at_rectifiers_are_their_slow_reference(inplace):
    torch.manual_seed(1)
    layers = [nn.Linear(7, 9, bias=False), nn.Linear(9, 6, bias=False), nn.Linear(6, 3, bias=False)]
    model = nn.Sequential(layers[0], nn.ReLU(inplace), layers[1], nn.ReLU(inplace), layers[2])
    net = nl.Network(model, (7,), False)
    weights = [layer.weight.detach().numpy().astype(float) for layer in layers]
    x = np.random.default_rng(2).normal(size=7).astype(np.float32)
    rules = {"guided_backprop": "guided backpropagation", "deconvolution": "deconvolution"}
    for method, rule in rules.items():
        found = attribute(net, x, 2, method)
        np.testing.assert_allclose(found.map, attributing.backward(weights, x, 2, rule), rtol=1e-4, atol=1e-6)
    plain = attributing.backward(weights, x, 2, "backpropagation")
    np.testing.assert_allclose(attribute(net, x, 2, "saliency", abs=False).map, plain, rtol=1e-4, atol=1e-6)


def test_smooth_grad_is_the_mean_gradient_of_noisy_copies():
    net, a, b = smooth_network()
    bias = net.model[0].bias.detach().numpy()
    x = np.random.default_rng(0).normal(size=7).astype(np.float32)
    still = attribute(net, x, 0, "smooth_grad", stdevs=0, nt_samples=3).map
    np.testing.assert_allclose(still, attribute(net, x, 0, "saliency", abs=False).map, rtol=1e-5)
    z = x + np.random.default_rng(1).normal(size=(20000, 7)) * 0.8
    expected = ((1 - np.tanh(z @ a.T + bias) ** 2) * b[0]) @ a
    found = attribute(net, x, 0, "smooth_grad", stdevs=0.8, nt_samples=20000).map
    np.testing.assert_allclose(found, expected.mean(0), atol=4 * 2 * (expected.std(0) / 20000**0.5).max())


class Planted(nn.Module):
    """Answers with how much the best place looks like a template; there is nothing else in it."""

    def __init__(self, template: torch.Tensor) -> None:
        super().__init__()
        self.find = nn.Conv2d(len(template), 2, template.shape[1:], bias=True)
        self.on = nn.ReLU(inplace=True)
        self.best, self.flat = nn.AdaptiveMaxPool2d(1), nn.Flatten()
        self.answer = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            weight = template - template.mean()
            self.find.weight[0], self.find.weight[1] = weight, -weight
            self.find.bias.fill_(-0.2 * float((weight * template).sum()))
            self.answer.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer(self.flat(self.best(self.on(self.find(x)))))


@pytest.mark.parametrize("target", [1, "answer:1", "on:0"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_planted_cause_is_found(channels, method, target):
    template = torch.rand(channels, 6, 5, generator=torch.Generator().manual_seed(4))
    net = nl.Network(Planted(template), (channels, 23, 30), False)
    x = torch.full((channels, 23, 30), 0.5)
    x[:, 12:18, 4:9] = template
    found = attribute(net, x, target, method)
    row, column = found.strongest
    if (method, target) == ("grad_cam", "on:0"):
        # It weighs the map that is to be rectified, which is strongly negative elsewhere; the paper rectifies it too.
        row, column = np.unravel_index(found.map.argmax(), found.map.shape)
    assert found.map.shape == (23, 30)
    assert np.abs(found.map).max() > 0
    assert 12 <= row < 18, found.alt_text
    assert 4 <= column < 9, found.alt_text
    assert found.answer > 0


def test_the_control_tells_learned_from_drawn(demo):
    picture = demo.samples["coffee"]
    found = attribute(demo, picture, 3, "integrated_gradients", control=True)
    assert found.control.shape == found.map.shape
    assert not np.allclose(found.control, found.map)
    expected = attributing.rank_correlation(np.abs(found.map), np.abs(found.control))
    assert found.similarity_to_control == pytest.approx(expected, abs=1e-6)
    assert "similarity to the shuffled network" in found.alt_text
    again = attribute(demo, picture, 3, "integrated_gradients", control=True)
    np.testing.assert_array_equal(again.control, found.control)
    # The control is Captum's map of a network that is shuffled, and nothing else.
    twin = nl.randomized(demo)
    np.testing.assert_allclose(attribute(twin, picture, 3).map, found.control, rtol=1e-4, atol=1e-6)


# ---- targets ----


def test_targets_by_index_label_and_unit(demo):
    picture = demo.samples["coffee"]
    by_index = attribute(demo, picture, np.int64(4), "saliency")
    by_label = attribute(demo, picture, demo.labels[4], "saliency")
    np.testing.assert_array_equal(by_index.map, by_label.map)
    assert by_index.target == by_label.target == demo.labels[4]
    assert by_index.answer == pytest.approx(demo.scores(picture)[4], rel=1e-4)
    unit = attribute(demo, picture, "classifier:4", "saliency")
    np.testing.assert_allclose(unit.map, by_index.map, rtol=1e-5)
    assert unit.target == "classifier:4"


@pytest.mark.parametrize("method", METHODS)
def test_a_channels_strongest_place_is_stated(method):
    net = small()
    x = picture(net)
    channel = int(nl.activations(net, x, "3").maps.max((1, 2)).argmax())
    maps = nl.activations(net, x, "3").maps[channel]
    row, column = np.unravel_index(maps.argmax(), maps.shape)
    found = attribute(net, x, nl.Unit("3", channel), method)
    assert found.target == f"3:{channel}@{row},{column} (its strongest place)"
    assert found.answer == pytest.approx(maps[row, column], rel=1e-5)
    placed = attribute(net, x, f"3:{channel}@{row},{column}", method)
    np.testing.assert_array_equal(placed.map, found.map)
    assert found.layer == ("2" if method == "grad_cam" else None)
    assert found.target in found.alt_text
    field = nl.receptive_field(net, "3").box(int(row), int(column))
    assert np.abs(found.map).max() > 0, field


def test_evidence_stays_inside_the_receptive_field():
    net = small()
    x = picture(net)
    top, left, bottom, right = (4 * 1 - 1, 4 * 2 - 1, 4 * 1 - 1 + 17, 4 * 2 - 1 + 17)
    maps = nl.activations(net, x, "3").maps[:, 1, 2]
    found = attribute(net, x, f"3:{int(np.abs(maps).argmax())}@1,2")
    inside = np.zeros(found.map.shape, bool)
    inside[max(0, top) : bottom, max(0, left) : right] = True
    assert np.abs(found.map[~inside]).max() == 0
    assert np.abs(found.map[inside]).max() > 0


WRONG = {
    "label": ({"target": "espreso"}, "no class 'espreso'; did you mean .*espresso"),
    "class": ({"target": 20}, "classes 0 to 19, not 20"),
    "negative": ({"target": -1}, "classes 0 to 19, not -1"),
    "kind": ({"target": 1.5}, "class index, a label, or a unit .* got a float"),
    "layer": ({"target": "rellu2:1"}, "no layer 'rellu2'. Nearest: relu"),
    "channel": ({"target": "relu2:4000"}, "channels 0 to 95"),
    "place": ({"target": "relu2:4@99,0"}, "row 99"),
    "method": ({"method": "integrated_gradient"}, "no method .*did you mean integrated_gradients.*occlusion"),
    "option": ({"method": "occlusion", "windows": 3}, "no option 'windows'; its options are window, stride, baseline"),
    "no options": ({"method": "deconvolution", "layer": 3}, "no option 'layer'; it has none"),
    "window": ({"method": "occlusion", "window": 65}, "window is a side or .*from 1 to 64 by 64.*got 65"),
    "window pair": ({"method": "occlusion", "window": (3,)}, r"window is a side or .*got \(3,\)"),
    "stride": ({"method": "occlusion", "window": 4, "stride": 5}, "stride is .*from 1 to 4 by 4.*left out.*got 5"),
    "baseline": ({"baseline": 2}, r"baseline is a number in \[0,1\] or a picture, got 2"),
    "steps": ({"n_steps": 0}, "n_steps is a whole number"),
    "samples": ({"method": "smooth_grad", "nt_samples": 1.5}, "nt_samples is a whole number"),
    "noise": ({"method": "smooth_grad", "stdevs": -1}, "stdevs is .*0 or more, got -1"),
    "cam layer": ({"method": "grad_cam", "layer": "classifier"}, "activation maps .*'classifier' answers with"),
    "cam after": (
        {"method": "grad_cam", "layer": "relu3", "target": "relu2:1"},
        "no way from layer 'relu3' to relu2:1",
    ),
    "cam first": ({"method": "grad_cam", "target": "conv1:1"}, "no layer before conv1:1.* has rows and columns"),
    "cam unknown": ({"method": "grad_cam", "layer": "relu33"}, "no layer 'relu33'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_attributed_is_named(demo, name):
    options, says = WRONG[name]
    labels = ("espresso", *demo.labels[1:])
    net = nl.Network(demo.model, demo.input_shape, False, labels)
    with pytest.raises(nl.LensError, match=says):
        attribute(net, demo.samples["coffee"], **{"target": 0, **options})


def test_occlusion_steps_check_before_they_start(demo):
    with pytest.raises(nl.LensError, match="window is a side"):
        occlusion_steps(demo, demo.samples["coffee"], 0, window=0)
    with pytest.raises(nl.LensError, match="classes 0 to 19"):
        occlusion_steps(demo, demo.samples["coffee"], 99)


# ---- rectifiers that hooks miss ----


class Rectified(nn.Module):
    """A convolution whose answer a function of ours makes nonlinear."""

    def __init__(self, then) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.write = nn.ReLU(inplace=True)
        self.then = then

    def forward(self, x):
        return self.then(self, x).mean((2, 3))


HIDDEN = {
    "function": (lambda m, x: m.b(F.relu(m.a(x))), "calls relu as a function"),
    "in place": (lambda m, x: m.b(F.relu_(m.a(x))), "calls relu_ as a function"),
    "method": (lambda m, x: m.b(m.relu(m.a(x)).relu()), "calls relu as a function"),
    "clamp": (lambda m, x: m.b(m.a(x).clamp(min=0)), "uses clamp, and the method has a rule for ReLU only"),
    "gelu": (lambda m, x: m.b(F.gelu(m.relu(m.a(x)))), "uses gelu"),
    "silu": (lambda m, x: m.b(F.silu(m.a(x))), "uses silu"),
    "sigmoid": (lambda m, x: m.b(m.relu(m.a(x))) * torch.sigmoid(m.b(m.a(x))), "uses sigmoid"),
    "shared": (lambda m, x: m.relu(m.b(m.relu(m.a(x)))), "ReLU module 'relu' is shared by 2 calls"),
    "forked": (lambda m, x: m.b(m.relu(y := m.a(x))) + y, "what its ReLU module 'relu' reads is read elsewhere too"),
    "forked in place": (
        lambda m, x: m.b(m.write(y := m.a(x))) + y,
        "reads is read elsewhere|written? on is read again",
    ),
    "view": (
        lambda m, x: (y := m.a(x), m.write(y.flatten(1)), m.b(y))[2],
        "what its in-place .* write on is read again",
    ),
    "statement": (lambda m, x: (y := m.a(x), m.write(y), m.b(y))[2], "reads is read elsewhere|write on is read again"),
}


@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution"])
@pytest.mark.parametrize("name", HIDDEN)
def test_methods_that_hooks_would_make_wrong_are_refused(name, method):
    then, says = HIDDEN[name]
    torch.manual_seed(0)
    net = nl.Network(Rectified(then), (3, 9, 12), False)
    with pytest.raises(nl.LensError, match=f"{method} is not valid for Rectified: .*({says})") as error:
        attribute(net, picture(net), 1, method)
    assert "Valid methods: saliency, integrated_gradients, smooth_grad, grad_cam, occlusion." in str(error.value)


def test_grad_cam_is_not_offered_where_there_are_no_maps():
    torch.manual_seed(0)
    net = nl.Network(nn.Sequential(nn.Flatten(), nn.Linear(30, 4), nn.Sigmoid()), (1, 5, 6), False)
    with pytest.raises(nl.LensError, match=r"uses sigmoid, .* smooth_grad, occlusion\.$"):
        attribute(net, picture(net), 1, "guided_backprop")
    with pytest.raises(nl.LensError, match="no layer before class 1 has rows and columns"):
        attribute(net, picture(net), 1, "grad_cam")


def test_what_lies_behind_the_target_does_not_matter():
    torch.manual_seed(0)
    net = nl.Network(Rectified(lambda m, x: F.gelu(m.b(m.relu(m.a(x))))), (3, 9, 12), False)
    assert attribute(net, picture(net), "b:1", "guided_backprop").map.shape == (9, 12)
    with pytest.raises(nl.LensError, match="uses gelu"):
        attribute(net, picture(net), 1, "guided_backprop")


def test_residual_networks_with_modules_of_their_own_are_right(demo):
    found = attribute(demo, demo.samples["coffee"], 0, "guided_backprop")
    assert np.abs(found.map).max() > 0


def test_all_methods_side_by_side(demo, material):
    everything = attribute_all(demo, demo.samples["coffee"], 0)
    assert tuple(everything.attributions) == METHODS
    assert everything.reasons == {}
    for method in METHODS:
        assert everything[method].map.shape == (64, 64)
    net = material_network(material, "fashion_crp", (1, 28, 28))
    some = attribute_all(net, picture(net), 3)
    assert tuple(some.reasons) == ("guided_backprop", "deconvolution")
    assert "calls relu as a function" in some.reasons["deconvolution"]
    assert set(some.attributions) | set(some.reasons) == set(METHODS)
    with pytest.raises(nl.LensError, match="calls relu as a function"):
        some["guided_backprop"]
    with pytest.raises(nl.LensError, match="no method 'cam'"):
        some["cam"]
    assert "not valid for this network: guided backprop, deconvolution" in some.alt_text
    with pytest.raises(nl.LensError, match="classes 0 to 9"):
        attribute_all(net, picture(net), 10)


# ---- vectors, odd inputs, completeness ----


def test_tables_have_a_number_for_each_input():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 2))
    net = nl.Network(model, (7,), False, ["no", "yes"])
    x = np.linspace(-2, 3, 7, dtype=np.float32)
    everything = attribute_all(net, x, "yes", control=True)
    assert tuple(everything.reasons) == ("grad_cam",)
    for found in everything.attributions.values():
        assert found.map.shape == found.channels.shape == found.control.shape == (7,)
        assert "at number" in found.alt_text
        found.figure()
    everything.figure()
    with pytest.raises(nl.LensError, match="grad_cam weighs activation maps, and this network reads vectors"):
        attribute(net, x, "yes", "grad_cam")
    scores = net.scores(x)
    for i in range(7):
        without = x.copy()
        without[i] = 0
        assert everything["occlusion"].map[i] == pytest.approx(scores[1] - net.scores(without)[1], abs=1e-6)
    *_, last = occlusion_steps(net, x, 1)
    np.testing.assert_allclose(last.map, everything["occlusion"].map, atol=1e-6)


@pytest.mark.parametrize(("channels", "side"), [(1, (21, 30)), (4, (17, 33))])
@pytest.mark.parametrize("method", METHODS)
def test_other_channels_and_oblong_inputs(channels, side, method):
    net = small(channels, side)
    found = attribute(net, picture(net), 1, method)
    assert found.map.shape == side
    assert found.map.dtype == found.channels.dtype == np.float32
    assert found.channels.shape[0] == (1 if method == "grad_cam" else channels)
    assert np.isfinite(found.map).all()
    if method not in ("grad_cam", "occlusion"):
        np.testing.assert_allclose(found.map, found.channels.sum(0), rtol=1e-6)
    if method == "occlusion":
        np.testing.assert_array_equal(found.channels, np.broadcast_to(found.map, found.channels.shape))


def test_completeness_is_measured_and_said(demo):
    picture = demo.samples["cat"]
    found = attribute(demo, picture, 5)
    x = demo.picture(picture).numpy()
    way = demo.scores(x)[5] - demo.scores(np.full_like(x, 0.5))[5]
    off = abs(found.map.astype(float).sum() - way) / abs(way)
    assert found.completeness_error == pytest.approx(off, abs=1e-4)
    assert found.completeness_error < 0.05
    assert f"completeness error {found.completeness_error:.2%}" in found.alt_text
    rough = attribute(demo, picture, 5, n_steps=2)
    assert rough.completeness_error > 2 * found.completeness_error
    black = attribute(demo, picture, 5, baseline=0)
    own = attribute(demo, picture, 5, baseline=np.zeros_like(x))
    np.testing.assert_array_equal(black.map, own.map)
    assert not np.allclose(black.map, found.map)
    nothing = attribute(demo, picture, 5, baseline=picture)
    assert nothing.completeness_error == 0
    assert "none anywhere" in nothing.alt_text


def test_a_linear_network_is_complete_by_hand():
    net = nl.Network(nn.Sequential(nn.Flatten(), nn.Linear(6, 2)), (1, 2, 3), False)
    weight = net.model[1].weight.detach().numpy()[1].reshape(2, 3)
    x = picture(net)
    np.testing.assert_allclose(attribute(net, x, 1).map, weight * (x[0] - 0.5), rtol=1e-4, atol=1e-7)
    assert attribute(net, x, 1).completeness_error < 1e-4
    np.testing.assert_allclose(attribute(net, x, 1, "smooth_grad").map, weight, rtol=1e-5)


# ---- streaming ----


def test_occlusion_grows_and_can_be_closed(demo):
    passes = []
    handle = demo.model.conv1.register_forward_hook(lambda _m, x, _y: passes.append(len(x[0])))
    before = state(demo.model)
    steps = occlusion_steps(demo, demo.samples["coffee"], 1)
    first = next(steps)
    assert same(before, state(demo.model)), "between two batches the model is as it was"
    assert 0 < first.progress < 1
    assert "% done" in first.alt_text
    steps.close()
    count = len(passes)
    assert list(steps) == []
    assert len(passes) == count
    handle.remove()


def test_occlusion_grows_into_captums(demo):
    steps = list(occlusion_steps(demo, demo.samples["coffee"], 1, window=(9, 12), stride=7, baseline=0.2))
    progress = [s.progress for s in steps]
    assert progress == sorted(set(progress))
    assert progress[-1] == 1
    covered = [np.count_nonzero(s.map) for s in steps]
    assert covered == sorted(covered)
    whole = attribute(demo, demo.samples["coffee"], 1, "occlusion", window=(9, 12), stride=7, baseline=0.2)
    np.testing.assert_allclose(steps[-1].map, whole.map, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(steps[-1].channels, whole.channels, rtol=1e-3, atol=1e-5)


# ---- no trace ----


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_left_as_it_was(method):
    net = small()
    net.model.train()
    net.model[4].eval()
    net.model[0].weight.requires_grad_(False)
    net.model(torch.rand(2, 3, 20, 28)).sum().backward()
    grads = [None if p.grad is None else p.grad.clone() for p in net.model.parameters()]
    flags = [m.inplace for m in net.model.modules() if isinstance(m, nn.ReLU)]
    x = torch.rand(3, 20, 28)
    torch.manual_seed(11)
    np.random.seed(11)
    random.seed(11)
    before, others = state(net.model), (np.random.get_state()[1].copy(), random.getstate())
    kept = x.clone()
    attribute(net, x, 1, method, control=True)
    assert same(before, state(net.model))
    assert flags == [m.inplace for m in net.model.modules() if isinstance(m, nn.ReLU)] == [True, False]
    for p, grad in zip(net.model.parameters(), grads, strict=True):
        assert (p.grad is None) if grad is None else torch.equal(p.grad, grad)
    assert not any("forward" in m.__dict__ for m in net.model.modules())
    assert np.array_equal(others[0], np.random.get_state()[1])
    assert others[1] == random.getstate()
    assert torch.equal(x, kept)
    assert not x.requires_grad
    assert x.grad is None
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("method", METHODS)
def test_models_that_write_on_their_input(method):
    found = []
    for inplace in (False, True):
        torch.manual_seed(0)
        layers = [nn.ReLU(inplace), nn.Conv2d(3, 4, 3), nn.ReLU(inplace), nn.AdaptiveMaxPool2d(2), nn.Flatten()]
        net = nl.Network(nn.Sequential(*layers, nn.Linear(16, 3)), (3, 12, 15), False)
        x = picture(net) - 0.5
        kept = x.copy()
        found.append(attribute(net, x, 1, method).map)
        np.testing.assert_array_equal(x, kept)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_a_failure_leaves_no_trace(method):
    net = nl.Network(Failing(), (3, 12, 15), False)
    net.model.train()
    count = {"calls": 0}
    forward = type(net.model).forward

    class Later(Failing):
        def forward(self, x):
            count["calls"] += 1
            if count["calls"] > 1:
                raise RuntimeError("the cable is out")
            return forward(self, x)

    net.model.__class__ = Later
    before = state(net.model)
    with pytest.raises(nl.LensError, match="the cable is out"):
        attribute(net, picture(net), 1, method)
    assert same(before, state(net.model))
    count["calls"] = 1
    with pytest.raises(nl.LensError, match="the cable is out"):
        list(occlusion_steps(net, picture(net), 1))
    assert same(before, state(net.model))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("method", METHODS)
def test_callers_without_gradients_get_the_same(method, context):
    net = small()
    x = picture(net)
    expected = attribute(net, x, 1, method).map
    with context():
        np.testing.assert_array_equal(attribute(net, x, 1, method).map, expected)
        assert not torch.is_grad_enabled()


def test_the_same_call_gives_the_same_bits(demo):
    picture = demo.samples["coffee"]
    torch.manual_seed(1)
    a = attribute(demo, picture, 0, "smooth_grad")
    torch.manual_seed(2)
    b = attribute(demo, picture, 0, "smooth_grad")
    np.testing.assert_array_equal(a.map, b.map)
    assert not np.array_equal(a.map, attribute(demo, picture, 0, "smooth_grad", seed=1).map)


def test_models_that_cannot_be_copied_say_so():
    class Stuck(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()

        def forward(self, x):
            return self.relu(self.conv(x)).mean((2, 3))

        def __deepcopy__(self, memo):
            raise TypeError("it holds a socket")

    net = nl.Network(Stuck(), (3, 12, 15), False)
    x = picture(net)
    for method in ("guided_backprop", "deconvolution"):
        with pytest.raises(nl.LensError, match=f"{method} needs hooks.*holds a socket.*Without a copy work saliency"):
            attribute(net, x, 1, method)
    for method in ("saliency", "integrated_gradients", "smooth_grad", "grad_cam", "occlusion"):
        assert attribute(net, x, 1, method).map.shape == (12, 15)


def test_functional_networks_have_the_other_methods():
    torch.manual_seed(0)
    net = nl.Network(Functional(), (3, 16, 19), False)
    everything = attribute_all(net, picture(net), 2)
    assert tuple(everything.reasons) == ("guided_backprop", "deconvolution")


def test_a_shared_layer_has_no_one_map():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.twice = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            return self.twice(self.twice(self.first(x)).relu()).mean((2, 3))

    net = nl.Network(Shared(), (3, 9, 12), False)
    with pytest.raises(nl.LensError, match="'twice' is called 2 times"):
        attribute(net, picture(net), 1, "grad_cam")
    assert attribute(net, picture(net), 1, "grad_cam", layer="first").layer == "first"


def test_captum_loads_when_it_is_first_used():
    code = "import sys, nn_lens.engine.evidence.attribution.attribute as a; assert not {'captum', 'scipy', 'matplotlib'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- for people ----


def test_figures_and_texts(demo):
    found = attribute(demo, demo.samples["coffee"], 0, "grad_cam", control=True)
    assert len(found.figure().axes) == 3
    assert len(attribute(demo, demo.samples["coffee"], 0).figure().axes) == 2
    assert f"Evidence for {demo.labels[0]} by Grad-CAM at layer block4" in found.alt_text
    assert repr(found) == f"<{found.alt_text}>"
    assert found._repr_png_().startswith(b"\x89PNG")
    everything = attribute_all(demo, demo.samples["coffee"], 0)
    assert len(everything.figure().axes) == 1 + len(METHODS)


def test_the_contract_names_the_methods():
    assert {
        "saliency", "integrated_gradients", "smooth_grad", "grad_cam", "guided_backprop", "deconvolution", "occlusion",
    } <= set(METHODS)  # fmt: skip


def test_a_method_that_is_added_is_drawn_too(demo, monkeypatch):
    monkeypatch.setitem(TABLE, "eighth", lambda subject, *, twice=False: saliency(subject))
    everything = attribute_all(demo, demo.samples["coffee"], 0)
    assert tuple(everything.attributions) == (*METHODS, "eighth")
    figure = everything.figure()
    assert [axes.get_title().split("\n")[0] for axes in figure.axes[1:]][-1] == "eighth"
    assert len(figure.axes) == 1 + len(TABLE)
    boxes = [axes.get_position() for axes in figure.axes]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    with pytest.raises(nl.LensError, match="eighth has no option 'thrice'; its options are twice"):
        attribute(demo, demo.samples["coffee"], 0, "eighth", thrice=1)


def test_a_real_network_looks_at_the_dogs_head(material):
    """SqueezeNet on a white dog in the grass: by Grad-CAM and by occlusion, Samoyed is in its face, not in the grass."""
    net = squeezenet(material)
    for method in ("grad_cam", "occlusion"):
        found = attribute(net, material / "images" / "dog.jpg", 258, method)
        row, column = found.strongest
        assert 20 <= row < 75, found.alt_text
        assert 10 <= column < 85, found.alt_text
        assert found.map[found.strongest] > 0
