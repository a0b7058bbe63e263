"""Theoretical receptive fields, of any graph of layers: exact boxes in the input, of every neuron of a layer.

They are read off a pass that carries places in place of numbers (`reach`), forwards and backwards along each axis of
the input. How boxes lie to one another, which `size`, `stride` and `offset` say, is read off the neurons that no border
cuts, on a canvas as large as that takes.

Reference: Luo et al., 2016, "Understanding the effective receptive field" (definition); Araujo et al.,
2019, "Computing receptive fields of convolutional neural networks" (stride and offset).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from nn_lens.engine.network.layouts import Layout
from nn_lens.engine.network.reach.passes import Ends, Passes
from nn_lens.engine.network.runner import Runner
from nn_lens.engine.pictures.results import Result
from nn_lens.errors import UnknownUnit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST_CANVAS = {
    1: 1 << 16,
    2: 1792,
    3: 256,
}  # places along a side, by axes; a field that is larger is given as this much
_LONGEST_PERIOD, _LONGEST_RUN = 256, 1024  # neurons
_PERIODS = 3  # of boxes that no border cuts: enough to know how they go on
_SCALES = (2, 8, 32, 128)


@dataclass(frozen=True, repr=False)
class ReceptiveField(Result):
    """The input box of a layer's neurons; all numbers in input places: (rows, columns) of pictures, (steps,) of signals.

    `size` of one neuron's box, `stride` between neighbours, `offset` of the box of neuron 0: its first row and
    column, negative where padding is seen. Behind upsampling, neighbours' boxes go in steps of different lengths:
    then `stride` is the mean step, such as 0.5, and `size` that of the largest box in the middle; `box` is exact
    everywhere. A layer that sees all of an axis has there the input's size, and stride and offset 0.
    """

    size: tuple[int, ...]
    stride: tuple[float, ...]
    offset: tuple[int, ...]
    input_size: tuple[int, ...]
    # By input axis, where the boxes start and stop; none where all is seen.
    _ends: tuple[Ends, ...] = field(default=(), compare=False)
    _first: int = field(default=1, compare=False)  # the dimension of an input that the first axis is

    def box(self, *place: int, row: int | None = None, column: int | None = None) -> tuple[int, ...]:
        """The places that a neuron sees, half open, cut at the border: all starts and then all stops.

        Of pictures (top, left, bottom, right), where `row` and `column` may be named; of signals and sequences
        (start, stop). Zeros for a neuron that sees nothing.

        Raises:
            UnknownUnit: the layer has no neuron at that place.
        """
        place = (*place, *(n for n in (row, column) if n is not None))
        if not self._ends:
            return (*(0 for _ in self.input_size), *self.input_size)
        grid = self._ends[0].grid
        if len(place) != len(grid) or not all(0 <= i < n for i, n in zip(place, grid, strict=True)):
            raise UnknownUnit(f"There is no neuron at {place}: the layer's grid is {'x'.join(map(str, grid))}.")
        starts, stops = ([int(ends[side][place]) for ends in self._ends] for side in (0, 1))
        return (*starts, *stops)

    def along(self, axis: int) -> tuple[list[int], list[int]]:
        """Where the boxes of one neuron after the other start and stop along an axis of the input.

        They are those of a line of neurons through the middle of the layer, along which boxes move; where all see all of
        the axis, of one neuron.
        """
        if not self._ends:
            return [0], [self.input_size[axis]]
        starts, stops = self._ends[axis].line(self._ends[axis].walks(axis))
        return starts.tolist(), stops.tolist()

    def cut(
        self, picture: torch.Tensor, place: Sequence[int], shape: Sequence[int], *,
        centre: Sequence[int] = (), outside: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """The part of an input (C,H,W) around the box of the neuron at `place`, as large as `shape` (C,h,w) says.

        Inputs of other kinds likewise, along all axes that have places. `centre`: the neuron of the part that is to see what
        the one at `place` does; without, their box is as near to the middle as can be. Beyond the border it is mirrored,
        or as `outside` says, which broadcasts to the part.
        """
        box = self.box(*place)
        for axis, n in enumerate(self.input_size):
            dim, (start, stop) = self._first + axis, (box[axis], box[axis + len(self.input_size)])
            wanted, middle = shape[dim], (start + stop) / 2
            if self.stride[axis] and (start == 0 or stop == n):  # at a border the box is cut, and lies aside
                step = place[self._ends[axis].walks(axis)]
                middle = self.offset[axis] + self.stride[axis] * step + self.size[axis] / 2
            period = max(1, 2 * n - 2)
            first = round(middle - wanted / 2)
            if centre and self.stride[axis]:
                axis_of_map = self._ends[axis].walks(axis)
                first = round(self.stride[axis] * (place[axis_of_map] - centre[axis_of_map]))
            index = torch.arange(wanted) + first
            beyond = (index < 0) | (index >= n)
            index = index.remainder(period)
            picture = picture.index_select(dim, torch.where(index >= n, period - index, index))
            if outside is not None:
                sides = [1] * picture.ndim
                sides[dim] = wanted
                picture = torch.where(beyond.view(sides), outside, picture)
        return picture

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        unit = {1: "places", 2: "pixels"}.get(len(self.size), "voxels")
        where = f"stride {_times(self.stride)}, offset {','.join(map(str, self.offset))}"
        if self.whole:
            where = "the whole input"
        return f"Receptive field of {_times(self.size)} {unit}, {where}, in an input of {_times(self.input_size)}"

    def figure(self) -> Figure:
        """The box of the middle neuron in the frame of the input; of volumes, its rows and columns."""
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        place = tuple(n // 2 for n in self._ends[0].grid) if self._ends else (0,) * len(self.size)
        box, n = self.box(*place), len(self.size)
        height, width = self.input_size[-2:] if n > 1 else (1, self.input_size[0])
        top, bottom = (box[n - 2], box[2 * n - 2]) if n > 1 else (0, 1)
        left, right = box[n - 1], box[2 * n - 1]
        figure = Figure(figsize=(3, min(9, 3 * height / width)) if n > 1 else (4, 1.2), layout="constrained")
        axes = figure.add_subplot()
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, alpha=0.5))
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal" if n > 1 else "auto", xlabel="column", ylabel="row")
        if n == 1:
            axes.set(xlabel="place", ylabel="", yticks=[])
        depth = f", slices {box[0]} to {box[n] - 1}" if n == 3 else ""
        sees = _times([stop - start for start, stop in zip(box[:n], box[n:], strict=True)])
        unit = {1: "places", 2: "pixels"}.get(n, "voxels")
        axes.set_title(f"neuron ({', '.join(map(str, place))}) sees {sees} {unit}{depth}", fontsize=8)
        return figure

    @property
    def whole(self) -> bool:
        """Whether what neurons see does not move: all of the input, or in recurrent layers, all up to a step."""
        return not any(self.stride)


def _times(numbers: Sequence[float]) -> str:
    return "x".join(f"{n:g}" for n in numbers)


class Fields:
    """The receptive fields of a model's layers, each measured when it is first asked for.

    kind: of the input, "sequence" where (T,F) has its places first.
    """

    def __init__(
        self, runner: Runner, input_shape: tuple[int, ...], known: Mapping[str, ReceptiveField] | None = None,
        kind: str | None = None,
    ) -> None:  # fmt: skip
        self._runner, self._input_shape, self._known, self._kind = runner, input_shape, dict(known or {}), kind
        self._passes = Passes(runner)

    def of(self, layer: str, layout: Layout) -> ReceptiveField:
        """The field of a layer whose output lies like that."""
        if layer not in self._known:
            self._known[layer] = measure(self._passes, self._input_shape, layer, layout, self._kind)
        return self._known[layer]

    def of_copy(self, runner: Runner) -> Fields:
        """Those of a copy of the model: what is known is the same, and what is not is measured on the copy."""
        return Fields(runner, self._input_shape, self._known, self._kind)


def measure(
    passes: Passes, input_shape: tuple[int, ...], layer: str, layout: Layout, kind: str | None = None
) -> ReceptiveField:
    """The theoretical receptive field of a layer's units; the whole input where the model cannot be followed."""
    if len(input_shape) == 1:
        vector = input_shape[0], 1
        return ReceptiveField(vector, (0, 0), (0, 0), vector)
    dims = (0,) if kind == "sequence" else tuple(range(1, len(input_shape)))
    sides = tuple(input_shape[d] for d in dims)
    nowhere = (0,) * len(sides)
    whole = ReceptiveField(sides, nowhere, nowhere, sides, (), dims[0])
    if layout.kind in ("vector", "scalar"):
        return whole
    ends = passes.ends(layer, layout, input_shape, dims)
    if ends is None or not any(e.stops.any() for e in ends):
        return whole
    own = [_steps(ends[i], i, n) for i, n in enumerate(sides)]
    steps = own if all(s.settled for s in own) else _larger_steps(passes, input_shape, layer, layout, dims, own, ends)
    size, stride, offset = (tuple(getattr(s, k) for s in steps) for k in ("size", "stride", "offset"))
    if not any(stride):
        size, offset = sides, nowhere
    return ReceptiveField(size, stride, offset, sides, ends, dims[0])


