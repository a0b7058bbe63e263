"""Forward passes with the outputs of some units changed, and which random other units stand beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from nn_lens.engine.network import capture
from nn_lens.engine.network.layouts import Layout
from nn_lens.engine.network.network import Network
from nn_lens.errors import LensError
from nn_lens.units import Direction, Unit

Changes = Mapping[str, Callable[[torch.Tensor], torch.Tensor]]
"""By layer, what makes of its output another one."""


@dataclass(frozen=True)
class Edit:
    """A unit's answers, or what a layer answers along a direction of length 1, made others.

    `how`: "times" a `value`, set "to" it, or raised "by" it. `places`: a boolean mask of the layer's grid; None: all places
    of a channel, also tokens that have none, and the place of a unit that has one.
    """

    what: Unit | Direction
    how: str
    value: float
    places: torch.Tensor | None = None

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """Answers, changed."""
        if self.how == "by":
            return x + self.value
        if self.how == "to":
            return torch.full_like(x, self.value)
        # Not x * 0, which is NaN where x is infinite.
        return torch.zeros_like(x) if self.value == 0 else x * self.value


def answers_with(net: Network, x: torch.Tensor, changes: Changes) -> torch.Tensor:
    """(N,classes,*grid) raw answers, with the outputs of some layers changed."""
    parts = []
    with net.evaluation(), torch.no_grad():
        # A loader's batches may be larger than those that the network answers to as to each picture alone.
        for part in x.split(net.batch_size()):
            with capture.replace_outputs(net.runner, changes) as done:
                parts.append(net.outputs(part, [""])[""].float().cpu())
    missing = [name for name in changes if name not in done]
    if missing:
        raise LensError(f"Layer {missing[0]!r} was not called in this forward pass, so its units cannot be changed.")
    return torch.cat(parts)


def changes_of(net: Network, edits: Iterable[Edit]) -> Changes:
    """Of each layer, what makes of its output another one with some edits, in their order.

    A neuron whose whole channel is changed in the same way is changed once.
    """
    edits = list(edits)
    whole = {
        (e.what.layer, e.what.channel, e.how, e.value) for e in edits
        if isinstance(e.what, Unit) and e.what.place is None and e.places is None
    }  # fmt: skip
    by_layer: dict[str, list[Edit]] = {}
    for edit in edits:
        what = edit.what
        if isinstance(what, Unit) and what.place and (what.layer, what.channel, edit.how, edit.value) in whole:
            continue
        by_layer.setdefault(what.layer, []).append(edit)
    return {name: partial(_edited, layout=net[name].layout, edits=of_layer) for name, of_layer in by_layer.items()}


def _edited(output: torch.Tensor, layout: Layout, edits: Sequence[Edit]) -> torch.Tensor:
    """A copy of a layer's output with some edits."""
    new = output.clone()
    for edit in edits:
        what = edit.what
        view, where = _seen_by(new, layout, edit)  # what is written on the view is written on `new`
        if isinstance(what, Unit):
            own = view[..., what.channel]
            own[where] = edit.of(own[where])
            continue
        vector = torch.tensor(what.vector, dtype=new.dtype, device=new.device)
        vector = vector / vector.norm()
        part = view[where]
        along = part @ vector
        view[where] = part + (edit.of(along) - along)[..., None] * vector
    return new


def _seen_by(new: torch.Tensor, layout: Layout, edit: Edit) -> tuple[torch.Tensor, Any]:
    """A view (N,...,channels) of a layer's output, and where in it the places are that an edit is about."""
    if layout.kind == "scalar":
        return new[..., None], ...
    place = edit.what.place if isinstance(edit.what, Unit) else None
    if edit.places is None and place is None:
        # Not of the maps, which are without the tokens that have no place.
        return new.movedim(layout.channel_axis(), -1), ...
    maps = layout.maps(new).movedim(1, -1)
    where = place if edit.places is None else (edit.places.to(new.device),)
    assert where is not None
    return maps, (slice(None), *where)


def draws_of(
    net: Network, what: tuple[Unit | Direction, ...], controls: int, seed: int
) -> tuple[list[tuple[Unit | Direction, ...]], str]:
    """Random others of the same layers, at the same places if they have one; or none, and why.

    In place of units other units, in place of directions random ones.
    """
    if controls == 0:
        return [], "none was asked for"
    taken: dict[str, list[int]] = {}
    for unit in what:
        if isinstance(unit, Unit) and unit.channel not in taken.setdefault(unit.layer, []):
            taken[unit.layer].append(unit.channel)
    others = {name: np.setdiff1d(np.arange(net[name].layout.channels), own) for name, own in taken.items()}
    for name, own in taken.items():
        if len(others[name]) < len(own):
            return [], f"layer {name} has {len(others[name])} other units, too few for as many as {len(own)}"
    for one in what:
        if isinstance(one, Direction) and len(one.vector) < 2:
            return [], f"layer {one.layer} has a single channel, and so no other direction"
    random = np.random.default_rng(seed)
    draws: list[tuple[Unit | Direction, ...]] = []
    for _ in range(controls):
        drawn = {name: random.permutation(others[name])[: len(own)] for name, own in taken.items()}
        stand_in = {(name, c): int(o) for name, own in taken.items() for c, o in zip(own, drawn[name], strict=True)}
        draws.append(
            tuple(
                Unit(one.layer, stand_in[one.layer, one.channel], *(one.place or ()))
                if isinstance(one, Unit)
                else Direction(one.layer, random.standard_normal(len(one.vector)).tolist())
                for one in what
            )
        )
    return draws, ""
