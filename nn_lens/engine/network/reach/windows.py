"""Marks of what slides a window: convolutions, pooling, upsampling and their transposes, one axis at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, reduce
from typing import Any

import torch
import torch.nn.functional as F

from nn_lens.engine.network.arrays import widest
from nn_lens.engine.network.reach.call import Call, Chosen
from nn_lens.engine.network.reach.marks import Marks, join

_SMALL = 1e-9  # weights of an interpolation that are 0 but for rounding

_APART = 16  # teeth of a comb, for each element that an interpolation goes on by
_FEW = 16  # elements of a window that are compared one by one

Slide = Callable[[torch.Tensor], torch.Tensor]


def convolution(call: Call) -> Marks:
    """A convolution or its transpose, dilated, strided or in groups."""
    x: Marks = call.a["input"]
    weight, groups, transposed = call.a["weight"], int(call.a["groups"]), call.a["transposed"]
    if not isinstance(x, Marks):
        x = Marks.none(x.shape, weight.core)
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    x = _mixed(x, groups, channels)
    numbers = zip(
        *(_each(call.a[k], len(weight.shape) - 2) for k in ("stride", "padding", "dilation", "output_padding")),
        strict=True,
    )
    for i, ((stride, padding, dilation, more), size) in enumerate(zip(numbers, weight.shape[2:], strict=True)):
        if transposed:
            m = (x.shape[2 + i] - 1) * stride + dilation * (size - 1) + 1 - 2 * padding + more
            slide = scattered(size, stride, padding, dilation, m)
        elif (size, stride, padding) == (1, 1, 0):
            continue
        else:
            slide = gathered(size, stride, padding, dilation)
        x = x.along(2 + i, slide)
    return join([x.tidy(), weight.most()]) if isinstance(weight, Marks) else x.tidy()


def _mixed(x: Marks, groups: int, channels: int) -> Marks:
    """The marks of `channels` outputs, each of all inputs of its group."""
    shape = (x.shape[0], channels, *x.shape[2:])
    if groups == 1 or x.core.shape[1] == 1:
        return Marks(x.core.amax(1, keepdim=True), shape)
    each = x.core.unflatten(1, (groups, -1)).amax(2)
    return Marks(each.repeat_interleave(channels // groups, 1), shape)


def gathered(size: int, stride: int, padding: int, dilation: int, ceil: bool = False) -> Slide:
    """Windows of a convolution or, with `ceil`, of a pooling that begins a last window wherever there is some input."""

    def slide(x: torch.Tensor) -> torch.Tensor:
        steps, more = divmod(x.shape[2] + 2 * padding - dilation * (size - 1) - 1, stride)
        m = steps + 1
        if ceil and more and m * stride < x.shape[2] + padding:
            m += 1
        return _largest(x, size, stride, padding, dilation, m)

    return slide


def scattered(size: int, stride: int, padding: int, dilation: int, m: int) -> Slide:
    """The transpose of a convolution along one axis: `m` elements, each of all whose windows it lies in."""

    def slide(x: torch.Tensor) -> torch.Tensor:
        apart = x.new_zeros(x.shape[0], 1, (x.shape[2] - 1) * stride + 1)
        apart[..., ::stride] = x
        return _largest(apart, size, 1, dilation * (size - 1) - padding, dilation, m)

    return slide


def _largest(x: torch.Tensor, size: int, stride: int, padding: int, dilation: int, m: int) -> torch.Tensor:
    """(B,1,n) -> (B,1,m): the largest of each window, of which the first begins `padding` before the first element."""
    reach = (m - 1) * stride + 1
    if m < 1:
        raise ValueError("the input is smaller than a window")
    x = F.pad(x, (padding, reach + dilation * (size - 1) - padding - x.shape[2]))
    if size > _FEW:
        return x.unfold(2, dilation * (size - 1) + 1, stride)[..., ::dilation].amax(-1)
    # Faster than pooling, for so few elements.
    return reduce(torch.maximum, (x[..., i : i + reach : stride] for i in range(0, dilation * size, dilation)))


def pool(call: Call) -> Any:
    """The largest or the mean of windows; places of maxima are those of the examples, and know their windows."""
    x: Marks = call.a["self"]
    n = _dimensions(call.name)
    sizes = _each(call.a["kernel_size"], n)
    strides = _each(call.get("stride") or sizes, n)
    paddings, dilations = _each(call.get("padding", 0), n), _each(call.get("dilation", 1), n)
    windows = list(zip(sizes, strides, paddings, dilations, strict=True))
    ceil = bool(call.get("ceil_mode", False))
    for i, (size, stride, padding, dilation) in enumerate(windows):
        x = x.along(i - n, gathered(size, stride, padding, dilation, ceil))
    if call.signature.answers == 1:
        return x
    places = _places(x)
    places.windows = windows
    return x, places


def adaptive_pool(call: Call) -> Any:
    """The largest or the mean of as many windows as are asked for."""
    x: Marks = call.a["self"]
    n = _dimensions(call.name)
    for i, m in enumerate(_each(call.a["output_size"], n)):
        x = x.along(i - n, lambda t, m=m: F.adaptive_max_pool1d(t, m))  # type: ignore[misc]
    return x if call.signature.answers == 1 else (x, _places(x))


def _places(x: Marks) -> Chosen:
    """Where maxima are; somewhere."""
    return torch.zeros((), dtype=torch.long, device=x.core.device).expand(x.shape).as_subclass(Chosen)


def unpool(call: Call) -> Marks:
    """Elements put where maxima were: anywhere in the windows of the pooling; anywhere at all where those are not known."""
    x: Marks = call.a["self"]
    sizes: Sequence[int] = call.a["output_size"]
    windows = getattr(call.args[1] if len(call.args) > 1 else call.kwargs.get("indices"), "windows", None)
    n = len(sizes)
    if windows is None or len(windows) != n:
        return x.most(range(-n, 0), keepdim=True).expand((*x.shape[:-n], *sizes))
    if x.shape[-1] == 1 and windows[0] == (1, 1, 0, 1):
        windows = windows[::-1]  # of a signal, which is pooled as a row and put back as a column
    for i, (size, stride, padding, dilation) in enumerate(windows):
        x = x.along(i - n, scattered(size, stride, padding, dilation, sizes[i]))
    return x


def upsample(call: Call) -> Marks:
    """Nearest, linear and cubic interpolation: what has a weight along each axis, read off on single ones."""
    x: Marks = call.a["self" if "self" in call.a else "input"]
    n = _dimensions(call.name)
    sizes, factors = call.get("output_size"), call.get("scale_factors")
    sizes = sizes or [int(x.shape[i - n] * factor) for i, factor in enumerate(factors)]
    if factors is None:
        one = [call.get("scales")] if n == 1 else []
        factors = one or [call.get(f"scales_{axis}") for axis in "dhw"[-n:]]
    align = () if call.get("align_corners") is None else (bool(call.a["align_corners"]),)
    function = getattr(torch.ops.aten, call.name).default
    for i, (m, factor) in enumerate(zip(sizes, factors, strict=True)):
        taps = _taps(function, n, x.shape[i - n], m, align, factor).to(x.core.device)
        x = x.along(i - n, lambda t, taps=taps: t[..., taps].amax(-2))  # type: ignore[misc]
    return x


@cache
def _taps(function: Any, n: int, size: int, m: int, align: tuple[bool, ...], scale: float | None) -> torch.Tensor:
    """(taps,m): which of `size` elements each of `m` interpolated ones is made of; some repeated, to fill up.

    Read off combs of ones, whose teeth are so far apart that of each at most one is near.
    """
    apart = min(size, _APART * max(1, -(-size // m)))
    places, first = torch.arange(size), torch.arange(apart)[:, None]
    combs = torch.cat([places % apart == first, places[None]]).double()
    wide = [2] * (n - 1)  # an axis of 1 would be taken for another memory format by some
    combs = combs.reshape(apart + 1, 1, size, *[1] * (n - 1)).repeat(1, 1, 1, *wide)
    made: torch.Tensor = function(combs, [m, *wide], *align, *([scale] + [None] * (n - 1))).reshape(apart + 1, m, -1)[
        ..., 0
    ]
    tooth = first + apart * ((made[-1] - first) / apart).round().long()
    used = made[:-1].abs() > _SMALL
    order = used.to(torch.uint8).sort(0, descending=True).indices[: max(1, int(used.sum(0).max()))]
    rows = torch.where(used.gather(0, order), order, order[:1])
    return tooth.gather(0, rows)


def pad_edges(call: Call) -> Marks:
    """Padding with what is inside, mirrored or repeated."""
    mode = "reflect" if call.name.startswith("reflection") else "replicate"
    return padded(call.a["self"], call.a["padding"], mode)


def padded(x: Marks, padding: Sequence[int], mode: str) -> Marks:
    """The padding of the function of that name, the last dimension first, by what is inside."""
    for i in range(len(padding) // 2):
        before, after = padding[2 * i : 2 * i + 2]
        places = torch.arange(x.shape[-1 - i], dtype=widest(x.core.device), device=x.core.device)
        x = x.pick(-1 - i, F.pad(places[None, None], (before, after), mode)[0, 0].long())
    return x


def pad_zeros(call: Call) -> Marks:
    """Padding with a number, and cropping by negative padding."""
    x: Marks = call.a["self"]
    pads = call.a["pad"]
    for i in range(len(pads) // 2):
        if pads[2 * i : 2 * i + 2] not in ([0, 0], (0, 0)):
            x = x.along(-1 - i, lambda t, p=tuple(pads[2 * i : 2 * i + 2]): F.pad(t, p))  # type: ignore[misc]
    return x


def _dimensions(name: str) -> int:
    """How many axes a function slides along, by the 1d, 2d or 3d in its name."""
    return next(n for n in (1, 2, 3) if f"{n}d" in name)


def _each(numbers: Any, n: int) -> list[int]:
    several = list(numbers) if isinstance(numbers, (tuple, list)) else [numbers]
    return several * n if len(several) == 1 else several
