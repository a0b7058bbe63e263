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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from nn_lens.engine.network import capture, functions
from nn_lens.engine.network.layouts import Layout
from nn_lens.engine.network.runner import Runner
from nn_lens.engine.pictures.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


class Fields:
    """The receptive fields of a model's layers, each measured when it is first asked for."""

    def __init__(
        self, runner: Runner, input_shape: tuple[int, ...], known: Mapping[str, ReceptiveField] | None = None
    ) -> None:
        self._runner, self._input_shape, self._known = runner, input_shape, dict(known or {})

    def of(self, layer: str, layout: Layout) -> ReceptiveField:
        """The field of a layer whose output lies like that."""
        if layer not in self._known:
            self._known[layer] = measure(self._runner, self._input_shape, layer, layout)
        return self._known[layer]

    def of_copy(self, runner: Runner) -> Fields:
        """Those of a copy of the model: what is known is the same, and what is not is measured on the copy."""
        return Fields(runner, self._input_shape, self._known)


def measure(runner: Runner, input_shape: tuple[int, ...], layer: str, layout: Layout) -> ReceptiveField:
    """The theoretical receptive field of a layer's units; exact for convolutions, pooling and their branches."""
    if len(input_shape) != 3:
        size = input_shape[0], 1
        return ReceptiveField(size, (0, 0), (0, 0), size)
    channels, height, width = input_shape
    whole = ReceptiveField((height, width), (0, 0), (0, 0), (height, width))
    if layout.kind == "vector":
        return whole
    boxes: _Boxes | None = None
    scale = 1
    while max(height, width) * scale <= _LARGEST_CANVAS:
        try:
            larger = _boxes(runner, layer, layout, (channels, height * scale, width * scale))
        except Exception:  # the network takes no other size than its own
            break
        if larger is None:
            break
        boxes = larger
        if boxes.inside:
            return ReceptiveField(boxes.size, boxes.stride, boxes.offset, (height, width))
        if 0 in boxes.stride and layout.grid == (1, 1):
            return whole
        scale *= 2
    if boxes is None or 0 in boxes.stride:
        return whole
    return ReceptiveField(boxes.size, boxes.stride, boxes.offset, (height, width))


@dataclass(frozen=True)
class _Boxes:
    """What neurons see on one canvas, and whether all of it lies `inside`, so that a larger one shows no more."""

    size: tuple[int, int]
    stride: tuple[int, int]
    offset: tuple[int, int]
    inside: bool


def _boxes(runner: Runner, layer: str, layout: Layout, canvas: tuple[int, int, int]) -> _Boxes | None:
    """What the middle neuron and the next one down and right see on a (C,H,W) canvas; None where that is nothing."""
    with runner.evaluation(), torch.inference_mode(False), torch.enable_grad():
        x = torch.ones(1, *canvas, dtype=torch.float64, device=runner.device, requires_grad=True)
        with _Shadow():
            output = capture.outputs(runner.model, x, [layer])[layer]
        maps = layout.maps(output)
        middle = maps.shape[2] // 2, maps.shape[3] // 2
        second = min(middle[0] + 1, maps.shape[2] - 1), min(middle[1] + 1, maps.shape[3] - 1)
        box, next_box = (_box(maps[0, :, row, column], x) for row, column in (middle, second))
    if box is None or next_box is None:
        return None
    (height, down, top, inside_y), (width, right, left, inside_x) = (
        _along(box[axis], next_box[axis], middle[axis], second[axis], canvas[1 + axis]) for axis in (0, 1)
    )
    return _Boxes((height, width), (down, right), (top, left), inside_y and inside_x)


def _along(
    box: tuple[int, int], next_box: tuple[int, int], at: int, next_at: int, side: int
) -> tuple[int, int, int, bool]:
    """(size, stride, offset, inside) along one axis, from where the boxes of the neurons `at` and `next_at` start and stop."""
    stride = next_box[0] - box[0]
    inside = box[0] > 0 and next_box[1] < side and next_at > at
    return box[1] - box[0], stride, box[0] - at * stride, inside


def _box(neurons: torch.Tensor, x: torch.Tensor) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """((first row, row after the last), the same of columns) that some neurons depend on; None if there is nothing."""
    (gradient,) = torch.autograd.grad(neurons.sum(), x, retain_graph=True, allow_unused=True)
    if gradient is None:
        return None
    seen = gradient[0].abs().sum(0) > 0
    rows, columns = torch.nonzero(seen.any(1)).flatten(), torch.nonzero(seen.any(0)).flatten()
    if len(rows) == 0:
        return None
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)


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
