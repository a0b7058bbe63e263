"""Theoretical receptive fields, of any graph of layers, by one differentiated shadow pass.

The network is run once with every weight replaced by a positive constant, every rectifier and
normalization by the identity, and every pooling by its mean: then the gradient of one neuron is positive
exactly where an input pixel can reach it, along whichever branch. As all channels of the shadow are
alike, a convolution is computed on one channel only, so that the pass costs next to nothing.

Reference: Luo et al., 2016, "Understanding the effective receptive field" (definition); Araujo et al.,
2019, "Computing receptive fields of convolutional neural networks" (stride and offset).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from nn_lens.engine.network import capture, functions
from nn_lens.engine.pictures.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nn_lens.engine.network.network import Network

_LARGEST_CANVAS = 1792  # pixels a side; a field that is larger is given as this much


@dataclass(frozen=True, repr=False)
class ReceptiveField(Result):
    """The input box of a layer's neurons, all numbers (rows, columns) in input pixels.

    `size` of one neuron's box, `stride` between neighbours, `offset` of the box of neuron (0, 0):
    its first row and column, negative where padding is seen. A layer that sees the whole input has
    the input's size, stride and offset 0.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    offset: tuple[int, int]
    input_size: tuple[int, int]

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the pixels that a neuron sees, half open, cut at the picture's border."""
        start = [o + s * i for o, s, i in zip(self.offset, self.stride, (row, column), strict=True)]
        stop = [a + n for a, n in zip(start, self.size, strict=True)]
        low = [max(0, a) for a in start]
        high = [min(b, n) for b, n in zip(stop, self.input_size, strict=True)]
        return low[0], low[1], high[0], high[1]

    def cut(self, picture: torch.Tensor, place: tuple[int, int], shape: Sequence[int]) -> torch.Tensor:
        """The (C,h,w) part of a (C,H,W) picture around the box of the neuron at `place`; mirrored beyond the border."""
        for axis in (0, 1):
            n, wanted = picture.shape[1 + axis], shape[1 + axis]
            middle = n / 2 if self.whole else self.offset[axis] + self.stride[axis] * place[axis] + self.size[axis] / 2
            period = max(1, 2 * n - 2)
            index = (torch.arange(wanted) + round(middle - wanted / 2)).remainder(period)
            picture = picture.index_select(1 + axis, torch.where(index >= n, period - index, index))
        return picture

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        (h, w), (sy, sx), (oy, ox) = self.size, self.stride, self.offset
        where = "the whole input" if self.whole else f"stride {sy}x{sx}, offset {oy},{ox}"
        return f"Receptive field of {h}x{w} pixels, {where}, in an input of {self.input_size[0]}x{self.input_size[1]}"

    def figure(self) -> Figure:
        """The box of the middle neuron in the frame of the input."""
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        height, width = self.input_size
        row, column = (
            0 if s == 0 else max(0, round((n / 2 - o - k / 2) / s))
            for n, o, k, s in zip(self.input_size, self.offset, self.size, self.stride, strict=True)
        )
        top, left, bottom, right = self.box(row, column)
        figure = Figure(figsize=(3, 3 * height / width if height < 3 * width else 9))
        axes = figure.add_subplot()
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, alpha=0.5))
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xlabel="column", ylabel="row")
        axes.set_title(f"neuron ({row}, {column}) sees {self.size[0]}x{self.size[1]} pixels", fontsize=8)
        return figure

    @property
    def whole(self) -> bool:
        """Whether every neuron sees the whole input."""
        return self.stride == (0, 0)


def receptive_field(net: Network, layer: str) -> ReceptiveField:
    """The theoretical receptive field of a layer's units; exact for convolutions, pooling and their branches.

    Raises:
        UnknownLayer: no such layer, or it cannot be shown.
    """
    from nn_lens.engine.network.network import as_network

    net = as_network(net)
    layout = net[layer].layout
    if len(net.input_shape) != 3:
        size = net.input_shape[0], 1
        return ReceptiveField(size, (0, 0), (0, 0), size)
    height, width = net.input_shape[1:]
    whole = ReceptiveField((height, width), (0, 0), (0, 0), (height, width))
    if layout.kind == "vector":
        return whole
    found: _Triple | None = None
    scale = 1
    while max(height, width) * scale <= _LARGEST_CANVAS:
        try:
            boxes = _boxes(net, layer, (height * scale, width * scale))
        except Exception:  # the network takes no other size than its own
            break
        if boxes is None:
            break
        found, inside = boxes
        if inside:
            return ReceptiveField(*found, (height, width))
        if 0 in found[1] and layout.grid == (1, 1):
            return whole
        scale *= 2
    return whole if found is None or 0 in found[1] else ReceptiveField(*found, (height, width))