def _larger_steps(
    passes: Passes, input_shape: tuple[int, ...], layer: str, layout: Layout, dims: tuple[int, ...],
    own: list[_Steps], ends: tuple[Ends, ...],
) -> list[_Steps]:  # fmt: skip
    """How boxes go on, read off larger canvases where the input itself cuts them."""
    steps, grid = own, ends[0].grid
    sides = [input_shape[d] for d in dims]
    for scale in _SCALES:
        if all(s.settled for s in steps) or max(sides) * scale > _LARGEST_CANVAS[len(sides)]:
            break
        canvas = tuple(n * scale if d in dims else n for d, n in enumerate(input_shape))
        larger = passes.ends(layer, layout, canvas, dims)
        if larger is None or larger[0].grid == grid:  # it takes no other size than its own, or always gives one grid
            break
        grid = larger[0].grid
        found = [_steps(larger[i], i, n * scale) for i, n in enumerate(sides)]
        steps = [old if old.settled else new for old, new in zip(steps, found, strict=True)]
    return [new if new.stride else old for old, new in zip(own, steps, strict=True)]


class _Steps(NamedTuple):
    """How boxes go on along one axis; `settled`: as read off neurons that no border cuts, over and over."""

    size: int
    stride: float
    offset: int
    settled: bool


