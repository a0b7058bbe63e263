"""A network at a glance: for a picture, the strongest map of some of its layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn_lens.engine.reading import activations as activations_of
from nn_lens.sessions.session import Session


@dataclass(frozen=True)
class Stop:
    """A layer's strongest unit on a picture: its `channel` and `value`, and its `map` (*grid) of values; of a layer without
    places the map is what all its units answer, (C,).
    """

    layer: str
    channel: int
    value: float
    map: np.ndarray


def overview(session: Session, picture: Any, key: str, layers: Sequence[str]) -> Iterator[list[Stop]]:
    """The strongest map of each of `layers`; of all in one forward pass. key: names the picture."""
    net, version = session.network(), session.running
    yield session.latest.get(("overview", version, key, tuple(layers)), lambda: _stops(net, picture, layers))


def _stops(net: Any, picture: Any, layers: Sequence[str]) -> list[Stop]:
    found = activations_of.several_activations(net, picture, list(layers))[0]
    stops = []
    for layer in layers:
        maps = found[layer].maps
        largest = maps.reshape(len(maps), -1).max(1)
        channel = int(largest.argmax())
        single = maps[0].size == 1
        stops.append(Stop(layer, channel, float(largest[channel]), largest if single else maps[channel]))
    return stops
