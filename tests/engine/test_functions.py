"""What each watcher of a forward pass makes of a function, by hand: fields, exactness, what feeds a unit, what lives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nn_lens as nl
from nn_lens.engine.maximizing.rectifiers import LastRectifiers
from nn_lens.engine.network.functions import kind_of, tensors


class Between(nn.Module):
    """Two convolutions with a function between them."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function
        self.first, self.second, self.last = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.second(self.function(self.first(x)))).mean((2, 3))


# Each is flat where the values of the shadow pass lie, or cancels all channels that are alike.
BETWEEN = {
    "clamp_min": lambda x: x.clamp_min(50),
    "clamp_min, named": lambda x: torch.clamp_min(input=x, min=50),
    "clamp_min_": lambda x: x.clamp_min_(50),
    "clamp_max": lambda x: x.clamp_max(-50),
    "clip_": lambda x: x.clip_(50, 60),
    "threshold_": lambda x: F.threshold_(x, 50.0, 0.0),
    "hardshrink": lambda x: F.hardshrink(x, 50.0),
    "softshrink": lambda x: F.softshrink(x, 50.0),
    "rrelu_": lambda x: F.rrelu_(x, 0.1, 0.1),
    "log_sigmoid": F.logsigmoid,
}


@pytest.mark.parametrize("name", BETWEEN)
def test_functions_of_single_elements_do_not_change_the_field(name):
    net = nl.Network(Between(BETWEEN[name]), (1, 15, 17), False)
    field = nl.receptive_field(net, "second")
    assert (field.size, field.stride, field.offset) == ((5, 5), (1, 1), (0, 0))


def test_norms_over_channels_do_not_change_the_field():
    def normed(x):
        return F.rms_norm(x.movedim(1, 3), (2,)).movedim(3, 1)

    field = nl.receptive_field(nl.Network(Between(normed), (1, 15, 17), False), "second")
    assert (field.size, field.stride, field.offset) == ((5, 5), (1, 1), (0, 0))


def test_pooling_that_gives_its_places_too():
    def pooled(x):
        return F.max_pool2d(x, 2, return_indices=True)[0]

    net = nl.Network(Between(pooled), (1, 24, 26), False)
    field = nl.receptive_field(net, "second")
    # Kernel 3, then windows of 2, then kernel 3 over steps of 2: 3 + 1 + 4.
    assert (field.size, field.stride, field.offset) == ((8, 8), (2, 2), (0, 0))
    assert not nl.linear_maximizers(net, "second:1").exact[0]


