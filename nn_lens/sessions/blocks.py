"""The building blocks of a picture, and the maximizing images that they are drawn with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn_lens.engine.reading.building_blocks import BuildingBlocks, building_blocks
from nn_lens.sessions.requests import Figure, Page, page
from nn_lens.sessions.session import Session
from nn_lens.units import Unit

DRAWN = 120  # units whose images are made: those that are strongest at most places


@dataclass(frozen=True)
class Blocks:
    """`found`, of whose units the first `drawn` get images, and once they are made the `images`, (k,C,H,W)
    in [0,1] or (k,*shape), that its groups want most.
    """

    found: BuildingBlocks
    drawn: int
    images: np.ndarray | None = None


def blocks(session: Session, picture: Any, key: str, layer: str, at_once: int) -> Iterator[Blocks | Page | None]:
    """The building blocks at once, then pages of their units' images, and at last the groups'; None: nothing new.

    key: names the picture. at_once: units on a page.
    """
    net = session.network()
    found = session.latest.get(("blocks", session.running, key, layer), lambda: building_blocks(net, picture, layer))
    drawn = found.units[:DRAWN]
    yield Blocks(found, len(drawn))
    for start in range(0, len(drawn), at_once):
        for made in page(session, [Unit(layer, channel) for channel in drawn[start : start + at_once]]):
            yield made if made.finished else None
    for made in page(session, found.directions):
        yield Blocks(found, len(drawn), made.wanted) if made.finished else None


FIGURES: dict[str, Figure] = {"blocks": lambda s, u, p: building_blocks(s.network(), p, u.layer).figure()}
