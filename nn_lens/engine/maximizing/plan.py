"""Reading a goal: which pictures are to be made, on which canvas, and which neuron is in its middle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from nn_lens.engine.maximizing import objectives
from nn_lens.engine.maximizing.inputs import rest, with_places
from nn_lens.engine.maximizing.objective import Objective
from nn_lens.engine.network import lookups
from nn_lens.engine.network.inputs import places_of
from nn_lens.engine.network.network import Network, receptive_field
from nn_lens.engine.network.receptive_field import ReceptiveField
from nn_lens.errors import LensError, NetworkError, one_line
from nn_lens.units import Direction, Unit

Goal = Unit | str | Direction | Objective | Sequence[Unit | str | Direction]

MARGIN = 16  # pixels of canvas beyond the receptive field
_PLACES = 4096  # of a layer whose fields are compared one by one
_SIZES = {
    "picture": "a side or (height, width) in pixels", "signal": "a length", "sequence": "a number of steps",
    "volume": "a side or (depth, height, width) in voxels",
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The pictures that a goal asks for.

    `names` one per picture; `shape` of the canvas, such as (C,H,W), for a network of that `kind` of input; `centres` the
    neuron in its middle, by layer, and `padded_centres` in the middle of the canvas with the border that a transform
    adds; `field` (height, width) of the middle part that the goal sees; `whole`: whether that is all of it, wherever it
    looks. `goals` are units and directions of one layer, a picture each, or one objective, which makes all pictures.
    `remark`: "", or why the canvas is not the usual one.
    """

    goals: tuple[Unit | Direction | Objective, ...]
    names: tuple[str, ...]
    shape: tuple[int, ...]
    centres: dict[str, tuple[int, ...]]
    padded_centres: dict[str, tuple[int, ...]]
    field: tuple[int, ...]
    whole: bool
    kind: str = "picture"
    remark: str = ""

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

    def of(self, goals: tuple[Unit | Direction, ...]) -> Plan:
        """The same of other units and directions of its layer, none of them at a place of its own."""
        return replace(self, goals=goals, names=tuple(map(str, goals)))

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


def read_goal(net: Network, goal: Goal, size: int | Sequence[int] | None = None, padding: int = 0) -> Plan:
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
        units = units_of_one_layer(net, goal)
        goals, names = units, tuple(map(str, units))
        read = (units[0].layer,)
        local = () if any(isinstance(u, Unit) and u.place for u in units) else read
    read = tuple(dict.fromkeys(name for name in read if name))
    shape, remark = _canvas(net, local, size), ""
    try:
        centres = central_neurons(net, read, shape)
    except NetworkError as error:
        if size is not None or shape == net.input_shape:
            raise
        # Some networks take one size only: they check it, flatten with a fixed number, or add an embedding of places.
        remark = f"on the whole input, as the network does not take a canvas of {shape}: {_cause(error)}"
        shape = net.input_shape
        centres = central_neurons(net, read, shape)
    padded = central_neurons(net, read, _padded(net, shape, padding)) if padding else centres
    whole = not local or any(_sees_all(net, name) for name in local)
    return Plan(goals, names, shape, centres, padded, _field(net, local, shape), whole, net.kind, remark)


def _check(net: Network, goal: Objective) -> None:
    if goal.units:
        net.units_and_directions(goal.units)
    for name in goal.layers:
        if name:
            net[net.layer_and_token(name)[0]].require_shown()


def units_of_one_layer(net: Network, goal: Any) -> tuple[Unit | Direction, ...]:
    """The units and directions of a goal that is no objective.

    Raises:
        LensError: the network does not have them, or they are of different layers.
    """
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
    shape, places = net.input_shape, places_of(net.kind, net.input_shape)
    if size is not None:
        return with_places(net.kind, shape, _sides(net.kind, shape, len(places), size))
    sides = (min(n, side + MARGIN) for n, side in zip(places, _field(net, layers, shape), strict=True))
    return with_places(net.kind, shape, tuple(sides))


