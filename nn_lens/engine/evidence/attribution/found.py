"""What a method of attribution finds, and how what is known of places becomes a map of the whole input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nn_lens.engine.network.inputs import places_of


@dataclass(frozen=True)
class Evidence:
    """`channels` as Captum gives them, and the `map` of them; see `Attribution`. `note`: what has to be said besides."""

    channels: np.ndarray
    map: np.ndarray
    layer: str | None = None
    completeness_error: float | None = None
    note: str = ""


def has_channels(kind: str) -> bool:
    """Whether inputs of a kind have channels first, which a map is the sum of."""
    return kind in ("picture", "signal", "volume")


def sides_of(kind: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Along which sides parts of an input can be covered: its places, of vectors their numbers."""
    return shape if kind == "vector" else places_of(kind, shape)


def index_of(kind: str, slices: tuple[slice, ...]) -> Any:
    """What takes a part along `sides_of` out of an input, all its channels or features."""
    return (*slices, ...) if kind == "sequence" else (..., *slices)


def spread(kind: str, shape: tuple[int, ...], map_: np.ndarray) -> np.ndarray:
    """A map of places as a map of the input: of sequences (T,) -> (T,F), each feature alike; else as it is."""
    return np.broadcast_to(map_[:, None], shape).copy() if kind == "sequence" else map_
