"""Reading a goal: which pictures are to be made, on which canvas, and which neuron is in its middle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nn_lens.engine.maximizing import objectives
from nn_lens.engine.maximizing.objective import Objective
from nn_lens.engine.network.network import Network, receptive_field
from nn_lens.errors import LensError
from nn_lens.units import Direction, Unit

Goal = Unit | str | Direction | Objective | Sequence[Unit | str | Direction]

MARGIN = 16  # pixels of canvas beyond the receptive field


@dataclass(frozen=True)
class Plan:
    """The pictures that a goal asks for.

    `names` one per picture; `shape` (C,H,W) of the canvas; `centres` the neuron in its middle, by layer, and
    `padded_centres` in the middle of the canvas with the border that a transform adds; `field` (height, width) of the
    middle part that the goal sees; `whole`: whether that is all of it, wherever it looks.
    `goals` are units and directions of one layer, a picture each, or one objective, which makes all pictures.
    """

    goals: tuple[Unit | Direction | Objective, ...]
    names: tuple[str, ...]
    shape: tuple[int, ...]
    centres: dict[str, tuple[int, int]]
    padded_centres: dict[str, tuple[int, int]]
    field: tuple[int, ...]
    whole: bool

    @property
    def single(self) -> Objective | None:
        """The one objective, where it is not units and directions that are asked for."""
        return self.goals[0] if isinstance(self.goals[0], Objective) else None

    @property
    def layer(self) -> str | None:
        """The layer of the units and directions; None for an objective."""
        return None if isinstance(self.goals[0], Objective) else self.goals[0].layer

    @property
    def apart(self) -> bool:
        """Whether the pictures do not depend on one another."""
        return self.single is None or self.single.pictures == 1

    def unit(self, picture: int) -> Unit | None:
        """The unit that a picture is of; None for a direction or an objective."""
        goal = None if self.single is not None else self.goals[picture]
        return goal if isinstance(goal, Unit) else None

    def objective(self, pictures: Sequence[int]) -> Objective:
        """The objective of some of the pictures, by their numbers."""
        if self.single is not None:
            return self.single
        return objectives.at_centre([self.goals[i] for i in pictures])  # type: ignore[misc]

    def seed(self, picture: int, seed: int) -> int:
        """A seed that depends on what a picture is of, and not on its neighbours."""
        goal = None if self.single is not None else self.goals[picture]
        text = f"{seed} {self.names[picture]} {getattr(goal, 'vector', '')}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")


def read_goal(net: Network, goal: Goal, size: int | tuple[int, int] | None = None, padding: int = 0) -> Plan:
    """The goal, read and checked against the network. padding: pixels that the transform adds on each side.

    Raises:
        LensError: units that the network does not have, of different layers, or an invalid size.
    """
    if isinstance(goal, Objective):
        _check(net, goal)
        n = goal.pictures
        names = (goal.name,) if n == 1 else tuple(f"{goal.name} [{i + 1} of {n}]" for i in range(n))
        goals: tuple[Unit | Direction | Objective, ...] = (goal,)
        read, local = goal.layers, goal.layers if goal.local else ()
    else:
        units = _units_of_one_layer(net, goal)
        goals, names = units, tuple(map(str, units))
        read = (units[0].layer,)
        local = () if any(isinstance(u, Unit) and u.place for u in units) else read
    shape = _canvas(net, local, size)
    read = tuple(dict.fromkeys(name for name in read if name))
    centres = central_neurons(net, read, shape)
    padded = central_neurons(net, read, _padded(shape, padding)) if padding else centres
    whole = not local or any(receptive_field(net, name).whole for name in local)
    return Plan(goals, names, shape, centres, padded, _field(net, local, shape), whole)


def _check(net: Network, goal: Objective) -> None:
    if goal.units:
        net.units_and_directions(goal.units)
    for name in goal.layers:
        if name:
            net[net.layer_and_token(name)[0]].require_shown()


def _units_of_one_layer(net: Network, goal: Any) -> tuple[Unit | Direction, ...]:
    if not isinstance(goal, (Unit, str, Direction, Iterable)):
        raise LensError(
            f'A goal is a Unit or its text "layer:channel", a Direction, an Objective, or a list; got {goal!r}.'
        )
    several = goal if isinstance(goal, (Unit, str, Direction)) else list(goal)
    if isinstance(several, list) and any(isinstance(entry, Objective) for entry in several):
        raise LensError("A list holds units and directions of one layer; maximize objectives one by one.")
    units = net.units_and_directions(several)
    layers = sorted({unit.layer for unit in units})
    if len(layers) > 1:
        raise LensError(
            f"A list is optimized as one batch, so its units are of one layer; got {', '.join(layers)}. "
            "Call maximize once per layer."
        )
    return units


def _canvas(net: Network, layers: Sequence[str], size: Any) -> tuple[int, ...]:
    """The shape of the pictures: just larger than the receptive field where only the middle of `layers` counts."""
    shape = net.input_shape
    if len(shape) != 3:
        if size is not None:
            raise LensError(f"This network reads vectors of {shape[0]} numbers; it takes no size.")
        return shape
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 1:
            raise LensError(f"size is a side or (height, width) in pixels, got {size}.")
        return shape[0], int(height), int(width)
    return shape[0], *(min(n, side + MARGIN) for n, side in zip(shape[1:], _field(net, layers, shape), strict=True))


def _padded(shape: tuple[int, ...], padding: int) -> tuple[int, ...]:
    return shape if len(shape) != 3 else (shape[0], *(side + 2 * padding for side in shape[1:]))


def _field(net: Network, layers: Sequence[str], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The sides of the largest receptive field of `layers`, at most the canvas; the canvas where there is none."""
    fields = [receptive_field(net, name) for name in layers] if len(shape) == 3 else []
    if not fields or any(field.whole for field in fields):
        return shape[1:]
    return tuple(min(n, max(f.size[axis] for f in fields)) for axis, n in enumerate(shape[1:]))


def central_neurons(net: Network, names: Sequence[str], shape: tuple[int, ...]) -> dict[str, tuple[int, int]]:
    """The neuron whose box is best centred on a canvas of `shape`; the middle of the map where boxes are not known."""
    names = [name for name in names if net.layer_and_token(name)[1] is None]
    if len(shape) != 3 or not names:
        return {}
    with net.evaluation(), torch.no_grad():
        maps = net.outputs(torch.full((1, *shape), 0.5), names)
    return {
        name: (_middle(net, name, maps[name], shape, 0), _middle(net, name, maps[name], shape, 1)) for name in names
    }


def _middle(net: Network, name: str, maps: torch.Tensor, shape: tuple[int, ...], axis: int) -> int:
    field, n = receptive_field(net, name), maps.shape[2 + axis]
    if field.whole:
        return int(n // 2)
    boxes = field.offset[axis] + field.stride[axis] * np.arange(n) + field.size[axis] / 2
    return int(np.argmin(np.abs(boxes - shape[1 + axis] / 2)))