def test_dilated_pooling_is_linearized_too():
    net = nl.Network(Between(nn.MaxPool2d(2, stride=1, dilation=3)), (1, 15, 17), False)
    found = nl.linear_maximizers(net, "second:1")
    first, second = (m.weight.detach().double().numpy() for m in (net.model.first, net.model.second))
    # By hand: the kernels' products, at the four places of each window with a quarter each.
    expected = np.zeros((8, 8))
    for k in range(2):
        for y, x in np.ndindex(3, 3):
            for dy, dx in np.ndindex(2, 2):
                top, left = y + 3 * dy, x + 3 * dx
                expected[top : top + 3, left : left + 3] += second[1, k, y, x] / 4 * first[k, 0]
    rows, columns = np.nonzero(found.weights[0, 0])
    window = found.weights[0, 0, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    np.testing.assert_allclose(window, expected, atol=1e-6)


class Behind(nn.Module):
    """A function of the rectified answers of one convolution of single pixels, that are 0 up to 0.8."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function
        self.conv, self.last = nn.Conv2d(1, 1, 1), nn.Identity()
        with torch.no_grad():
            self.conv.weight.fill_(1)
            self.conv.bias.fill_(-0.8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.function(F.relu(self.conv(x))))


# Within a ball of .5 around grey, four pixels at .75 are what the linear part asks for, and give 0;
# one pixel at 1 gives .2, a quarter of which is more: a mean of rectified answers is not linear.
@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.avg_pool2d(x, 2),
        lambda x: x.mean((2, 3), keepdim=True),
        lambda x: x.flatten(1) @ torch.full((4, 4), 0.25),
        lambda x: -x,
    ],
    ids=["avg_pool", "mean", "product", "negative"],
)
def test_what_acts_on_rectified_answers_is_not_exact(function):
    net = nl.Network(Behind(function), (1, 2, 2), False)
    assert not nl.linear_maximizers(net, "last:0", radius=0.5).exact[0]


def test_what_only_moves_rectified_answers_is_exact():
    net = nl.Network(Behind(lambda x: F.dropout(x, training=False).flatten(1).float()), (1, 2, 2), False)
    assert nl.linear_maximizers(net, "last:2", radius=0.5).exact[0]


@pytest.mark.parametrize("name", ["clamp_max", "rrelu_", "log_sigmoid", "softshrink"])
def test_what_feeds_a_unit_is_seen_through_functions_of_single_elements(name):
    net = nl.Network(Between(BETWEEN[name]), (1, 15, 17), False)
    with torch.no_grad():
        net.model.second.weight[0, 0], net.model.second.weight[0, 1] = 0.5, -2.0
    found = list(nl.incoming(net, "second:0"))
    # Nine equal weights each, added up.
    assert [str(unit) for unit, _ in found] == ["first:1", "first:0"]
    assert [weight for _, weight in found] == pytest.approx([-18.0, 4.5])


PASSED = {
    "mean": lambda y: y.mean((2, 3)),
    "amax": lambda y: y.amax((2, 3)),
    "sum": lambda y: y.sum((2, 3)),
    "cast": lambda y: y.double(),
    "stack": lambda y: torch.stack([y, y]),
    "named": lambda y: torch.cat(tensors=[y, y], dim=1),
    "shuffle": lambda y: F.pixel_shuffle(y, 2),
    "upsample": lambda y: F.interpolate(y, scale_factor=2),
    "max_pool": lambda y: F.max_pool2d(y, 2, return_indices=True)[0],
    "select": lambda y: y.select(1, 0),
}
RECTIFIERS = {
    "clamp_max": lambda x: x.clamp_max(0),
    "clip_": lambda x: x.clip_(0, 1),
    "threshold_": lambda x: F.threshold_(x, 0.0, 0.0),
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
}


@pytest.mark.parametrize("name", PASSED)
def test_the_last_rectifier_is_seen_behind(name):
    with LastRectifiers() as noted:
        y = F.relu(torch.ones(1, 4, 4, 4))
        assert noted.behind(PASSED[name](y)) == {0}
        assert noted.behind(PASSED[name](y + 1)) == frozenset()


@pytest.mark.parametrize("name", RECTIFIERS)
def test_what_is_flat_somewhere_is_a_rectifier(name):
    with LastRectifiers() as noted:
        assert noted.behind(RECTIFIERS[name](torch.ones(1, 4, 4, 4))) == {0}


@pytest.mark.parametrize("function", ["clamp_max", "minimum"])
def test_rules_for_rectifiers_refuse_other_nonlinear_functions(function):
    with_zero = {"clamp_max": lambda x: x.clamp_max(0), "minimum": lambda x: torch.minimum(x, torch.zeros(()))}
    net = nl.Network(Between(with_zero[function]), (1, 15, 17), False)
    with pytest.raises(nl.LensError, match=function):
        nl.attribute(net, torch.rand(1, 15, 17), 1, "guided_backprop")


def test_each_function_has_one_kind():
    kinds = ["relu", "gelu", "maximum", "dropout2d", "half", "batch_norm", "layer_norm", "lp_pool2d", "interpolate"]
    assert [kind_of(name) for name in kinds] == [
        "rectifier", "saturating", "gate", "dropout", "cast", "batch_norm", "norm", "pool", "resize",
    ]  # fmt: skip
    assert kind_of(torch.fft.fft2) == "other"
    assert kind_of(F.relu) == "rectifier"


def test_tensors_are_found_in_order():
    a, b, c = (torch.tensor(i) for i in range(3))
    assert [int(t) for t in tensors(([a, (b, 1)], {"x": c, "y": "text"}))] == [0, 1, 2]
