"""The building blocks of a picture, and the maximizing images that they are drawn with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn_lens.engine.reading.building_blocks import BuildingBlocks, building_blocks
from nn_lens.sessions.requests import PAGE, Page, page
from nn_lens.sessions.session import Session
from nn_lens.units import Unit

DRAWN = 10 * PAGE  # units whose images are made: those that are strongest at most places


@dataclass(frozen=True)
class Blocks:
    """`found`, and once they are made the `images` (k,C,H,W) in [0,1] that its groups want most."""

    found: BuildingBlocks
    images: np.ndarray | None
    version: int


def blocks(session: Session, picture: Any, layer: str) -> Iterator[Blocks | Page | None]:
    """The building blocks at once, then pages of their units' images, and at last the groups'; None: nothing new."""
    found = building_blocks(session.network(), picture, layer)
    version = session.running
    yield Blocks(found, None, version)
    shown = found.units[:DRAWN]
    for start in range(0, len(shown), PAGE):
        for made in page(session, [Unit(layer, channel) for channel in shown[start : start + PAGE]]):
            yield made if made.finished else None
    for made in page(session, found.directions):
        yield Blocks(found, made.images, version) if made.finished else None
