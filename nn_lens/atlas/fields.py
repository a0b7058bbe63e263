"""Receptive fields in a shard, and back: where the boxes of all neurons of all layers start and stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nn_lens.engine.network.layouts import Layout
from nn_lens.engine.network.network import Network, receptive_field
from nn_lens.engine.network.reach.passes import Ends
from nn_lens.engine.network.receptive_field import ReceptiveField

_SIDES = ("starts", "stops")


def packed(net: Network) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Of the layers that can be shown; boxes that are alike along an axis of the grid only once."""
    tensors: dict[str, np.ndarray] = {}
    about: dict[str, Any] = {}
    for layer in net.layers:
        if layer.reason is not None:
            continue
        field = receptive_field(net, layer.name)
        about[layer.name] = {
            "size": field.size, "stride": field.stride, "offset": field.offset, "input_size": field.input_size,
            "first": field._first, "axes": len(field._ends), "grid": layer.layout.grid,
        }  # fmt: skip
        for axis, ends in enumerate(field._ends):
            for side in _SIDES:
                tensors[f"{layer.name} {side} {axis}"] = _without_repeats(getattr(ends, side)).astype(np.int32)
    return tensors, {"fields": about}


def _without_repeats(values: np.ndarray) -> np.ndarray:
    for axis in range(values.ndim):
        first = np.take(values, [0], axis)
        if (values == first).all():
            values = first
    return values


class StoredFields:
    """The receptive fields of a shard, in place of those that a model is asked for."""

    def __init__(self, tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
        self._tensors, self._about = tensors, about["fields"]

    def of(self, layer: str, _layout: Layout) -> ReceptiveField:
        """That of a layer."""
        own = self._about[layer]
        size, stride, offset, sides, grid = (
            tuple(own[key]) for key in ("size", "stride", "offset", "input_size", "grid")
        )
        ends = tuple(
            Ends(*(np.broadcast_to(self._tensors[f"{layer} {side} {axis}"], grid) for side in _SIDES))
            for axis in range(own["axes"])
        )
        return ReceptiveField(size, stride, offset, sides, ends, own["first"])
