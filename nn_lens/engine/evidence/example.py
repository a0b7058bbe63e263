"""One example of a dataset: which input it is, where in it a unit fired most, and what the neuron there sees."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nn_lens.engine.network.receptive_field import ReceptiveField
from nn_lens.engine.pictures.figures import draw_input
from nn_lens.engine.pictures.images import rgb

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Example:
    """A picture of the dataset: its `index`, the unit's `activation`, and the `place` in the unit's map that fired most.

    `place`: as many numbers as the map has dimensions; `row` and `column` are its last two, None where it has one.
    `patch`: what the neuron there sees of the picture, (h,w,3) uint8, cut at the picture's border; of other inputs
    float32, (C,l) of signals, (C,d,h,w) of volumes, (t,F) of sequences, and of vectors all of it, (F,).
    """

    def __init__(
        self, index: int, activation: float, place: tuple[int, ...], kind: str, field: ReceptiveField, picture: Any
    ) -> None:
        self.index, self.activation, self.place = index, activation, place
        self._kind, self._field, self._picture = kind, field, picture

    @property
    def row(self) -> int | None:
        """The last number but one of the place, None where there is none."""
        return self.place[-2] if len(self.place) > 1 else None

    @property
    def column(self) -> int | None:
        """The last number of the place, None where it has fewer than two."""
        return self.place[-1] if len(self.place) > 1 else None

    @cached_property
    def patch(self) -> np.ndarray:
        """Read again from the dataset when it is first asked for."""
        x = self._picture(self)
        if self._kind != "vector":
            box = self._field.box(*self.place)
            part = tuple(slice(a, b) for a, b in zip(box[: len(box) // 2], box[len(box) // 2 :], strict=True))
            x = x[(*part, ...) if self._kind == "sequence" else (..., *part)]
        if self._kind == "picture":
            return np.asarray(rgb(x[None].numpy())[0])
        return np.asarray(x.numpy(), np.float32)

    def __repr__(self) -> str:
        where = f"row {self.row}, column {self.column}"
        if len(self.place) != 2:
            where = f"place {','.join(map(str, self.place))}"
        return f"Example({self.index}, {self.activation:.4g}, {where})"


def draw_patch(axes: Axes, patch: np.ndarray, kind: str) -> None:
    """What a neuron sees of an input of some kind, drawn without axes."""
    if kind == "picture":
        axes.imshow(patch)
    elif patch.size:  # a neuron behind padding may see nothing
        draw_input(axes, patch, np.zeros(patch.shape if kind == "sequence" else patch.shape[1:]), "")
    axes.set_axis_off()
