"""Where things are, for a browser that knows rows and columns only: the places of every kind of input and layer.

A signal or a sequence is one row, time from left to right; a vector is one row of its numbers; of a volume one slice is
seen. Places are told as (row, column) and come back as such: here alone they are translated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nn_lens.engine.network.network import Network
from nn_lens.engine.network.receptive_field import ReceptiveField
from nn_lens.engine.pictures.charts import slice_at
from nn_lens.units import Unit


@dataclass(frozen=True)
class Geometry:
    """How a network's inputs lie in rows and columns; `share` says which slice of volumes is seen, 0 the first, 1 the last."""

    kind: str
    shape: tuple[int, ...]
    share: float = 0.5

    @classmethod
    def of(cls, net: Network, share: float = 0.5) -> Geometry:
        """That of a network."""
        return cls(net.kind, net.input_shape, share)

    @property
    def is_picture(self) -> bool:
        """Whether the network reads pictures."""
        return self.kind == "picture"

    @property
    def is_row(self) -> bool:
        """Whether an input has one row, so that it is drawn as a chart."""
        return self.kind in ("signal", "sequence", "vector")

    @property
    def input(self) -> list[int]:
        """(channels, rows, columns) of an input."""
        first, last = self.shape[0], self.shape[-1]
        if self.kind == "signal":
            return [first, 1, last]
        if self.kind == "sequence":
            return [last, 1, first]
        return [1, 1, first] if self.kind == "vector" else [first, *self.shape[-2:]]

    @property
    def depth(self) -> int | None:
        """How many slices an input has, None where it has none."""
        return self.shape[1] if self.kind == "volume" else None

    # ---- places of a layer ----

    def grid(self, grid: tuple[int, ...]) -> list[int]:
        """(rows, columns) of a layer's grid."""
        return [1, *grid] if len(grid) == 1 else list(grid[-2:])

    def slice_of(self, grid: tuple[int, ...]) -> int | None:
        """Which slice of a layer's grid is seen, None of a grid that has none."""
        return slice_at(self.share, grid[0]) if len(grid) == 3 else None

    def cut(self, values: np.ndarray, dimensions: int) -> np.ndarray:
        """(..., rows, columns) of (..., *grid), a grid of so many dimensions."""
        if dimensions == 1:
            return values[..., None, :]
        return values[..., slice_at(self.share, values.shape[-3]), :, :] if dimensions == 3 else values

    def unit(self, layer: str, channel: int, row: Any, column: Any, grid: tuple[int, ...]) -> Unit:
        """The unit at a row and column of what is seen of a layer; the channel where they are None."""
        if row is None or column is None:
            return Unit(layer, channel)
        where = self.slice_of(grid)
        place = (column,) if len(grid) == 1 else (row, column) if where is None else (where, row, column)
        return Unit(layer, channel, *place)

    def selection(self, unit: Unit) -> dict[str, Any]:
        """A unit as the browser reads it."""
        row, column = (None, None) if unit.place is None else (0, *unit.place)[-2:]
        return {"layer": unit.layer, "channel": unit.channel, "row": row, "column": column}

    def share_for(self, unit: Unit, grid: tuple[int, ...]) -> float:
        """The share of the depth at which a unit's place is seen; as it is where that is so already."""
        if unit.place is None or self.slice_of(grid) in (None, unit.place[0]):
            return self.share
        return (unit.place[0] + 0.5) / grid[0]

    def field(self, found: ReceptiveField) -> dict[str, list[float]]:
        """Size, stride and offset of a receptive field in (rows, columns); an axis that is seen as a whole has stride 0."""
        size, stride, offset = list[float](found.size), list[float](found.stride), list[float](found.offset)
        if self.kind == "vector":
            size, stride, offset = [self.input[2]], [0], [0]
        if len(size) == 1:
            size, stride, offset = [1, *size], [0, *stride], [0, *offset]
        return {"size": size[-2:], "stride": stride[-2:], "offset": offset[-2:]}

    # ---- filters ----

    def filter(self, shape: tuple[int, ...] | None) -> list[int] | None:
        """(planes, rows, columns) of a filter of a shape as `filter_shape` has it."""
        if shape is None:
            return None
        planes, *kernel = shape
        if self._is_row_of_weights(tuple(kernel)):
            return [1, 1, planes]
        if len(kernel) == 3:
            return [planes, kernel[1], kernel[0] * (kernel[2] + 1) - 1]
        return [planes, *self.grid(tuple(kernel))]

    def lay(self, filters: np.ndarray, gap: int) -> np.ndarray:
        """(O,planes,rows,columns) of (O,I,*kernel): weights to single places as one row, slices side by side.

        gap: what stands in the column between two slices.
        """
        kernel = filters.shape[2:]
        if self._is_row_of_weights(kernel):
            return filters.reshape(len(filters), 1, 1, -1)
        if len(kernel) != 3:
            return self.cut(filters, len(kernel))
        apart = np.pad(filters, ((0, 0),) * 4 + ((0, 1),), constant_values=gap)
        return apart.transpose(0, 1, 3, 2, 4).reshape(*filters.shape[:2], kernel[1], -1)[..., :-1]

    def _is_row_of_weights(self, kernel: tuple[int, ...]) -> bool:
        """Whether filters of such a kernel are a number for each input, which are bars where nothing else is a picture."""
        return not self.is_picture and all(n == 1 for n in kernel)