_Triple = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def _boxes(net: Network, layer: str, canvas: tuple[int, int]) -> tuple[_Triple, bool] | None:
    """(size, stride, offset) seen on a canvas, and whether the boxes lay wholly inside it."""
    with net.evaluation(), torch.inference_mode(False), torch.enable_grad():
        x = torch.ones(1, net.input_shape[0], *canvas, dtype=torch.float64, device=net.device, requires_grad=True)
        with _Shadow():
            output = capture.outputs(net.model, x, [layer])[layer]
        maps = net[layer].layout.maps(output)
        rows, columns = maps.shape[2] // 2, maps.shape[3] // 2
        second = min(rows + 1, maps.shape[2] - 1), min(columns + 1, maps.shape[3] - 1)
        boxes = []
        for r, c in ((rows, columns), second):
            (g,) = torch.autograd.grad(maps[0, :, r, c].sum(), x, retain_graph=True, allow_unused=True)
            if g is None:
                return None
            seen = g[0].abs().sum(0) > 0
            ys, xs = torch.nonzero(seen.any(1)).flatten(), torch.nonzero(seen.any(0)).flatten()
            if len(ys) == 0:
                return None
            boxes.append((int(ys[0]), int(xs[0]), int(ys[-1]) + 1, int(xs[-1]) + 1))
    a, b = boxes
    size = a[2] - a[0], a[3] - a[1]
    stride = b[0] - a[0], b[1] - a[1]
    offset = a[0] - rows * stride[0], a[1] - columns * stride[1]
    inside = all(
        low > 0 and high < n and (second[i] > (rows, columns)[i])
        for i, n in enumerate(canvas)
        for low, high in ((a[i], b[i + 2]),)
    )
    return (size, stride, offset), inside


class _Shadow(TorchFunctionMode):
    """Replaces what a network computes by where it looks; see the top of this file."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = functions.name_of(func)
        args, kwargs = _widened(args), _widened(kwargs or {})
        if functions.kind_of(name) in _IDENTITIES:
            return functions.first_argument(args, kwargs)
        if name in _POOLS:
            return functions.pooled_by_mean(func, _POOLS[name], args, kwargs)
        return _SHADOWS.get(name, func)(*args, **kwargs)


def _widened(value: Any) -> Any:
    """Floating tensors as float64: a corner of a deep field weighs less than float32 can hold."""
    if isinstance(value, torch.Tensor):
        return value.double() if value.is_floating_point() and value.dtype != torch.float64 else value
    if isinstance(value, (tuple, list)):
        return type(value)(map(_widened, value)) if type(value) in (tuple, list) else value
    if isinstance(value, dict):
        return {k: _widened(v) for k, v in value.items()}
    return value


def _ones(size: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    return torch.full((1, 1, *size), 1 / math.prod(size), dtype=torch.float64, device=like.device)


def _conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: Any = None,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> torch.Tensor:  # fmt: skip
    one = x.mean(-3, keepdim=True)
    y = F.conv2d(one, _ones(weight.shape[2:], x), None, stride, padding, dilation)
    return y.expand(*y.shape[:-3], weight.shape[0], *y.shape[-2:])


def _conv_transpose2d(
    x: torch.Tensor, weight: torch.Tensor, bias: Any = None,
    stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> torch.Tensor:  # fmt: skip
    one = x.mean(-3, keepdim=True)
    y = F.conv_transpose2d(one, _ones(weight.shape[2:], x), None, stride, padding, output_padding, 1, dilation)
    return y.expand(*y.shape[:-3], weight.shape[1] * groups, *y.shape[-2:])


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: Any = None) -> torch.Tensor:
    return x.mean(-1, keepdim=True).expand(*x.shape[:-1], weight.shape[0])


def _max_pool2d(input: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    y = functions.mean_pool2d(input.mean(-3, keepdim=True), *args, **kwargs)
    return y.expand(*y.shape[:-3], input.shape[-3], *y.shape[-2:])


# In-place sums write into tensors whose channels share memory; differences would cancel what both sides see.
_SHADOWS: dict[str, Callable[..., Any]] = {
    "add_": torch.add, "__iadd__": torch.add, "mul_": torch.mul, "__imul__": torch.mul,
    "sub": torch.add, "sub_": torch.add, "__sub__": torch.add, "__isub__": torch.add,
    "div_": torch.div, "__itruediv__": torch.div,
    "conv2d": _conv2d, "conv_transpose2d": _conv_transpose2d, "linear": _linear,
}  # fmt: skip

_POOLS: dict[str, Callable[..., torch.Tensor]] = {
    "max_pool2d": _max_pool2d, "max_pool2d_with_indices": _max_pool2d,
    "adaptive_max_pool2d": functions.adaptive_mean_pool2d,
    "adaptive_max_pool2d_with_indices": functions.adaptive_mean_pool2d,
}  # fmt: skip

_IDENTITIES = functions.NONLINEAR | functions.NORMS | {"dropout"}
