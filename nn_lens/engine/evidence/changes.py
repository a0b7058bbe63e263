"""Forward passes with the outputs of some units changed, and which random other units stand beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from nn_lens.engine.network import capture
from nn_lens.engine.network.layouts import Layout
from nn_lens.engine.network.network import Network
from nn_lens.errors import LensError
from nn_lens.units import Unit

Changes = Mapping[str, Callable[[torch.Tensor], torch.Tensor]]


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


def times_of(net: Network, units: Iterable[Unit], scale: float) -> Changes:
    """Of each layer, what makes of its output another one with its units multiplied."""
    by_layer: dict[str, list[Unit]] = {}
    for unit in units:
        by_layer.setdefault(unit.layer, []).append(unit)
    return {
        name: partial(_scale_units, layout=net[name].layout, units=of_layer, scale=scale)
        for name, of_layer in by_layer.items()
    }


def _scale_units(output: torch.Tensor, layout: Layout, units: list[Unit], scale: float) -> torch.Tensor:
    """A copy of a layer's output with some units multiplied, each once."""
    if layout.kind == "scalar":
        return _times(output, scale)
    new = output.clone()
    channels = sorted({u.channel for u in units if u.place is None})
    if channels:
        # Not of the maps, which are without the tokens that have no place.
        index, axis = torch.tensor(channels, device=new.device), layout.channel_axis()
        new.index_copy_(axis, index, _times(new.index_select(axis, index), scale))
    maps = layout.maps(new)  # a view: what is written on it is written on `new`
    for unit in units:
        if unit.place is not None and unit.channel not in channels:
            where: Any = (slice(None), unit.channel, *unit.place)
            maps[where] = _times(maps[where], scale)
    return new


def _times(x: torch.Tensor, scale: float) -> torch.Tensor:
    # Not x * 0, which is NaN where x is infinite.
    return torch.zeros_like(x) if scale == 0 else x * scale


def draws_of(net: Network, units: tuple[Unit, ...], controls: int, seed: int) -> tuple[list[tuple[Unit, ...]], str]:
    """Random other units of the same layers, at the same places if they have one; or none, and why."""
    if controls == 0:
        return [], "none was asked for"
    taken: dict[str, list[int]] = {}
    for unit in units:
        taken.setdefault(unit.layer, [])
        if unit.channel not in taken[unit.layer]:
            taken[unit.layer].append(unit.channel)
    others = {name: np.setdiff1d(np.arange(net[name].layout.channels), own) for name, own in taken.items()}
    for name, own in taken.items():
        if len(others[name]) < len(own):
            return [], f"layer {name} has {len(others[name])} other units, too few for as many as {len(own)}"
    random = np.random.default_rng(seed)
    draws = []
    for _ in range(controls):
        drawn = {name: random.permutation(others[name])[: len(own)] for name, own in taken.items()}
        stand_in = {(name, c): int(o) for name, own in taken.items() for c, o in zip(own, drawn[name], strict=True)}
        draws.append(tuple(Unit(u.layer, stand_in[u.layer, u.channel], *(u.place or ())) for u in units))
    return draws, ""
