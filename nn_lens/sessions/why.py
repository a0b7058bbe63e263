"""Why this answer, unit by unit, as views ask for it: which units it comes from, what it would be if one of them answered
otherwise, and where the network is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from nn_lens.engine.evidence.contributions import Contributions, contributions
from nn_lens.engine.evidence.mistakes import Mistakes, mistakes, mistakes_steps
from nn_lens.engine.evidence.steering import Steering, steer, steered
from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures.charts import charts
from nn_lens.engine.reading.activations import activations, several_activations
from nn_lens.errors import LensError
from nn_lens.sessions.evidence import dataset_pass
from nn_lens.sessions.requests import Figure, last, page
from nn_lens.sessions.session import Session
from nn_lens.sessions.targets import Target, ranked, resolved
from nn_lens.units import Unit

UNITS = 8  # that speak most for an answer
EXAMPLES = 3  # real pictures of each
_LATER = 3  # layers behind a steered unit that are looked at
_OFTEN = 0.25  # seconds between what is shown of a pass
_THUMBNAILS = 24
_SMALL = 48  # pixels of one
_OF_CLASSES = ("logits", "probabilities")
_MOST_WITH_TARGETS = 5000  # pictures over which accuracy is followed live


@dataclass(frozen=True)
class Reasons:
    """The units that an answer comes from, as far as that is known.

    `parts`, `images`, `examples`: by unit its part of the input, what it wants most, and what its neuron sees of the real
    pictures that move it most. `unfollowed`: why there are no parts, "" where there are or may yet be.
    """

    found: Contributions
    parts: Mapping[Unit, np.ndarray] = field(default_factory=dict)
    images: Mapping[Unit, np.ndarray] = field(default_factory=dict)
    examples: Mapping[Unit, tuple[np.ndarray, ...]] = field(default_factory=dict)
    unfollowed: str = ""


@dataclass(frozen=True)
class Steered:
    """A unit steered by a slider: 1 is as it is, `present`, and `value` what it is now, its largest answer or that at the place.

    `dataset`: the same over the dataset, if that has classes, and the unit is steered everywhere.
    """

    factor: float
    present: float
    value: float
    found: Steering
    dataset: Steering | None = None


@dataclass(frozen=True)
class Later:
    """What comes of a steered unit behind it: of some layers the unit that changes most, its map as it is and steered, and
    contributions of the last of them before and after.
    """

    maps: tuple[tuple[Unit, np.ndarray, np.ndarray], ...]
    before: Contributions | None
    after: Contributions | None


@dataclass(frozen=True)
class Gallery:
    """What is wrong so far, and a thumbnail of each picture that is shown, (n,h,w,3) uint8."""

    found: Mistakes
    thumbnails: np.ndarray | None
    finished: bool


# ---- which units ----


def reasons(session: Session, picture: Any, key: str, target: Target, layer: str) -> Iterator[Reasons | None]:
    """The units of a layer that an answer to a picture comes from: at first what they add, then more of each. None: nothing
    new. Of a unit of that layer, or of one before it, the layer before the unit is looked at.
    """
    net = session.network()
    wanted = resolved(session, picture, key, target)
    layer = _before(net, wanted, layer)
    own = ("contributions", session.running, key, str(wanted), layer)
    first = session.latest.get(
        (*own, "first"), lambda: contributions(net, picture, wanted, layer, UNITS, control=False)
    )
    known = Reasons(first)
    yield known
    # One by one, since each is a backward pass, between which more urgent work may come.
    parts: dict[Unit, np.ndarray] = session.latest.get((*own, "parts"), dict)
    missing = [unit for unit in first.units if unit not in parts]
    unfollowed = ""
    try:
        for unit, part in zip(missing, first.each_map(missing), strict=True):
            parts[unit] = part
            yield replace(known, parts=dict(parts))
    except LensError as error:
        parts, unfollowed = {}, str(error)
    known = replace(known, parts=dict(parts), unfollowed=unfollowed)
    both = session.latest.get(own, lambda: contributions(net, picture, wanted, layer, UNITS))
    known = replace(known, found=both)
    yield known
    for made in page(session, first.units):
        if made.finished:
            known = replace(known, images=dict(zip(first.units, made.wanted, strict=True)))
            yield known
        else:
            yield None
    for seen, finished in dataset_pass(session, layer):
        if finished:
            tops = {unit: tuple(e.patch for e in seen.top[unit][:EXAMPLES]) for unit in first.units}
            yield replace(known, examples=tops)
        else:
            yield None


def _before(net: Network, target: Any, layer: str) -> str:
    """The layer itself, if it is before the target; else the nearest that is."""
    unit = target[0] if isinstance(target, tuple) else target
    if not isinstance(unit, Unit):
        return layer
    names = [each.name for each in net.layers if each.reason is None]
    if names.index(layer) < names.index(unit.layer):
        return layer
    earlier = [name for name in names[: names.index(unit.layer)] if not unit.layer.startswith(f"{name}.")]
    if not earlier:
        raise LensError(f"No layer is before {unit.layer}, so no unit adds to {unit}.")
    return earlier[-1]


def _reasons_figure(session: Session, unit: Unit, picture: Any) -> Any:
    net = session.network()
    return contributions(net, picture, ranked(net, picture)[0], unit.layer, UNITS).figure()


# ---- if a unit answered otherwise ----


def steering(
    session: Session, picture: Any, key: str, unit: Unit, factor: float, place: tuple[int, ...] | None = None
) -> Iterator[Steered]:
    """What the answer to a picture would be if a unit answered otherwise, everywhere or at a place; then accuracy on the
    dataset, if it has classes.

    factor: 0 is off, 1 as it is; a unit that is silent wakes above 1, up to what is the largest of its layer at 2.
    """
    net = session.network()
    present, value, how = _asked(session, picture, key, unit, factor, place)
    name = ("steering", session.running, key, str(unit), factor, place)
    controls = 1 if factor == 1 else 5
    found = session.latest.get(name, lambda: steer(net, [picture], unit, place=place, controls=controls, **how))
    own = Steered(factor, present, value, found)
    yield own
    if place is not None or factor == 1 or net.output_kind not in _OF_CLASSES:
        return
    source = session.passes.source(net)
    total = source.total
    if total is None or total > _MOST_WITH_TARGETS or source.target(0) is None:
        return
    yield replace(own, dataset=steer(net, source, unit, controls=3, **how))


def _asked(
    session: Session, picture: Any, key: str, unit: Unit, factor: float, place: tuple[int, ...] | None
) -> tuple[float, float, dict[str, Any]]:
    """What the unit answers, what it is to answer, and how to steer it there."""
    net = session.network()
    maps = session.latest.get(
        ("maps of", session.running, key, unit.layer), lambda: activations(net, picture, unit.layer).maps
    )
    own = maps[unit.channel]
    present = float(own[place]) if place is not None else float(own.flat[np.abs(own).argmax()])
    if present != 0:
        return present, factor * present, {"times": factor}
    value = max(0.0, factor - 1) * float(np.abs(maps).max())
    return present, value, {"to": value}


def later(
    session: Session, picture: Any, key: str, unit: Unit, factor: float, place: tuple[int, ...] | None, target: Target
) -> Iterator[Later]:
    """What comes of a steered unit in layers behind it, and of what the last of them adds to a class; see `steering`."""
    net = session.network()
    *_, how = _asked(session, picture, key, unit, factor, place)
    wanted = resolved(session, picture, key, target)
    names = _behind(net, unit.layer)
    placed = [name for name in names if prod(net[name].layout.grid) > 1]  # of others there is no map
    spread = np.unique(np.linspace(0, len(placed) - 1, _LATER).round().astype(int)) if placed else ()
    looked_at = [placed[i] for i in spread]
    maps = []
    if looked_at:
        before = several_activations(net, picture, looked_at)[0]
        with steered(net, unit, place=place, **how):
            after = before if factor == 1 else several_activations(net, picture, looked_at)[0]
        for name in looked_at:
            a, b = before[name].maps, after[name].maps
            moved = np.abs(b - a) if (a != b).any() else np.abs(a)  # of a slider at rest those that answer most
            channel = int(moved.reshape(len(a), -1).max(1).argmax())
            maps.append((Unit(name, channel), a[channel], b[channel]))
    if isinstance(wanted[0] if isinstance(wanted, tuple) else wanted, Unit) or not names:
        yield Later(tuple(maps), None, None)
        return
    try:
        own = contributions(net, picture, wanted, names[-1], control=False)
        with steered(net, unit, place=place, **how):
            other = own if factor == 1 else contributions(net, picture, wanted, names[-1], control=False)
    except LensError:
        yield Later(tuple(maps), None, None)  # behind a part that lets no gradient through, or that no class depends on
        return
    yield Later(tuple(maps), own, other)


def _behind(net: Network, layer: str) -> list[str]:
    """The layers behind one that have units of their own, without the answer itself."""
    names = [each.name for each in net.layers if each.reason is None]
    own = names[names.index(layer) + 1 :]
    classes = None if net.output_shape is None else net.output_shape[1]
    while own and net[own[-1]].channels == classes:
        own.pop()
    return own


# ---- where it is wrong ----


def gallery(session: Session) -> Iterator[Gallery | None]:
    """What the network calls wrong in the dataset, as the pass goes on; without classes, what it is least sure of."""
    net = session.network()
    source = session.passes.source(net)
    small: dict[int, np.ndarray] = {}
    told = -_OFTEN
    found: Mistakes | None = None
    for found in mistakes_steps(net, source):
        if time.monotonic() - told < _OFTEN:
            yield None
            continue
        told = time.monotonic()
        yield Gallery(found, _thumbnails(net, found, small), False)
    if found is not None:
        yield Gallery(found, _thumbnails(net, found, small), True)


def _thumbnails(net: Network, found: Mistakes, small: dict[int, np.ndarray]) -> np.ndarray | None:
    """Of the pictures that are shown; `small` keeps those made."""
    shown = [m.picture for m in (found.wrong or found.unsure)[:_THUMBNAILS]]
    for index in shown:
        if index not in small:
            small[index] = _shrunk(charts([found.picture(index).numpy()], net.kind, width=_SMALL, height=_SMALL)[0])
    return np.stack([small[index] for index in shown]) if shown else None


def _shrunk(tile: np.ndarray) -> np.ndarray:
    """Every so many pixels of a large tile."""
    step = max(1, round(max(tile.shape[:2]) / (2 * _SMALL)))
    return np.ascontiguousarray(tile[::step, ::step])


FIGURES: dict[str, Figure] = {
    "contributions": _reasons_figure,
    "ablation": lambda s, u, p: last(steering(s, p, "", Unit(u.layer, u.channel), 0.0)).found.figure(),
    "mistakes": lambda s, u, p: mistakes(s.network(), s.passes.source(s.network()), progress=False).figure(),
}
"""By view, what it shows as a figure."""