def _sides(kind: str, shape: tuple[int, ...], places: int, size: Any) -> tuple[int, ...]:
    """A size that was asked for, as a number for each of so many dimensions."""
    if not places:
        raise LensError(f"This network reads vectors of {shape[0]} numbers; it takes no size.")
    try:
        sides = (int(size),) * places if np.ndim(size) == 0 else tuple(int(n) for n in size)
    except (TypeError, ValueError):
        sides = ()
    if len(sides) != places or min(sides) < 1:
        raise LensError(f"size is {_SIZES[kind]}, got {size!r}.")
    return sides


def _padded(net: Network, shape: tuple[int, ...], padding: int) -> tuple[int, ...]:
    return with_places(net.kind, shape, [side + 2 * padding for side in places_of(net.kind, shape)])


def _sees_all(net: Network, name: str) -> bool:
    return net.kind == "vector" or receptive_field(net, name).whole


def _field(net: Network, layers: Sequence[str], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The sides of the largest receptive field of `layers`, at most the canvas; the canvas where there is none."""
    places = places_of(net.kind, shape)
    fields = [receptive_field(net, name) for name in layers] if places else []
    if not fields or any(field.whole for field in fields):
        return places
    return tuple(min(n, max(f.size[axis] for f in fields)) for axis, n in enumerate(places))


def central_neurons(net: Network, names: Sequence[str], shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The neuron whose box is best centred on a canvas of `shape`, by layer.

    Where boxes are not known, or each neuron sees the whole input, it is the middle of the map; of a row of places of
    which some see more than others, as in an LSTM, whose last step has seen all before it, the one that sees most.

    Raises:
        NetworkError: the network does not take inputs of that shape, or does not answer to each by itself.
    """
    read = [net.layer_and_token(name) for name in names]
    names = [name for name, token in read if token is None]
    if net.kind == "vector" or (not names and shape == net.input_shape):
        return {}
    with net.evaluation(), torch.no_grad(), lookups.checked(net.device):
        maps = net.outputs(rest(net, 2, shape), names or [name for name, _ in read] or [""])
    for name in names:
        answer = maps[name]
        if len(answer) != 2 or 0 in answer.shape:
            raise NetworkError(
                f"Layer {name!r} answers with {len(answer)} maps to 2 inputs of {shape}: the network folds inputs of that "
                f"size into one another. It reads {net.input_shape}."
            )
    return {name: _centre(net, name, tuple(maps[name].shape[2:]), shape) for name in names}


def _centre(net: Network, name: str, grid: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    field, places = receptive_field(net, name), places_of(net.kind, shape)
    if field.whole or len(grid) != len(field.size):
        middle = tuple(n // 2 for n in grid)
        some = len(grid) < 2 and shape == net.input_shape and grid == net[name].layout.grid and grid[0] <= _PLACES
        return _seeing_most(field, grid[0], middle) if some else middle
    # Of as many dimensions as the input.
    return tuple(_middle(field, axis, grid[axis], side) for axis, side in enumerate(places))


def _middle(field: ReceptiveField, axis: int, n: int, side: int) -> int:
    if not field.stride[axis]:
        return n // 2
    boxes = field.offset[axis] + field.stride[axis] * np.arange(n) + field.size[axis] / 2
    return int(np.argmin(np.abs(boxes - side / 2)))


def _seeing_most(field: ReceptiveField, n: int, middle: tuple[int, ...]) -> tuple[int, ...]:
    """Of n places in a row the one whose box is largest, the nearest to the middle of those."""
    axes = len(field.input_size)
    boxes = np.array([field.box(i) for i in range(n)])
    sizes = np.prod(boxes[:, axes:] - boxes[:, :axes], axis=1)
    largest = np.flatnonzero(sizes == sizes.max())
    return (int(largest[np.argmin(np.abs(largest - middle[0]))]),)


def _cause(error: NetworkError) -> str:
    """What the model itself said."""
    return one_line(error.__cause__ or error).rstrip(".")
