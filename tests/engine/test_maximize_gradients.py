"""Maximizing where a model cuts the gradient, takes one size only, answers at each place, or answers with NaN."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nn_lens as nl


class Frozen(nn.Module):
    """A body that gives its answer without a graph, in the ways in which models do."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.how = how
        self.body, self.head = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3)), nn.Linear(5, 4)
        self.body[2].bias.data += 0.5  # on for noise: a picture of noise would have a note of its own otherwise

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                x = self.body(x)
        elif self.how == "inference_mode":
            with torch.inference_mode():
                x = self.body(x)
            x = x.clone()
        elif self.how == "numpy":
            x = self.body(torch.from_numpy(x.detach().numpy()))
        elif self.how == "round":
            x = self.body(x.round())
        else:
            x = self.body({"detach": x.detach, "data": lambda: x.data, "free": lambda: x}[self.how]())
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("how", ["no_grad", "detach", "data"])
def test_a_gradient_that_is_cut_is_let_through(how):
    free = nl.Network(Frozen("free"), (3, 20, 20), False)
    net = nl.Network(Frozen(how), (3, 20, 20), False)
    for goal in ("body.2:1", nl.objectives.logit(1)):
        expected = nl.maximize(free, goal, steps=12)
        found = nl.maximize(net, goal, steps=12)
        assert np.abs(found.images - expected.images).max() <= 1 / 255
        assert found.notes == ("",)
    np.testing.assert_allclose(
        nl.linear_maximizers(net, "body.2:1").weights,
        nl.linear_maximizers(free, "body.2:1").weights,
        rtol=1e-4,
        atol=1e-6,
    )
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("how", ["inference_mode", "numpy", "round"])
def test_noise_is_never_without_a_word(how):
    net = nl.Network(Frozen(how), (3, 20, 20), False)
    for goal in ("body.2:1", nl.objectives.logit(1)):
        found = nl.maximize(net, goal, steps=8)
        assert "no gradient" in found.notes[0]
        assert "not a maximum" in found.notes[0]
        assert "not a maximum" in found.alt_text
    maps = nl.activations(net, torch.from_numpy(nl.maximize(net, "body.2:1@3,3", steps=8).images[0]), "body.2").maps
    assert nl.maximize(net, "body.2:1@3,3", steps=8).activations[0] == pytest.approx(maps[1, 3, 3], rel=1e-4)


def test_straight_through_estimators_keep_their_detach():
    class Rounded(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 3)

        def forward(self, x):
            y = self.conv(x + (x.round() - x).detach())
            return y.mean((2, 3))

    torch.manual_seed(0)
    pictures = []
    net = nl.Network(Rounded(), (1, 12, 12), False)
    found = nl.maximize(net, "conv:1", steps=12, on_step=lambda step: pictures.append(step.images))
    assert found.notes == ("",)
    assert np.abs(pictures[-1] - pictures[0]).max() > 0.1, "without it, rounding has no gradient"


class OneSize(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.fc, self.how = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * 32 * 32, 3), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "checks":
            assert x.shape[-1] == 32, "expected 32 pixels"
        elif self.how == "folds":  # 8 pictures of 16x16 become 2 of 32x32
            x = x.reshape(-1, 1, 16, 16).reshape(-1, 1, 32, 32) if x.shape[-1] == 16 else x.view(-1, 1, 32, 32)
        return self.fc(self.conv(x).flatten(1))


@pytest.mark.parametrize("how", ["checks", "folds"])
def test_a_network_of_one_size_gets_its_whole_input_and_says_so(how):
    torch.manual_seed(0)
    net = nl.Network(OneSize(how), (1, 32, 32), False)
    found = nl.maximize(net, "conv:1", steps=12)
    assert found.images.shape == (1, 1, 32, 32)
    assert "whole input" in found.remark
    assert "whole input" in found.alt_text
    assert found.notes == ("",)
    with pytest.raises(nl.LensError, match="32"):
        nl.maximize(net, "conv:1", steps=1, size=20)


class Segmenting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(F.relu(self.a(x)))