def _steps(ends: Ends, axis: int, n: int) -> _Steps:
    """How boxes of a layer go on along one axis of an input of `n` places."""
    start, stop = ends.line(ends.walks(axis))
    run = _middle_run((start > 0) & (stop < n) & (stop > start), stop - start)
    a, b = start[run], stop[run]
    for period in range(1, min(len(a) // 2, _LONGEST_PERIOD) + 1):
        step = int(a[period] - a[0])
        if step and (a[period:] - a[:-period] == step).all() and (b[period:] - b[:-period] == step).all():
            first = -run.start % period  # where in the run the phase of neuron 0 is
            offset = int(a[first]) - (run.start + first) // period * step
            size = int((b - a)[:period].max())
            return _Steps(size, step / period if step % period else step // period, offset, len(a) >= _PERIODS * period)
    return _Steps(*_cut_steps(start, stop, n), False)


def _middle_run(uncut: np.ndarray, sizes: np.ndarray) -> slice:
    """The middle of the longest run of boxes that no border cuts: at its ends, some may see less than others.

    Of the runs with the largest box: where a dilated kernel has an outer weight in the padding, its box ends inside the
    input, and is cut all the same.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], uncut, [0]])))
    if len(edges) == 0:
        return slice(0, 0)
    most = np.array([sizes[first:last].max() for first, last in zip(edges[::2], edges[1::2], strict=True)])
    longest = int(np.argmax(np.where(most == most.max(), edges[1::2] - edges[::2], 0)))
    first, last = int(edges[2 * longest]), int(edges[2 * longest + 1])
    aside = max((last - first) // 4, (last - first - _LONGEST_RUN) // 2) if last - first > _PERIODS else 0
    return slice(first + aside, last - aside)


def _cut_steps(start: np.ndarray, stop: np.ndarray, n: int) -> tuple[int, float, int]:
    """Size, stride and offset as far as they show where borders cut most boxes, or steps differ.

    Boxes that all begin at the first place, or end at the last, are those of a recurrent layer, or larger than it shows:
    they do not move.
    """
    free_starts, free_stops = np.flatnonzero(start > 0), np.flatnonzero(stop < n)
    size = int((stop - start).max())
    if len(free_starts) == 0 or len(free_stops) == 0:
        return size, 0, int(start.min())
    i, j = max((free_starts, free_stops), key=len)[[0, -1]]
    ends = start if len(free_starts) >= len(free_stops) else stop
    stride = (ends[j] - ends[i]) / max(1, j - i)
    offset = round(float(start[free_starts[0]] - free_starts[0] * stride))
    last = round(float(stop[free_stops[-1]] - free_stops[-1] * stride))
    return max(size, last - offset), int(stride) if stride == int(stride) else float(stride), offset
