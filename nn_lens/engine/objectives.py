"""What to maximize: an algebra of objectives with +, - and * number.

An objective turns what a network answers to N pictures into N numbers. `channel(unit) - 0.1 *
total_variation()` is one too. Reference: Olah, Mordvintsev and Schubert, 2017, "Feature visualization".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from nn_lens.errors import LensError
from nn_lens.units import Direction, Unit, as_unit


@dataclass(frozen=True)
class Answers:
    """What an objective sees: (N,C,h,w) `maps` by layer, and the (N,C,H,W) `pictures` in [0,1] before transforms."""

    maps: Mapping[str, torch.Tensor]
    pictures: torch.Tensor


Value = Callable[[Answers], torch.Tensor]


@dataclass(frozen=True)
class Objective:
    """A named function from `Answers` to (N,) numbers; `layers` are those whose maps it reads."""

    name: str
    layers: tuple[str, ...]
    value: Value
    units: tuple[Unit | Direction, ...] = ()

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
        return Objective(f"{number:g} * {self._bracketed()}", self.layers, lambda a: number * self.value(a), self.units)

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        return self * -1.0

    def __truediv__(self, factor: float) -> Objective:
        return self * (1 / float(factor))

    def _joined(self, other: Objective, sign: str, weight: float) -> Objective:
        return Objective(
            f"{self.name} {sign} {other._bracketed() if sign == '-' else other.name}",
            tuple(dict.fromkeys(self.layers + other.layers)),
            lambda a: self.value(a) + weight * other.value(a),
            self.units + other.units,
        )

    def _bracketed(self) -> str:
        return f"({self.name})" if " + " in self.name or " - " in self.name else self.name

    def __repr__(self) -> str:
        return f"Objective({self.name})"


def neuron(unit: Unit | str) -> Objective:
    """The activation at the unit's row and column, or without them at the centre of its map."""
    unit = as_unit(unit)

    def value(a: Answers) -> torch.Tensor:
        maps = a.maps[unit.layer]
        row, column = unit.place or (maps.shape[2] // 2, maps.shape[3] // 2)
        return maps[:, unit.channel, row, column]

    return Objective(f"neuron({unit})", (unit.layer,), value, (unit,))


def channel(unit: Unit | str) -> Objective:
    """The mean of the unit's activation map."""
    unit = as_unit(unit)
    return Objective(
        f"channel({unit})", (unit.layer,), lambda a: a.maps[unit.layer][:, unit.channel].mean((1, 2)), (unit,)
    )


def layer(name: str) -> Objective:
    """The mean square of all activations of a layer (DeepDream; Mordvintsev et al., 2015)."""
    return Objective(f"layer({name})", (name,), lambda a: a.maps[name].square().mean((1, 2, 3)))


def direction(direction: Direction, cosine_power: float = 0.0) -> Objective:
    """The mean over places of the dot product with a (C,) direction of length 1, times cosine^`cosine_power`."""

    def value(a: Answers) -> torch.Tensor:
        maps = a.maps[direction.layer]
        v = _unit_vector(direction, maps)
        dots = torch.einsum("nchw,c->nhw", maps, v)
        if cosine_power:
            cosine = dots / maps.norm(dim=1).clamp(min=1e-6)
            dots = dots * cosine.clamp(min=0.1) ** cosine_power
        return dots.mean((1, 2))

    return Objective(f"direction({direction})", (direction.layer,), value, (direction,))


def logit(index: int) -> Objective:
    """The raw output of class `index`."""
    return Objective(f"logit({index})", ("",), lambda a: a.maps[""][:, _checked(index, a), 0, 0])


def probability(index: int) -> Objective:
    """The softmax probability of class `index`."""
    return Objective(f"probability({index})", ("",), lambda a: a.maps[""][:, :, 0, 0].softmax(1)[:, _checked(index, a)])


def total_variation() -> Objective:
    """The mean absolute difference of neighbouring pixels; subtract it for smoother pictures."""

    def value(a: Answers) -> torch.Tensor:
        x = a.pictures
        return x.diff(dim=2).abs().mean((1, 2, 3)) + x.diff(dim=3).abs().mean((1, 2, 3))

    return Objective("total_variation()", (), value)


def l1(target: float = 0.5) -> Objective:
    """The mean absolute distance of the pixels from `target`; subtract it for greyer pictures."""
    return Objective(f"l1({target:g})", (), lambda a: (a.pictures - target).abs().flatten(1).mean(1))


def l2(target: float = 0.5) -> Objective:
    """The root mean square distance of the pixels from `target`."""
    return Objective(
        f"l2({target:g})", (), lambda a: (a.pictures - target).square().flatten(1).mean(1).add(1e-12).sqrt()
    )


def at_centre(goals: list[Unit | Direction], row: int, column: int) -> Objective:
    """Picture i's own goal: the neuron of its unit, or its direction, at a place of the map; units keep their own."""
    name = goals[0].layer
    channels = torch.tensor([g.channel if isinstance(g, Unit) else 0 for g in goals])
    places = [g.place or (row, column) if isinstance(g, Unit) else (row, column) for g in goals]
    rows, columns = torch.tensor(places).T

    def value(a: Answers) -> torch.Tensor:
        maps = a.maps[name]
        n = torch.arange(len(goals))
        if all(isinstance(g, Unit) for g in goals):
            return maps[n, channels, rows, columns]
        at = maps[n, :, rows, columns]
        weights = torch.stack([_weights(g, maps) for g in goals])
        return (at * weights).sum(1)

    return Objective(f"{len(goals)} units of {name}", (name,), value, tuple(goals))


def _weights(goal: Unit | Direction, maps: torch.Tensor) -> torch.Tensor:
    if isinstance(goal, Direction):
        return _unit_vector(goal, maps)
    return torch.nn.functional.one_hot(torch.tensor(goal.channel), maps.shape[1]).to(maps)


def _unit_vector(direction: Direction, maps: torch.Tensor) -> torch.Tensor:
    v = torch.tensor(direction.vector, dtype=maps.dtype, device=maps.device)
    if len(v) != maps.shape[1]:
        raise LensError(f"Layer {direction.layer!r} has {maps.shape[1]} channels, the direction {len(v)} numbers.")
    unit: torch.Tensor = v / v.norm()
    return unit


def _checked(index: int, a: Answers) -> int:
    classes = a.maps[""].shape[1]
    if not 0 <= index < classes:
        raise LensError(f"The network has classes 0 to {classes - 1}, not {index}.")
    return index