def test_classes_of_dense_answers():
    torch.manual_seed(0)
    model = Segmenting()
    net = nl.Network(model, (1, 12, 14), False, labels=["back", "cell", "edge"])
    o = nl.objectives
    mask = np.zeros((12, 14), bool)
    mask[2:5, 3:8] = True
    for goal, value in {
        o.logit("cell", at=(3, 4)): lambda s: s[1, 3, 4],
        o.logit("cell", at=mask): lambda s: s[1][mask].sum(),
        o.logit(0): lambda s: s[0][s.argmax(0) == 0].sum(),
        o.probability(2): lambda s: (np.exp(s[2]) / np.exp(s).sum(0)).mean(),
        o.probability("edge", at=mask): lambda s: (np.exp(s[2]) / np.exp(s).sum(0))[mask].mean(),
    }.items():
        found = nl.maximize(net, goal, steps=6)
        with torch.no_grad():
            scores = model(torch.from_numpy(found.images))[0].numpy()
        assert found.activations[0] == pytest.approx(value(scores), rel=1e-4)
    with torch.no_grad():
        model.out.bias += torch.tensor([0.3, 0, 0])
    pictures = []
    shy = nl.maximize(net, o.logit(2), steps=24, on_step=lambda step: pictures.append(step.images))
    assert shy.history[0, 0] == 0, "the test is about a class that wins nowhere at first"
    with torch.no_grad():
        first, last = (model(torch.from_numpy(p))[0] for p in (pictures[0], shy.images))
    assert (last[2] - last.amax(0)).mean() > (first[2] - first.amax(0)).mean() + 0.01
    assert "wins at no place" in shy.notes[0]
    assert "at (3, 4)" in repr(o.logit("cell", at=(3, 4)))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("logits", lambda s: s.softmax(0)),
        ("multilabel", lambda s: s.sigmoid()),
        ("probabilities", lambda s: s),
    ],
)
def test_a_probability_is_what_the_answer_means(kind, expected):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    net = nl.Network(model, (1, 12, 12), False, output_kind=kind)
    found = nl.maximize(net, nl.objectives.probability(1), steps=3)
    with torch.no_grad():
        assert found.activations[0] == pytest.approx(
            float(expected(model(torch.from_numpy(found.images))[0])[1]), rel=1e-4
        )


def test_values_have_no_probability():
    net = nl.Network(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), (1, 4, 4), False, output_kind="values")
    with pytest.raises(nl.LensError, match="no probability"):
        nl.maximize(net, nl.objectives.probability(1), steps=1)


class Contrast(nn.Module):
    """Brings each picture to the same contrast, for which a grey one has none."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)
        return self.conv(x).relu().mean((2, 3))


def test_networks_that_normalize_each_picture():
    net = nl.Network(Contrast(), (3, 16, 16), False)
    found = nl.maximize(net, ["conv:0", "conv:1"], steps=16)
    assert np.isfinite(found.images).all()
    assert (found.activations > found.history[0]).all()
    assert found.notes == ("", "")
    assert np.isfinite(nl.linear_maximizers(net, "conv:1").images).all()


def test_weights_that_are_no_numbers_are_named():
    model = Contrast()
    with torch.no_grad():
        model.conv.weight[0] = float("nan")
    net = nl.Network(model, (3, 16, 16), False)
    found = nl.maximize(net, ["conv:0", "conv:1"], steps=3)
    assert np.isfinite(found.images).all()
    assert "conv.weight" in found.notes[0]
    with pytest.raises(nl.LensError, match="NaN"):
        nl.linear_maximizers(net, "conv:0")


def test_statistics_of_the_batch_do_not_show():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(), nn.Conv2d(4, 5, 3)
    )
    net = nl.Network(nn.Sequential(*model, nn.AdaptiveAvgPool2d(1), nn.Flatten()), (3, 20, 20), False)
    alone = nl.maximize(net, "3:1", steps=12)
    page = nl.maximize(net, ["3:1", "3:2", "3:3"], steps=12)
    assert np.abs(alone.images[0] - page.images[0]).max() <= 1 / 255
