"""Maximizing images that are kept, in memory, on disk or in an atlas: under which names, what is kept of each, whether it fits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from nn_lens.engine.maximizing.maximized import Real
from nn_lens.engine.maximizing.own import own_pictures
from nn_lens.engine.network.network import Network
from nn_lens.errors import LensError
from nn_lens.sessions import finished as finished_of
from nn_lens.sessions.session import Session
from nn_lens.units import Direction, Unit


def key_of(session: Session, goal: Unit | Direction, seed: int) -> str:
    """The name under which the image of a unit or direction is kept: all that it depends on."""
    name = str(goal)
    if isinstance(goal, Direction):
        name += f" {hashlib.blake2b(np.asarray(goal.vector).tobytes(), digest_size=16).hexdigest()}"
    quality = " draft" if session.settings.quality == "draft" else ""
    own = None if finished_of.alone(session) else own_pictures(session.network(), sources_of(session))
    made_for = f" of {own.digest}" if own is not None else ""
    return f"maximize {metadata.version('nn-lens')} {session.fingerprint()} {name} seed {seed}{quality}{made_for}"


def sources_of(session: Session) -> list[Any]:
    """The user's own pictures."""
    return [] if session.dataset is None else [session.dataset]


def those_kept(session: Session, net: Network, keys: Sequence[str]) -> list[Any]:
    """What is kept of a page, by key None where there is nothing; images of one page have one shape."""

    def fits(entry: Mapping[str, np.ndarray]) -> bool:
        if set(entry) != {"image", "activation", "steps", "note", "real", "reached"}:
            return False
        image, numbers = entry["image"], (entry["activation"], entry["steps"], entry["reached"])
        if entry["real"].size and entry["real"].shape != image.shape:
            return False
        fine = image.ndim == len(net.input_shape) and all(
            x.dtype == np.float32 and bool(np.isfinite(x).all()) for x in (image, entry["real"])
        )
        return fine and all(n.ndim == 0 and n.dtype.kind in "fiu" for n in numbers) and entry["note"].dtype.kind == "U"

    found = [session.cache.get(key, fits) for key in keys]
    shapes = {entry["image"].shape for entry in found if entry is not None}
    return found if len(shapes) < 2 else [None] * len(found)


def of_atlas(session: Session, unit: Unit | Direction, seed: int, negative: bool) -> Any:
    """The finished image of a unit, None where there is none."""
    if not isinstance(unit, Unit) or seed:
        return None
    try:
        image = finished_of.finished(session, lambda atlas: atlas.images(unit, negative))
    except LensError:
        return None
    if image is None:
        return None
    return entry_of(
        image.images[0], np.float32(-1 if negative else 1) * image.activations[0], image.steps, image.notes[0]
    )


def with_gaps(session: Session, units: Sequence[Unit | Direction], found: list[Any]) -> list[Any]:
    """A page of an atlas without a network: what it does not hold is grey, and says so.

    Raises:
        LensError: it holds none of it.
    """
    there = next((entry for entry in found if entry is not None), None)
    if there is None:
        session.atlas.images(units[0])
        raise LensError(f"The atlas holds no image of {units[0]}.")
    gap = entry_of(np.full_like(there["image"], 0.5), np.float32(np.nan), 0, "not in the atlas")
    return [gap if entry is None else entry for entry in found]


def entry_of(
    image: np.ndarray, activation: Any, steps: int, note: str, real: Real | None = None
) -> dict[str, np.ndarray]:
    """What is kept of one image."""
    numbers = {"activation": np.array(activation), "steps": np.array(steps), "note": np.array(note)}
    if real is None:
        return {"image": image, **numbers, "real": np.zeros(0, np.float32), "reached": np.array(np.nan)}
    return {"image": image, **numbers, "real": real.image, "reached": np.array(real.activation)}


def real_of(entry: Mapping[str, np.ndarray]) -> Real | None:
    """The real picture that is kept beside an image."""
    return Real(entry["real"], float(entry["reached"])) if entry["real"].size else None
