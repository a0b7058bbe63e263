"""An objective turns what a network answers to N pictures into N numbers; an algebra with +, - and * number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from nn_lens.engine.network.labels import class_index
from nn_lens.errors import LensError
from nn_lens.units import Direction, Unit


@dataclass(frozen=True)
class Answers:
    """What an objective sees.

    `maps` (N,C,*grid) by layer; `pictures` (N,C,H,W) in [0,1] before transforms, or what else of that `kind` the network
    reads; `centres` the place by layer of the neuron in the middle of the canvas; `labels` of the classes, if the network
    has any; `output_kind` what its scores mean.
    """

    maps: Mapping[str, torch.Tensor]
    pictures: torch.Tensor
    centres: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    kind: str = "picture"
    output_kind: str | None = "logits"

    def place(self, layer: str) -> tuple[int, ...]:
        """The place of the neuron in the middle of the canvas, such as (row, column)."""
        return self.centres.get(layer) or tuple(n // 2 for n in self.maps[layer].shape[2:])

    def neuron(self, unit: Unit) -> torch.Tensor:
        """(N,) activation of a neuron; of a channel, in the middle of the canvas."""
        where: tuple[Any, ...] = (slice(None), unit.channel, *(unit.place or self.place(unit.layer)))
        return self.maps[unit.layer][where]

    def class_index(self, target: int | str) -> int:
        """The index of a class, given as such or by its label."""
        return class_index(target, self.labels, self.maps[""].shape[1])


Value = Callable[[Answers], torch.Tensor]


@dataclass(frozen=True)
class Objective:
    """A named function from `Answers` to (N,) numbers.

    `layers` are those whose maps it reads; `pictures` how many pictures it makes at once, 1 unless they depend
    on one another; `local`: it looks at neurons in the middle of the canvas only, so that a canvas of their
    receptive field will do; `still`: it compares place by place, so that the picture is not moved by default.
    """

    name: str
    layers: tuple[str, ...]
    value: Value
    units: tuple[Unit | Direction, ...] = ()
    pictures: int = 1
    local: bool = False
    still: bool = False

    def __add__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        return self._joined(other, "+", 1.0)

    def __sub__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        return self._joined(other, "-", -1.0)

    def __mul__(self, factor: float) -> Objective:
        if isinstance(factor, Objective):
            raise LensError("Objectives are multiplied by numbers, not by one another; add them with weights.")
        number = float(factor)
        return replace(self, name=f"{number:g} * {self._bracketed()}", value=lambda a: number * self.value(a))

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        return self * -1.0

    def __truediv__(self, factor: float) -> Objective:
        return self * (1 / float(factor))

    def _joined(self, other: Objective, sign: str, weight: float) -> Objective:
        if self.pictures != other.pictures and 1 not in (self.pictures, other.pictures):
            raise LensError(
                f"{self.name} makes {self.pictures} pictures and {other.name} {other.pictures}; give both the same n."
            )
        return Objective(
            f"{self.name} {sign} {other._bracketed() if sign == '-' else other.name}",
            tuple(dict.fromkeys(self.layers + other.layers)),
            lambda a: self.value(a) + weight * other.value(a),
            self.units + other.units,
            max(self.pictures, other.pictures),
            self.local and other.local,
            self.still or other.still,
        )

    def _bracketed(self) -> str:
        return f"({self.name})" if " + " in self.name or " - " in self.name else self.name

    def __repr__(self) -> str:
        return f"Objective({self.name})"


def mean_of_each(x: torch.Tensor) -> torch.Tensor:
    """(N,) means over all dimensions but the first."""
    return x.mean(tuple(range(1, x.ndim))) if x.ndim > 1 else x
