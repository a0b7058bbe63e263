"""Finished results that a session takes from an atlas: at once where it has the network, and alone where it has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np
import torch
from PIL import Image, ImageDraw

from nn_lens.engine.evidence.example import Example
from nn_lens.engine.evidence.examples import DatasetExamples
from nn_lens.engine.evidence.trust import Badge
from nn_lens.engine.maximizing.maximized import Maximized
from nn_lens.engine.network.network import Network
from nn_lens.engine.reading.filters import Filters
from nn_lens.errors import LensError, PictureError
from nn_lens.sessions.session import Session
from nn_lens.units import Unit

T = TypeVar("T")
_NUMBERED = 56  # pixels of a card in place of a picture


class Finished(Protocol):
    """What a session asks of an atlas, as `nl.Atlas` has it. `net`: its network, which answers nothing."""

    net: Network

    def fingerprint(self) -> str:
        """Of the network that it was made of."""

    def images(self, unit: Unit, negative: bool = False) -> Maximized:
        """Maximizing images."""

    def examples(self, layer: str) -> DatasetExamples:
        """Of a layer."""

    def shows(self, layer: str, index: int, picture: torch.Tensor) -> bool:
        """Whether a picture is the one of that number among a layer's examples."""

    def trust(self, unit: Unit) -> tuple[Badge, ...]:
        """Of a unit."""

    def filters(self, layer: str) -> Filters:
        """Of a layer."""


def alone(session: Session) -> bool:
    """Whether there is an atlas and no network."""
    return session.atlas is not None and session.net is session.atlas.net


def finished(session: Session, ask: Callable[[Finished], T]) -> T | None:
    """What the atlas says of the weights that are shown; None where there is no atlas, or it does not hold that.

    Raises:
        LensError: it does not hold it, and there is no network that could be asked instead.
    """
    atlas: Finished | None = session.atlas
    if atlas is None:
        return None
    if not alone(session):
        session.network()
        if session.fingerprint() != atlas.fingerprint():
            return None
    try:
        return ask(atlas)
    except LensError:
        if alone(session):
            raise
        return None


def examples(session: Session, layer: str) -> DatasetExamples | None:
    """A layer's examples with their pictures: those that the atlas holds, else those of the session's own dataset, where they
    are the same. Without a network, also those without pictures; None: there are none.

    Raises:
        LensError: the atlas does not hold them, and there is no network.
    """
    kept = finished(session, lambda atlas: atlas.examples(layer))
    if kept is None or alone(session) or has_pictures(kept):
        return kept
    first = next((e for u in kept.units for e in kept.top[u]), None)
    net = session.network()
    try:
        source = session.passes.source(net)
        if first is None or source.one_by_one or not session.atlas.shows(layer, first.index, source[first.index]):
            return None
    except (LensError, IndexError):
        return None
    return replace(kept, _net=net, _source=source)


def has_pictures(kept: DatasetExamples) -> bool:
    """Whether the pictures of examples can be had."""
    first = next((e for u in kept.units[:1] for e in kept.top[u]), None)
    try:
        return first is None or kept.picture(first) is not None
    except PictureError:
        return False


def patch_of(example: Example) -> np.ndarray:
    """What a neuron sees of a picture; a card with the picture's number where the atlas does not hold the picture."""
    try:
        return example.patch
    except PictureError:
        card = Image.new("RGB", (_NUMBERED, _NUMBERED), (128, 128, 128))
        ImageDraw.Draw(card).text((_NUMBERED / 2, _NUMBERED / 2), str(example.index), (255, 255, 255), anchor="mm")
        return np.asarray(card)
