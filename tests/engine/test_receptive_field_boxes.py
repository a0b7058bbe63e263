"""Boxes at corners, borders and in the middle, of any graph, against the gradients of plain torch.

The networks are sums with positive weights, so that a gradient is 0 only where an input is not seen. What has no such
gradient (maxima, no_grad, out=) has a twin that has one, and sees the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

import nn_lens as nl


class Graph(nn.Module):
    """A function of an input and some modules, and a layer "last" that reads what it answers."""

    def __init__(
        self, function: Callable[..., torch.Tensor], *modules: nn.Module, last: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.function, self.parts, self.last = function, nn.ModuleList(modules), last or nn.LazyConv2d(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.function(x, *self.parts)).flatten(2).mean(2)


def conv(i: int, o: int, k: Any, *args: Any, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, *args, **options)


def positive(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """The model with positive weights in double precision, of which no gradient is 0 by chance."""
    torch.manual_seed(0)
    model = model.double().eval()
    with torch.no_grad():
        model(torch.rand(2, *shape, dtype=torch.float64))
    for weight in model.parameters():
        weight.data.uniform_(0.1, 1)
    return model


def true_boxes(model: nn.Module, shape: tuple[int, ...], dims: tuple[int, ...], layer: str = "last") -> dict[Any, Any]:
    """By place, the box of the gradients of all channels there, all starts and then all stops."""
    kept: dict[str, torch.Tensor] = {}
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _i, o: kept.update(y=o))
    x = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
    model(x)
    handle.remove()
    sums = kept["y"][0].sum(0 if dims[0] else 1)
    boxes = {}
    lines = [[min(max(i, 0), n - 1) for i in (0, 1, n // 2, n - 2, n - 1)] for n in sums.shape]
    crossing = [lines[0], *(line[::-1] for line in lines[1:])]
    for place in dict.fromkeys((*zip(*lines, strict=True), *zip(*crossing, strict=True))):
        (gradient,) = torch.autograd.grad(sums[place], x, retain_graph=True)
        seen = [gradient[0].abs().movedim(d, 0).flatten(1).amax(1).gt(1e-13).nonzero().flatten().tolist() for d in dims]
        boxes[place] = (*(s[0] if s else 0 for s in seen), *(s[-1] + 1 if s else 0 for s in seen))
    return boxes


def check(model: nn.Module, shape: tuple[int, ...], twin: nn.Module | None = None, kind: str | None = None) -> Any:
    dims = (0,) if kind == "sequence" else tuple(range(1, len(shape)))
    model = positive(model, shape)
    expected = true_boxes(model if twin is None else positive(twin, shape), shape, dims)
    field = nl.receptive_field(nl.Network(model, shape, False, kind=kind), "last")
    found = {place: field.box(*place) for place in expected}
    assert found == expected
    return field


SHAPE = (2, 17, 14)


def resized(**options: Any) -> Graph:
    return Graph(
        lambda x, a, b: b(F.interpolate(a(x), **options)), conv(2, 2, 3, stride=2, padding=1), conv(2, 2, 3, padding=1)
    )


def transposed(*args: Any, **options: Any) -> Graph:
    return Graph(lambda x, a, b: b(a(x)), conv(2, 4, 3, stride=2), nn.ConvTranspose2d(4, 6, *args, groups=2, **options))


def padded(mode: str) -> Graph:
    return Graph(
        lambda x, a, b: b(a(x)),
        conv(2, 3, 5, padding=2, padding_mode=mode), conv(3, 3, 3, stride=2, padding=(1, 2), padding_mode=mode),
    )  # fmt: skip


def wide(function: Callable[..., torch.Tensor], *more: nn.Module) -> Graph:
    """Of a convolution that sees one place and one that sees five."""
    return Graph(function, conv(2, 4, 1), conv(2, 4, 5, padding=2), *more)


def narrow(function: Callable[..., torch.Tensor], *more: nn.Module) -> Graph:
    return Graph(function, conv(2, 4, 3, padding=1), *more)


def _set_part(x: torch.Tensor, a: nn.Module, b: nn.Module) -> torch.Tensor:
    y = a(x).clone()
    y[:, :2, 3:9] = b(x)[:, :2, 3:9]
    return y


def _set_parts_of_zeros(x: torch.Tensor, a: nn.Module, b: nn.Module) -> torch.Tensor:
    y = x.new_zeros(len(x), 4, *x.shape[2:])
    y[:, :2, 2:] = a(x)[:, :2, 2:]
    y[:, 2:, :, :5] = b(x)[:, 2:, :, :5]
    return y


def _write_on_views_of_zeros(x: torch.Tensor, a: nn.Module, b: nn.Module) -> torch.Tensor:
    y = torch.zeros(len(x), 4, *x.shape[2:], dtype=x.dtype)
    part = y[:, 1:3]
    part.copy_(a(x)[:, 1:3])
    y[:, 2] += b(x)[:, 2]
    y[:, :, 0].zero_()
    return y


def _write_on_views(x: torch.Tensor, a: nn.Module, b: nn.Module) -> torch.Tensor:
    y = a(x)
    first, rest = y[:, :2], y[:, 2:]
    first.add_(b(x)[:, :2])
    rest[:, :, 3:6].mul_(2).sub_(b(x)[:, 2:, :3])
    return y


def _write_on_views_of_views(x: torch.Tensor, a: nn.Module, b: nn.Module) -> torch.Tensor:
    y = a(x).clone()
    part = y.view(len(y), 2, 2, *y.shape[2:])[:, 1]
    part[..., 0] += b(x)[:, :2, :, 3]
    y.flatten(2)[..., 5] = 0
    return y


def _add_as_a_statement(x: torch.Tensor, a: nn.Module, b: nn.Module) -> torch.Tensor:
    y = a(x)
    y.add_(b(x))
    return y


def _split_channels(x: torch.Tensor, a: nn.Module, b: nn.Module) -> torch.Tensor:
    y = torch.cat([a(x), b(x)], 1)
    n, c, h, w = y.shape
    return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)[:, :1]


def _in_windows(x: torch.Tensor, a: nn.Module, mix: nn.Module) -> torch.Tensor:
    """Windows of 4x4 places, all of which read all of their own."""
    y = a(x)[:, :, :16, :12]
    n, c = y.shape[:2]
    tokens = y.view(n, c, 4, 4, 3, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
    tokens = mix(tokens.transpose(1, 2)).transpose(1, 2)
    return tokens.view(n, 4, 3, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, 16, 12)


THETA = torch.tensor([[[0.7, 0.3, 0.1], [-0.2, 0.9, 0.05]]], dtype=torch.float64)
ROWS = torch.zeros(17, 14, dtype=torch.bool)
ROWS[3:9] = True

GRAPHS: dict[str, Callable[[], nn.Module]] = {
    **{f"resized by {s}, {o}": lambda s=s, o=o: resized(scale_factor=s, **o) for s in (2, 1.5, 0.4) for o in (
        {"mode": "nearest"}, {"mode": "nearest-exact"}, {"mode": "bilinear"}, {"mode": "bicubic"}, {"mode": "area"},
        {"mode": "bilinear", "align_corners": True}, {"mode": "bilinear", "antialias": True})},
    "resized to a size": lambda: resized(size=(11, 23), mode="bilinear"),
    "nearest to a size": lambda: resized(size=(11, 23)),
    "resized, scale anew": lambda: resized(scale_factor=1.7, recompute_scale_factor=True, mode="bicubic"),
    **{f"transposed {a}": lambda a=a: transposed(*a) for a in ((2, 2), (4, 2, 1), (3, 2, 1, 1), (2, 3), (5, 1, 2))},
    "transposed, dilated": lambda: transposed(3, 3, dilation=2),
    "transposed, oblong": lambda: transposed((2, 3), (2, 1), (0, 1), dilation=(1, 3)),
    "pixel shuffle": lambda: Graph(lambda x, a, b: b(F.pixel_shuffle(a(x), 2)), conv(2, 8, 3, stride=2), conv(2, 2, 3)),
    "pixel unshuffle": lambda: Graph(
        lambda x, a, b: b(F.pixel_unshuffle(a(x)[:, :, :16], 2)), conv(2, 2, 3, padding=1), conv(8, 2, 3)),
    "mean of windows, one more": lambda: narrow(lambda x, a: F.avg_pool2d(a(x), 3, 2, 1, ceil_mode=True)),
    "mean of oblong windows": lambda: narrow(lambda x, a: F.avg_pool2d(a(x), (2, 3), (3, 2), ceil_mode=True)),
    "powers of windows": lambda: narrow(lambda x, a: F.lp_pool2d(a(x), 2, 3, 2)),
    "adaptive": lambda: narrow(lambda x, a: F.adaptive_avg_pool2d(a(x), (5, 6))),
    "adaptive, one row": lambda: narrow(lambda x, a: F.adaptive_avg_pool2d(a(x), (1, 6))),
    **{f"padded, {m}": lambda m=m: padded(m) for m in ("reflect", "circular", "replicate")},
    "padded on one side": lambda: Graph(lambda x, a: a(F.pad(x, (0, 1, 2, 0))), conv(2, 3, 3, stride=2)),
    "cropped by padding": lambda: Graph(lambda x, a: a(F.pad(x, (-2, 1, 2, -3))), conv(2, 3, 3, stride=2)),
    "padding larger than the kernel": lambda: Graph(
        lambda x, a, b: b(a(x)), conv(2, 3, 2, padding=3, stride=2), conv(3, 2, 3, padding=1)),
    "same, dilated": lambda: Graph(
        lambda x, a, b: b(a(x)), conv(2, 3, 5, padding="same"), conv(3, 3, 3, dilation=(2, 3), padding="same")),
    "rolled": lambda: narrow(lambda x, a: a(torch.roll(x, (3, -2), (2, 3)))),
    "flipped": lambda: narrow(lambda x, a: a(x.flip(2)) + a(x).flip(3)),
    "turned": lambda: Graph(lambda x, a: a(x.transpose(2, 3)), conv(2, 3, (3, 5))),
    "turned and added": lambda: narrow(lambda x, a: (y := a(x)[:, :, :13, :13]) + y.transpose(2, 3)),
    "cropped": lambda: narrow(lambda x, a, b: b(a(x)[:, :, 2:-3, 1:]), conv(4, 2, 3, stride=2)),
    "sliced in steps": lambda: narrow(lambda x, a, b: b(a(x)[:, :, ::2, 1::3]), conv(4, 2, 3)),
    "picked places": lambda: narrow(lambda x, a, b: b(a(x)[:, [0, 2, 1]][:, :, [3, 1, 5, 9, 2]]), conv(3, 2, 3)),
    "added as a statement": lambda: wide(_add_as_a_statement),
    "set": lambda: wide(_set_part),
    "set in zeros": lambda: wide(_set_parts_of_zeros),
    "written on views of zeros": lambda: wide(_write_on_views_of_zeros),
    "written on views": lambda: wide(_write_on_views),
    "written on views of views": lambda: wide(_write_on_views_of_views),
    "difference": lambda: wide(lambda x, a, b: a(x) - 0.5 * b(x)),
    "where": lambda: wide(lambda x, a, b: torch.where(ROWS, a(x), b(x))),
    "masked": lambda: wide(lambda x, a, b: a(x) + b(x).masked_fill(ROWS, 0.0)),
    "cumulated": lambda: narrow(lambda x, a: a(x).cumsum(2)),
    "sampled on a grid": lambda: narrow(lambda x, a: F.grid_sample(
        a(x), F.affine_grid(THETA.expand(len(x), 2, 3), [len(x), 4, 9, 8], align_corners=False), align_corners=False)),
    "global branch": lambda: narrow(lambda x, a: a(x) * a(x).mean((2, 3), keepdim=True)),
    "einsum": lambda: narrow(lambda x, a: torch.einsum("nchw,dc->ndhw", a(x), torch.ones(3, 4, dtype=x.dtype))),
    "over rows": lambda: narrow(lambda x, a, b: b(a(x)), nn.Linear(14, 14)),
    "channels last": lambda: narrow(lambda x, a, b: b(a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.Linear(4, 3)),
    "unfolded": lambda: narrow(lambda x, a: F.unfold(a(x), 3, padding=1, stride=2).unflatten(2, (9, 7))),
    "folded": lambda: narrow(lambda x, a: F.fold(F.unfold(a(x), 3, padding=1), (17, 14), 3, padding=1)),
    "windows as a dimension": lambda: narrow(lambda x, a: a(x).unfold(2, 3, 2).sum(-1)),
    "channel by channel": lambda: wide(
        lambda x, a, b, c: c(torch.cat([a(x), b(x)], 1))[:, :4], conv(8, 8, 3, groups=8, padding=1)),
    "channels shuffled": lambda: wide(_split_channels),
    "windows of attention": lambda: narrow(_in_windows, nn.Linear(16, 16)),
    "scripted": lambda: narrow(lambda x, a, b: b(a(x)), torch.jit.trace(conv(4, 2, 3, stride=2), torch.rand(1, 4, 9, 9))),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_boxes(name):
    check(GRAPHS[name](), SHAPE)


class UNet(nn.Module):
    """Two levels; what comes up is padded to what it joins."""

    def __init__(self, up: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.down = nn.ModuleList([conv(i, 4, 3, padding=1) for i in (2, 4, 4)])
        self.up = nn.ModuleList([up(), up()])
        self.joins = nn.ModuleList([conv(8, 4, 3, padding=1), conv(8, 4, 3, padding=1)])
        self.last = conv(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = [self.down[0](x)]
        for layer in list(self.down)[1:]:
            levels.append(layer(F.avg_pool2d(levels[-1], 2)))
        y = levels.pop()
        for up, join in zip(self.up, self.joins, strict=True):
            y, side = up(y), levels.pop()
            dy, dx = side.shape[2] - y.shape[2], side.shape[3] - y.shape[3]
            y = join(torch.cat([F.pad(y, (dx // 2, dx - dx // 2, dy // 2, dy - dy // 2)), side], 1))
        return self.last(y).mean((2, 3))


UPS: dict[str, Callable[[], nn.Module]] = {
    "transposed": lambda: nn.ConvTranspose2d(4, 4, 2, 2),
    "nearest": lambda: nn.Upsample(scale_factor=2),
    "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
}


@pytest.mark.parametrize("up", UPS)
def test_unets_of_odd_sizes(up):
    check(UNet(UPS[up]), (2, 23, 18))


def test_pyramids_of_odd_sizes():
    def joined(x, one, two, three):
        a = one(x)
        b = two(a)
        c = three(b)
        b = b + F.interpolate(c, size=b.shape[-2:])
        return a + F.interpolate(b, size=a.shape[-2:])

    check(Graph(joined, conv(2, 4, 3, 2, 1), conv(4, 4, 3, 2, 1), conv(4, 4, 3, 2, 1)), (2, 37, 26))


# ---- what plain torch has no gradient of, with a twin that sees the same ----


def _unpooled(x: torch.Tensor, a: nn.Module) -> torch.Tensor:
    y, places = F.max_pool2d(a(x), 2, return_indices=True)
    return F.max_unpool2d(y, places, 2)


def _out(x: torch.Tensor, a: nn.Module, b: nn.Module) -> torch.Tensor:
    y = torch.empty_like(a(x))
    torch.add(a(x), b(x), out=y)
    return y


def _without(context: Callable[[], Any]) -> Callable[..., torch.Tensor]:
    def call(x: torch.Tensor, a: nn.Module, b: nn.Module) -> torch.Tensor:
        with context():
            y = b(a(x))
        return y.clone()

    return call


def _normal(x: torch.Tensor, a: nn.Module, b: nn.Module) -> torch.Tensor:
    return b(a(x))  # type: ignore[no-any-return]


def _masked(x: torch.Tensor, a: nn.Module, b: nn.Module) -> torch.Tensor:
    y = a(x)
    y[y < 0] = 0
    return torch.where(y > 1, y, b(x))


TWINS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "unpooled": (
        lambda: Graph(_unpooled, conv(2, 2, 3), last=conv(2, 2, 3)),
        lambda: Graph(
            lambda x, a: F.interpolate(F.avg_pool2d(a(x), 2), scale_factor=2), conv(2, 2, 3), last=conv(2, 2, 3)
        ),
    ),
    "largest of windows": (
        lambda: narrow(lambda x, a: F.max_pool2d(a(x), 3, 2, 1, ceil_mode=True)),
        lambda: narrow(lambda x, a: F.avg_pool2d(a(x), 3, 2, 1, ceil_mode=True)),
    ),
    "largest, adaptive": (
        lambda: narrow(lambda x, a: F.adaptive_max_pool2d(a(x), (5, 6))),
        lambda: narrow(lambda x, a: F.adaptive_avg_pool2d(a(x), (5, 6))),
    ),
    "out=": (lambda: wide(_out), lambda: wide(lambda x, a, b: a(x) + b(x))),
    "masked by itself": (lambda: wide(_masked), lambda: wide(lambda x, a, b: a(x) + b(x))),
    **{
        name: (
            lambda context=context: Graph(_without(context), conv(2, 3, 3, stride=2), conv(3, 3, 3, padding=1)),
            lambda: Graph(_normal, conv(2, 3, 3, stride=2), conv(3, 3, 3, padding=1)),
        )
        for name, context in (("no_grad", torch.no_grad), ("inference_mode", torch.inference_mode))
    },
    "detached": (
        lambda: Graph(lambda x, a, b: b(a(x).detach()), conv(2, 3, 3, stride=2), conv(3, 3, 3, padding=1)),
        lambda: Graph(_normal, conv(2, 3, 3, stride=2), conv(3, 3, 3, padding=1)),
    ),
    "rectified and normalized": (
        lambda: Graph(
            lambda x, a, n, b: b(F.elu_(F.relu(n(a(x))))), conv(2, 3, 3, stride=2), nn.BatchNorm2d(3),
            conv(3, 3, 3, padding=1),
        ),
        lambda: Graph(_normal, conv(2, 3, 3, stride=2), conv(3, 3, 3, padding=1)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_boxes_of_what_has_no_gradient(name):
    model, twin = TWINS[name]
    check(model(), SHAPE, twin())


# ---- signals, volumes and sequences ----


def test_signals():
    def signal(x, *layers):
        a, b, up = layers
        y = F.interpolate(up(F.avg_pool1d(b(a(x)), 2, padding=1)), scale_factor=2, mode="linear")
        return F.lp_pool1d(y, 2, 3)

    layers = nn.Conv1d(2, 4, 5, 2), nn.Conv1d(4, 4, 3, dilation=3, padding=2), nn.ConvTranspose1d(4, 2, 4, 3, 1)
    field = check(Graph(signal, *layers, last=nn.Conv1d(2, 2, 1)), (2, 97))
    assert (len(field.size), field.input_size) == (1, (97,))
    assert field.stride == (2 * 2 / 3 / 2 * 3,)


def test_signals_unpooled():
    def unpooled(x, a):
        y, places = F.max_pool1d(a(x), 3, return_indices=True)
        return F.max_unpool1d(y, places, 3)

    twin = Graph(
        lambda x, a: F.interpolate(F.avg_pool1d(a(x), 3), scale_factor=3), nn.Conv1d(2, 2, 3), last=nn.Conv1d(2, 2, 3)
    )
    check(Graph(unpooled, nn.Conv1d(2, 2, 3), last=nn.Conv1d(2, 2, 3)), (2, 41), twin)


def test_volumes():
    layers = nn.Conv3d(1, 2, 3, (1, 2, 1), 1), nn.Conv3d(2, 2, 3, dilation=(1, 1, 2)), nn.ConvTranspose3d(2, 2, 2, 2)

    def volume(x, a, b, up):
        return F.interpolate(up(F.avg_pool3d(b(a(x)), 2)), scale_factor=(1, 2, 1.5), mode="trilinear")

    field = check(Graph(volume, *layers, last=nn.Conv3d(2, 2, 1)), (1, 9, 13, 12))
    assert field.input_size == (9, 13, 12)
    assert len(field.box(0, 0, 0)) == 6


STEPS = torch.ones(9, 9, dtype=torch.bool).tril(1)  # none reads further than to the next one
SEQUENCES: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: Graph(lambda x, a: a(x)[0], nn.LSTM(3, 4, batch_first=True), last=nn.Linear(4, 2)),
    "both ways": lambda: Graph(
        lambda x, a, b: b(a(x)[0])[0],
        nn.GRU(3, 4, 2, batch_first=True, bidirectional=True), nn.RNN(8, 4, batch_first=True), last=nn.Linear(4, 2),
    ),
    "steps first": lambda: Graph(
        lambda x, a: a(x.transpose(0, 1))[0].transpose(0, 1), nn.GRU(3, 4), last=nn.Linear(4, 2)
    ),
    "a batch for steps": lambda: Graph(lambda x, a: a(x)[0], nn.GRU(3, 4), last=nn.Linear(4, 2)),
    "convolution of steps": lambda: Graph(
        lambda x, a: a(x.transpose(1, 2)).transpose(1, 2), nn.Conv1d(3, 4, 3, padding=1), last=nn.Linear(4, 2)
    ),
    "attention": lambda: Graph(
        lambda x, a: a(x, x, x)[0], nn.MultiheadAttention(3, 1, batch_first=True), last=nn.Linear(3, 2)
    ),
    "causal attention": lambda: Graph(
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), last=nn.Linear(3, 2)
    ),
    "masked attention": lambda: Graph(
        lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=STEPS), last=nn.Linear(3, 2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences(name):
    check(SEQUENCES[name](), (9, 3), kind="sequence")


def test_a_recurrent_layer_sees_all_up_to_a_step():
    net = nl.Network(SEQUENCES["lstm"](), (9, 3), False)
    field = nl.receptive_field(net, "last")
    assert [field.box(t) for t in (0, 4, 8)] == [(0, 1), (0, 5), (0, 9)]
    assert (field.size, field.stride, field.whole) == ((9,), (0,), True)


class Columns(nn.Module):
    """A picture whose columns become the steps of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(1, 4, 3, padding=1), conv(4, 4, (16, 3), padding=(0, 1))
        self.steps, self.out = nn.Linear(4, 6), nn.LSTM(6, 5, batch_first=True, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.b(F.max_pool2d(self.a(x), 2)).squeeze(2).transpose(1, 2)
        return self.out(self.steps(y))[0].mean(1)


def test_columns_of_a_picture():
    net = nl.Network(Columns(), (1, 32, 64), False)
    field = nl.receptive_field(net, "steps")
    # Columns: kernel 3, steps of 2, kernel 3 over steps of 2: 3 + 1 + 4 of them, in steps of 2. Rows: all of them.
    place = (0,) * (len(net["steps"].layout.grid) - 1) + (16,)
    assert field.box(*place) == (0, 2 * 16 - 3, 32, 2 * 16 + 5)
    assert (field.size, field.stride) == ((32, 8), (0, 2))
    assert nl.receptive_field(net, "out").whole


# ---- random ones ----

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


class Block(nn.Module):
    """A layer, alone or beside its input, cut to the smaller of both, added or side by side."""

    def __init__(self, layer: nn.Module, join: str) -> None:
        super().__init__()
        self.layer, self.join = layer, join

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        if self.join == "alone":
            return y
        part = (slice(None), slice(None), *(slice(min(a, b)) for a, b in zip(x.shape[2:], y.shape[2:], strict=True)))
        if self.join == "added":
            return x[part] + y[part]
        return torch.cat([x[part], y[part]], 1)[:, ::2]


@st.composite
def networks(draw: Any) -> tuple[nn.Module, tuple[int, ...]]:
    """A network of random layers of two channels, and the shape of its input."""
    n = draw(st.integers(1, 3))
    sides = [draw(st.integers(5, {1: 40, 2: 16, 3: 8}[n])) for _ in range(n)]

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    def layer() -> nn.Module:
        kind = draw(st.sampled_from(["conv", "conv", "pool", "transposed", "upsample", "linear"]))
        if kind == "conv":
            padding = each(0, 2)
            mode = draw(st.sampled_from(["zeros", "zeros", "replicate", "circular"]))
            return CONVS[n](2, 2, each(1, 4), each(1, 3), padding, each(1, 2), padding_mode=mode)
        if kind == "pool":
            return POOLS[n](each(2, 3), each(1, 3), each(0, 1), draw(st.booleans()))
        if kind == "transposed":
            stride = each(1, 3)
            more = tuple(draw(st.integers(0, s - 1)) for s in stride)
            return TRANSPOSED[n](2, 2, each(1, 4), stride, each(0, 1), more, dilation=each(1, 2))
        if kind == "upsample":
            return nn.Upsample(scale_factor=draw(st.sampled_from([2.0, 1.5, 3.0])))
        mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[n]
        return nn.Upsample(tuple(draw(st.integers(2, 9)) for _ in range(n)), mode=mode)

    blocks = [
        Block(layer(), draw(st.sampled_from(["alone", "added", "beside"]))) for _ in range(draw(st.integers(1, 4)))
    ]
    return Graph(nn.Sequential(*blocks), last=CONVS[n](2, 2, 1)), (2, *sides)


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(networks())
def test_boxes_of_random_networks(case):
    model, shape = case
    try:
        answer = positive(model, shape)(torch.rand(1, *shape, dtype=torch.float64))
    except (RuntimeError, ValueError):  # a window larger than what is left
        assume(False)
    assume(math.isfinite(float(answer.detach().sum())))
    check(model, shape, kind={2: "signal", 3: "picture", 4: "volume"}[len(shape)])


# ---- what is made of boxes ----


def field_of(layer: nn.Module, shape: tuple[int, ...]) -> Any:
    return nl.receptive_field(nl.Network(Graph(lambda x: x, last=layer), shape, False), "last")


def test_steps_behind_upsampling():
    # Twice as many neurons; two neighbours see the same place, then the next.
    field = field_of(nn.Upsample(scale_factor=2), (1, 20, 24))
    assert (field.size, field.stride, field.offset) == ((1, 1), (0.5, 0.5), (0, 0))
    assert [field.box(i, 5) for i in (8, 9, 10)] == [(4, 2, 5, 3), (4, 2, 5, 3), (5, 2, 6, 3)]
    assert field.along(0) == ([i // 2 for i in range(40)], [i // 2 + 1 for i in range(40)])


def test_places_that_are_not_there():
    field = field_of(conv(1, 2, 3), (1, 20, 24))
    assert field.box(row=17, column=2) == (17, 2, 20, 5)
    for place in ((18, 2), (-1, 2), (3,)):
        with pytest.raises(nl.LensError, match="the layer's grid is 18x22"):
            field.box(*place)


def test_cuts_of_signals_and_volumes():
    signal = torch.arange(12.0)[None]
    field = field_of(nn.Conv1d(1, 2, 5, padding=2), (1, 12))
    assert field.cut(signal, (6,), (1, 5)).tolist() == [[4, 5, 6, 7, 8]]
    assert field.cut(signal, (0,), (1, 5)).tolist() == [[2, 1, 0, 1, 2]], "mirrored beyond the border"
    volume = torch.arange(8 * 9 * 10.0).reshape(1, 8, 9, 10)
    field = field_of(nn.Conv3d(1, 2, 3), (1, 8, 9, 10))
    assert torch.equal(field.cut(volume, (1, 2, 3), (1, 3, 3, 3)), volume[:, 1:4, 2:5, 3:6])


def test_cuts_of_sequences():
    steps = torch.arange(24.0).reshape(8, 3)
    layer = nl.Network(SEQUENCES["convolution of steps"](), (8, 3), False, kind="sequence")
    assert torch.equal(nl.receptive_field(layer, "last").cut(steps, (4,), (3, 3)), steps[3:6])


@pytest.mark.parametrize(
    ("layer", "shape", "title"),
    [
        (nn.Conv1d(1, 2, 5), (1, 30), "neuron (13) sees 5 places"),
        (nn.Conv2d(1, 2, (3, 5)), (1, 30, 30), "neuron (14, 13) sees 3x5 pixels"),
        (nn.Conv3d(1, 2, 3), (1, 8, 9, 10), "neuron (3, 3, 4) sees 3x3x3 voxels, slices 3 to 5"),
    ],
)
def test_figures(layer, shape, title):
    (axes,) = field_of(layer, shape).figure().axes
    assert axes.get_title() == title
    (box,) = axes.patches
    assert (box.get_x(), box.get_width()) == ({2: 13, 3: 13, 4: 4}[len(shape)], {2: 5, 3: 5, 4: 3}[len(shape)])


def test_the_shadow_is_not_left_in_the_model():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.kept = conv(1, 2, 3), None
            self.register_buffer("sums", torch.zeros(1, 2, 6, 6))

        def forward(self, x):
            y = self.last(x)
            self.kept = y
            self.sums[:] = y.mean(0, keepdim=True)
            return y.mean((2, 3))

    model = Keeps()
    net = nl.Network(model, (1, 8, 8), False)
    assert nl.receptive_field(net, "last").size == (3, 3)
    assert model.kept is None
    assert torch.equal(model.sums, torch.zeros(1, 2, 6, 6))
