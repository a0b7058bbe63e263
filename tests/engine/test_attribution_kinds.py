"""Attribution beyond one score per class of a picture: other kinds of input, answers at places, tokens, no gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from models import same, state
from reference.kinds import KINDS, Recurrent, Segmenting, grad_cam, input_of, integrated_gradients, model_of, occlusion
from torch import nn

import nn_lens as nl
from nn_lens.engine.evidence.attribution.methods import METHODS


def network(kind: str) -> tuple[nl.Network, torch.Tensor]:
    model, shape = model_of(kind)
    called = "sequence" if kind in ("LSTM", "GRU") else None
    return nl.Network(model, shape, False, kind=called), input_of(shape)


def summed(net: nl.Network, channels: np.ndarray) -> np.ndarray:
    return channels.sum(0) if net.kind in ("signal", "volume", "picture") else channels


# ---- other kinds of input ----


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_plain_torchs(kind):
    net, x = network(kind)
    point = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net.model(point[None])[0, 1], point)
    found = nl.attribute(net, x, 1, "saliency", abs=False)
    np.testing.assert_allclose(found.map, summed(net, gradient.numpy()), rtol=1e-4, atol=1e-7)
    assert found.map.shape == (x.shape[1:] if kind in ("signal", "volume") else x.shape)
    np.testing.assert_allclose(nl.attribute(net, x, 1, "smooth_grad", stdevs=0).map, found.map, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_integrated_gradients_start_where_nothing_is(kind):
    """At 0, of volumes with values in [0,1] at mid grey."""
    net, x = network(kind)
    start = torch.full_like(x, 0.5 if kind == "volume" else 0.0)
    expected = integrated_gradients(lambda p: net.model(p)[:, 1], x, start)
    found = nl.attribute(net, x, 1)
    np.testing.assert_allclose(found.map, summed(net, expected), rtol=2e-2, atol=2e-4)
    assert found.completeness_error < 0.02
    if kind == "volume":
        beyond = integrated_gradients(lambda p: net.model(p)[:, 1], x * 3, torch.zeros_like(x))
        np.testing.assert_allclose(nl.attribute(net, x * 3, 1).map, summed(net, beyond), rtol=2e-2, atol=2e-4)


OCCLUSIONS = {
    "signal": ((1,), (7,), (3,)),
    "volume": ((1, 2, 3), (3, 4, 5), (2, 4, 3)),
    "LSTM": ((0,), (2,), (2,)),
    "GRU": ((0,), (1,), (1,)),
    "vector": ((0,), (3,), (2,)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_occlusion_covers_places_of_any_dimension(kind):
    net, x = network(kind)
    axes, window, stride = OCCLUSIONS[kind]

    def answer(p: torch.Tensor) -> float:
        with torch.no_grad():
            return float(net.model(p[None])[0, 2])

    expected = occlusion(answer, x, 0.25, axes, window, stride)
    if net.kind == "sequence":
        expected = expected[:, None].repeat(x.shape[1], 1)
    options = {"window": window, "stride": stride, "baseline": 0.25}
    found = nl.attribute(net, x, 2, "occlusion", **options)
    np.testing.assert_allclose(found.map, expected, rtol=1e-3, atol=1e-6)
    assert found.channels.shape == x.shape
    *_, last = nl.occlusion_steps(net, x, 2, **options)
    np.testing.assert_allclose(last.map, expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(last.channels, found.channels, rtol=1e-3, atol=1e-6)
    assert np.isfinite(nl.attribute(net, x, 2, "occlusion").map).all()


def test_windows_have_as_many_numbers_as_there_are_sides():
    net, x = network("volume")
    with pytest.raises(nl.LensError, match=r"window is a side or \(depth, height, width\), from 1 to 6 by 8 by 11"):
        nl.attribute(net, x, 0, "occlusion", window=(2, 3))
    net, x = network("signal")
    with pytest.raises(nl.LensError, match=r"stride is a whole number, from 1 to 4 here .*got 5"):
        nl.attribute(net, x, 0, "occlusion", window=4, stride=5)
    with pytest.raises(nl.LensError, match="baseline is a finite number or a signal, got nan"):
        nl.attribute(net, x, 0, baseline=np.nan)


CAM_LAYERS = {"signal": "4", "volume": "3", "LSTM": "steps", "GRU": "steps"}


@pytest.mark.parametrize("kind", CAM_LAYERS)
def test_grad_cam_has_the_layers_grid(kind):
    net, x = network(kind)
    kept = {}
    handle = net.module(CAM_LAYERS[kind]).register_forward_hook(
        lambda _m, _i, o: kept.update(y=o[0] if isinstance(o, tuple) else o)
    )
    score = net.model(x[None].requires_grad_())[0, 1]
    handle.remove()
    if net.kind == "sequence":
        (gradient,) = torch.autograd.grad(score, kept["y"])
        expected = (kept["y"].detach()[0] * gradient[0].mean(0)).sum(1).numpy()
    else:
        maps = kept["y"]
        (gradient,) = torch.autograd.grad(score, maps)
        weights = gradient[0].flatten(1).mean(1).numpy()
        expected = sum(w * m for w, m in zip(weights, maps[0].detach().numpy(), strict=True))
    found = nl.attribute(net, x, 1, "grad_cam")
    assert found.layer == CAM_LAYERS[kind]
    np.testing.assert_allclose(found.channels[0], expected, rtol=1e-3, atol=1e-6)
    assert found.map.shape == (x.shape if net.kind == "sequence" else x.shape[1:])
    if kind == "signal":  # places in the middles of their shares
        places = (np.arange(41) + 0.5) * len(expected) / 41 - 0.5
        np.testing.assert_allclose(found.map, np.interp(places, np.arange(len(expected)), expected), atol=1e-5)
    if kind == "LSTM":
        np.testing.assert_allclose(found.map, expected[:, None].repeat(4, 1), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_drawn_and_told(kind):
    net, x = network(kind)
    every = nl.attribute_all(net, x, 1, control=True)
    assert set(every.attributions) | set(every.reasons) == set(METHODS)
    assert ("grad_cam" in every.reasons) == (kind == "vector")
    assert len(every.figure().axes) == 1 + len(METHODS)
    assert len(every["saliency"].figure().axes) == 3
    names = {"signal": "at place ", "volume": "at slice ", "vector": "at number "}
    for found in every.attributions.values():
        assert len(found.strongest) == found.map.ndim
        told = "at step " if net.kind == "sequence" else names[kind]
        assert told in found.alt_text
        by_step = found.method in ("grad_cam", "occlusion")
        assert ("feature" in found.alt_text) == (net.kind == "sequence" and not by_step)


def test_a_recurrent_layers_last_step_has_no_map():
    """Only its last step is read; the layer before has a gradient at every step."""
    torch.manual_seed(0)
    net = nl.Network(Recurrent(nn.GRU, last=True), (9, 4), False, kind="sequence")
    x = input_of((9, 4))
    found = nl.attribute(net, x, 1, "grad_cam")
    assert found.layer == "mix"
    assert nl.attribute(net, x, 1, "grad_cam", layer="steps").map.shape == (9, 4)


def test_steps_before_the_batch():
    torch.manual_seed(0)
    own = Recurrent(nn.GRU).eval()
    turned = Recurrent(nn.GRU, batch_first=False).eval()
    turned.load_state_dict(own.state_dict())
    x = input_of((9, 4))
    maps = [
        nl.attribute(nl.Network(m, (9, 4), False, kind="sequence"), x, 1, "grad_cam", layer="steps").map
        for m in (own, turned)
    ]
    np.testing.assert_allclose(*maps, rtol=1e-4, atol=1e-7)


# ---- classes at places ----


@pytest.fixture
def dense():
    torch.manual_seed(5)
    model, x = Segmenting().eval(), torch.rand(1, 10, 14)
    with torch.no_grad():  # the first two classes win at half of the places each
        answer = model(x[None])[0]
        model.out.bias[1] += (answer[0] - answer[1]).median()
    return nl.Network(model, (1, 10, 14), False, ["back", "cell", "edge"]), x


def test_a_class_at_places_is_its_sum_where_it_wins(dense):
    net, x = dense
    with torch.no_grad():
        wins = net.model(x[None])[0].argmax(0) == 1
    assert 0 < wins.sum() < wins.numel()

    def answer(p: torch.Tensor) -> torch.Tensor:
        return net.model(p)[:, 1][:, wins].sum(1)  # where it won in the picture as it is, whatever is changed

    point = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(answer(point[None])[0], point)
    found = nl.attribute(net, x, "cell", "saliency", abs=False)
    np.testing.assert_allclose(found.map, gradient[0], rtol=1e-4, atol=1e-6)
    assert found.answer == pytest.approx(answer(x[None]).item(), rel=1e-5)
    assert found.target == f"cell where it wins ({int(wins.sum())} of 140 places)"
    whole = nl.attribute(net, x, "cell")
    np.testing.assert_allclose(whole.map, integrated_gradients(answer, x, x * 0 + 0.5)[0], rtol=2e-2, atol=2e-3)
    assert whole.completeness_error < 0.01
    with torch.no_grad():
        expected = occlusion(lambda p: float(answer(p[None])), x, 0.5, (1, 2), (3, 4), (2, 4))
    covered = nl.attribute(net, x, 1, "occlusion", window=(3, 4), stride=(2, 4))
    np.testing.assert_allclose(covered.map, expected, rtol=1e-3, atol=1e-5)


def test_a_class_at_a_place_and_in_a_mask(dense):
    net, x = dense
    unit = nl.attribute(net, x, "out:2@3,7", "saliency").map
    found = nl.attribute(net, x, "edge", "saliency", at=(3, 7))
    np.testing.assert_allclose(found.map, unit, rtol=1e-5)
    assert found.target == "edge at 3,7"
    mask = np.zeros((10, 14), bool)
    mask[3, 7] = mask[9, 0] = True
    both = nl.attribute(net, x, "edge", "saliency", abs=False, at=mask).map
    parts = [nl.attribute(net, x, f"out:2@{place}", "saliency", abs=False).map for place in ("3,7", "9,0")]
    np.testing.assert_allclose(both, sum(parts), rtol=1e-4, atol=1e-7)
    *_, last = nl.occlusion_steps(net, x, 2, at=torch.from_numpy(mask), window=5)
    np.testing.assert_allclose(last.map, nl.attribute(net, x, 2, "occlusion", at=mask, window=5).map, atol=1e-5)
    assert "edge at 2 places" in nl.attribute_all(net, x, 2, at=mask).alt_text


def test_grad_cam_of_places_is_before_the_scores(dense):
    net, x = dense
    found = nl.attribute(net, x, "cell", "grad_cam")
    assert found.layer == "b"
    a = torch.tanh(net.model.a(x[None]))
    maps = net.model.b(a).detach()[0].requires_grad_()
    out = net.model.out(torch.tanh(maps[None]))[0]
    expected = grad_cam(out[1][out.argmax(0) == 1].sum(), maps)
    np.testing.assert_allclose(found.map, expected, rtol=1e-3, atol=1e-5)


def test_what_wins_nowhere_says_where_to_look(dense):
    net, x = dense
    with pytest.raises(nl.LensError, match=r"edge wins at no place .*\(back at \d+, cell at \d+ of 140 .*at=\(5, 7\)"):
        nl.attribute(net, x, "edge")
    with pytest.raises(nl.LensError, match="at is a place of 10x14"):
        nl.attribute(net, x, "edge", at=(10, 0))
    with pytest.raises(nl.LensError, match='of a unit write "out:2@place"'):
        nl.attribute(net, x, "out:2", at=(1, 1))
    net, x = network("signal")
    with pytest.raises(nl.LensError, match="one score per class, at no place"):
        nl.attribute(net, x, 1, at=(1, 1))


# ---- Grad-CAM of tokens and branches ----


def test_grad_cam_of_a_transformer_that_reads_its_class_token():
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(24, 8, 2, 2, 16, 32, num_classes=5).eval()
    nn.init.normal_(model.heads.head.weight)
    net, x = nl.Network(model, (3, 24, 24), False), torch.rand(3, 24, 24)
    norm = model.encoder.layers[-1].ln_1
    kept = {}
    handle = norm.register_forward_hook(lambda _m, _i, o: kept.update(y=o))
    score = model(x[None].requires_grad_())[0, 3]
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept["y"])
    expected = (kept["y"][0, 1:] * gradient[0, 1:].mean(0)).sum(1).detach().view(3, 3)
    found = nl.attribute(net, x, 3, "grad_cam")
    assert found.layer == "encoder.layers.encoder_layer_1.ln_1"
    np.testing.assert_allclose(found.channels[0], expected, rtol=1e-3, atol=1e-6)
    large = F.interpolate(expected[None, None], (24, 24), mode="bilinear", align_corners=False)[0, 0]
    np.testing.assert_allclose(found.map, large, rtol=1e-3, atol=1e-6)
    earlier = nl.attribute(net, x, 3, "grad_cam", layer="encoder.layers.encoder_layer_0")
    assert earlier.channels.shape == (1, 3, 3)


class Branches(nn.Module):
    """Two heads: the one that is called last does not read the other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Conv2d(4, 6, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.stem(x)
        return self.left(y).mean((2, 3)), self.right(y).mean((2, 3))


def test_grad_cam_takes_a_layer_that_the_target_depends_on():
    torch.manual_seed(0)
    net, x = nl.Network(Branches(), (3, 9, 12), False, output=0), torch.rand(3, 9, 12)
    assert nl.attribute(net, x, "right:1@2,3", "grad_cam").layer == "stem"
    assert nl.attribute(net, x, 1, "grad_cam").layer == "left"
    with pytest.raises(nl.LensError, match="no way from layer 'right' to class 1"):
        nl.attribute(net, x, 1, "grad_cam", layer="right")


def test_grad_cam_needs_places_of_the_input():
    class Rows(nn.Module):
        """A recurrent layer over the columns of a picture: its steps are no rows and columns."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.steps, self.head = nn.Conv2d(3, 4, 3), nn.LSTM(40, 6, batch_first=True), nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.steps(self.conv(x).permute(0, 3, 1, 2).flatten(2))[0].mean(1))

    torch.manual_seed(0)
    net, x = nl.Network(Rows(), (3, 12, 15), False), torch.rand(3, 12, 15)
    assert nl.attribute(net, x, 1, "grad_cam").layer == "conv"
    with pytest.raises(nl.LensError, match=r"with rows and columns; layer 'steps' answers with \(13, 6\).*: conv"):
        nl.attribute(net, x, 1, "grad_cam", layer="steps")


# ---- no gradient, no answer ----


class Closed(nn.Module):
    """A body through which no gradient comes, and a convolution behind it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.body = how, nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())
        self.then, self.head = nn.Conv2d(5, 4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                y = self.body(x)
        elif self.how == "inference_mode":
            with torch.inference_mode():
                y = self.body(x)
        elif self.how == "quantized":
            y = torch.quantize_per_tensor(self.body(x).detach(), 0.01, 0, torch.quint8).dequantize()
        else:
            y = self.body(x).detach()
        return self.head(self.then(y).relu().mean((2, 3)))


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation")
@pytest.mark.parametrize("how", ["no_grad", "inference_mode", "detach", "quantized"])
def test_what_lets_no_gradient_through_is_named(how):
    torch.manual_seed(0)
    net, x = nl.Network(Closed(how), (3, 12, 15), False), torch.rand(3, 12, 15)
    before = state(net.model)
    for method in ("saliency", "integrated_gradients", "smooth_grad", "deconvolution"):
        with pytest.raises(nl.LensError, match=r"no gradient comes through.*no_grad\(\).*quantized\. occlusion and"):
            nl.attribute(net, x, 1, method)
    assert nl.attribute(net, x, 1, "occlusion").map.shape == (12, 15)
    if how != "inference_mode":  # behind the closed part there is a gradient
        found = nl.attribute(net, x, 1, "grad_cam")
        with torch.no_grad():
            y = net.model.body(x[None])
        y = torch.quantize_per_tensor(y, 0.01, 0, torch.quint8).dequantize() if how == "quantized" else y
        maps = net.model.then(y).detach()[0].requires_grad_()
        expected = grad_cam(net.model.head(maps[None].relu().mean((2, 3)))[0, 1], maps)
        assert found.layer == "then"
        np.testing.assert_allclose(found.channels[0], expected, rtol=1e-3, atol=1e-6)
    assert same(before, state(net.model))


class Standardizing(nn.Module):
    """(x - mean) / deviation of each picture by itself: what is the same everywhere becomes NaN."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps, self.conv, self.head = eps, nn.Conv2d(3, 8, 3), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x - x.mean((1, 2, 3), keepdim=True)) / (x.std((1, 2, 3), keepdim=True) + self.eps)
        return self.head(self.conv(x).relu().mean((2, 3)))


def test_the_path_starts_where_there_is_an_answer():
    torch.manual_seed(0)
    net, x = nl.Network(Standardizing(0), (3, 16, 20), False), torch.rand(3, 16, 20)
    found = nl.attribute(net, x, 1)
    assert np.isfinite(found.map).all()
    assert "starts at a blurred copy of the picture" in found.note
    assert found.note in found.alt_text
    blurred = F.avg_pool2d(x[None], (5, 5), 1, (2, 2), count_include_pad=False)[0]
    assert found.completeness_error < 0.1
    way = float(net.scores(x)[1] - net.scores(blurred)[1])
    assert float(found.map.sum()) == pytest.approx(way, rel=0.1)
    with pytest.raises(
        nl.LensError, match="to this baseline Standardizing answers nan; pass baseline= another picture"
    ):
        nl.attribute(net, x, 1, baseline=0)
    other = nl.attribute(net, x, 1, baseline=torch.rand(3, 16, 20))
    assert other.note == ""
    with pytest.raises(nl.LensError, match="answers NaN or infinity where a part of the picture is covered"):
        list(nl.occlusion_steps(net, x, 1, window=(16, 20)))
    with pytest.raises(nl.LensError, match=r"occlusion finds NaN or infinity at 320 of 320 .*baseline= may name"):
        nl.attribute(net, x, 1, "occlusion", window=(16, 20))


def test_evidence_that_does_not_add_up_says_so():
    torch.manual_seed(0)
    net, x = nl.Network(Standardizing(1e-5), (3, 16, 20), False), torch.rand(3, 16, 20)
    found = nl.attribute(net, x, 1)
    assert found.completeness_error > 0.2
    assert "so its sum is not the answer: more n_steps= or another baseline= may help" in found.alt_text


def test_weights_that_are_no_numbers_are_named():
    model, shape = model_of("signal")
    net = nl.Network(model, shape, False)
    nn.init.constant_(net.model[7].weight, torch.nan)
    with pytest.raises(nl.LensError, match=r"answers nan at class 1, .*look at its weights"):
        nl.attribute(net, input_of(shape), 1)
