"""What a view can ask of a session: iterators of results, run on the session's worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn_lens.engine.maximizing.maximize import STEPS
from nn_lens.engine.maximizing.maximized import Maximized, Real
from nn_lens.engine.maximizing.notes import says_dead
from nn_lens.engine.network.network import Network, receptive_field
from nn_lens.engine.network.receptive_field import ReceptiveField
from nn_lens.engine.pictures import images
from nn_lens.engine.pictures.figures import map_figure
from nn_lens.engine.reading import activations as activations_of
from nn_lens.engine.reading import arithmetic as arithmetic_of
from nn_lens.engine.reading import filters as filters_of
from nn_lens.sessions import finished as finished_of
from nn_lens.sessions import kept_images
from nn_lens.sessions.climbs import Climbs
from nn_lens.sessions.session import Session
from nn_lens.units import Direction, Unit

PREVIEW_STEP = 2  # the first step whose pictures show more than the noise they start from
_LINE = 4096  # neurons whose boxes are told one by one
DRAFT_STEPS = 32  # of an image whose quality is set to draft
PRINTED = 12  # units whose maximizing images a figure shows

Boxes = list[tuple[int, int]]
"""Where the boxes of neurons start and stop along an axis."""

Figure = Callable[[Session, Unit, Any], Any]
"""Makes the matplotlib Figure of a view at a unit and a picture; for the worker's thread alone."""


@dataclass(frozen=True)
class Tiles:
    """One layer's tiles as uint8 levels, in whole or in part.

    `levels` (N, planes, *grid) from unit `start` of `total`, of filters (N, planes, *kernel); `ranges` (N,2): the values of
    levels 0 and 255; `largest`, `mean`, `active` (N,): of the exact values, `active` the share above 0; `where` (N,
    dimensions of the grid): the place of the largest. `colour`: "rgb" (planes are red, green, blue), "diverging" (level
    128 is zero) or "sequential".
    """

    layer: str
    start: int
    total: int
    levels: np.ndarray
    ranges: np.ndarray
    largest: np.ndarray
    mean: np.ndarray
    active: np.ndarray
    where: np.ndarray
    colour: str
    version: int


@dataclass(frozen=True)
class Page:
    """Maximizing images of some units or directions of a layer, finished or on the way.

    `images` (N,C,H,W) in [0,1], of other kinds of input (N,*shape); `activations` (N,), NaN of what is not begun, which is
    grey; `step` counts the steps done, in the mean of the units, of `steps`; `notes` per unit once
    finished, and `real`, the part of a real picture that leads it further than its image, or None; `preview`: whether there is
    more to see than the noise that it starts from; `made`: the units that are finished.
    """

    units: tuple[Unit | Direction, ...]
    images: np.ndarray
    activations: np.ndarray
    step: int
    finished: bool
    notes: tuple[str, ...]
    version: int
    preview: bool = True
    steps: int = STEPS
    made: frozenset[Unit | Direction] = frozenset()
    real: tuple[Real | None, ...] = ()

    @property
    def wanted(self) -> np.ndarray:
        """Of each unit what leads it furthest: its image, or the real picture that does."""
        real = self.real or (None,) * len(self.images)
        return np.stack([i if r is None else r.image for i, r in zip(self.images, real, strict=True)])

    @property
    def dead(self) -> tuple[bool, ...]:
        """Whether each unit is, as its note says."""
        return tuple(map(says_dead, self.notes))


@dataclass(frozen=True)
class Scores:
    """The classes with the largest values, (label, value) each; `shares`: whether values are probabilities or shares."""

    classes: list[tuple[str, float]]
    shares: bool


def scores(session: Session, picture: Any, key: str, k: int = 5) -> Iterator[Scores]:
    """The `k` most probable classes of a picture, which `key` names; of answers that are no probabilities the largest."""
    net = session.network()
    found = session.latest.get(("scores", session.running, key, k), lambda: net.predict(picture, k))
    yield Scores(found, net.output_kind != "values")


def maps(
    session: Session, picture: Any, key: str, layer: str, start: int = 0, count: int | None = None
) -> Iterator[Tiles]:
    """The activation maps of `count` units of `layer` from `start` on; None: of all that follow.

    key: names the picture; maps of the same key, layer and weights are kept.
    """
    net, version = session.network(), session.running
    name = f"maps {version} {key} {layer}"
    kept = session.cache.get(name)
    if kept is None:
        found = activations_of.several_activations(net, picture, [layer])[0][layer].maps
        levels, ranges, signed = images.map_levels(found)
        kept = {
            "levels": levels[:, None], "ranges": ranges.astype(np.float32), "signed": np.array(signed),
            **_numbers(found),
        }  # fmt: skip
        session.cache.put(name, kept)
    yield _part(kept, layer, start, count, images.DIVERGING if kept["signed"] else images.SEQUENTIAL, version)


def filters(session: Session, layer: str, start: int = 0, count: int | None = None) -> Iterator[Tiles]:
    """The filters of `count` units of `layer` from `start` on: in colour where it reads RGB, else one plane per input."""
    net, version = session.network(), session.running
    kept_of = finished_of.finished(session, lambda atlas: atlas.filters(layer)) if finished_of.alone(session) else None
    found = kept_of or filters_of.filters(net, layer)
    of_filter = tuple(range(1, found.weights.ndim))
    levels = images.signed_levels(found.weights, of_filter)
    peak = np.abs(found.weights).max(of_filter)
    kept = {"levels": levels, "ranges": np.stack([-peak * 128 / 127, peak], 1), **_numbers(found.weights)}
    yield _part(kept, layer, start, count, "rgb" if found.reads_rgb else images.DIVERGING, version)


def page(
    session: Session, units: Sequence[Unit | Direction], seed: int = 0, negative: bool = False,
    chosen: Callable[[], Unit | None] = lambda: None,
) -> Iterator[Page]:  # fmt: skip
    """The maximizing images of units or directions, as they become sharper; those that are kept are there at once.

    negative: the pictures that units want least instead. chosen: tells the unit that is looked at, whose image comes first;
    it is asked before each step.
    """
    net, version = session.network(), session.running
    keys = [("negative " if negative else "") + kept_images.key_of(session, unit, seed) for unit in units]
    found = kept_images.those_kept(session, net, keys)
    found = [
        kept_images.of_atlas(session, unit, seed, negative) if e is None else e
        for unit, e in zip(units, found, strict=True)
    ]
    if finished_of.alone(session):
        found = kept_images.with_gaps(session, units, found)
    missing = [i for i, entry in enumerate(found) if entry is None]
    if not missing:
        yield _page(units, found, True, version)
        return
    goals = {i: against(net, units[i]) if negative else units[i] for i in missing}  # type: ignore[arg-type]
    sign = -1 if negative else 1
    steps = DRAFT_STEPS if session.settings.quality == "draft" else None
    climbs = Climbs(net, goals, seed, kept_images.sources_of(session), steps)
    blank = kept_images.entry_of(climbs.blank, np.nan, 0, "")
    found = [blank if entry is None else entry for entry in found]
    made = {unit for i, unit in enumerate(units) if i not in goals}
    while climbs.left:
        unit = chosen()
        climb = climbs.of(units.index(unit) if unit in units else None)
        step = next(climb.steps, None)
        if step is not None:
            for n, i in enumerate(climb.rows):
                found[i] = kept_images.entry_of(step.images[n], sign * step.activations[n], step.index + 1, "")
            preview = climb.run.exact or step.index >= PREVIEW_STEP
            yield _page(units, found, False, version, preview, climb.run.limit, made)
            continue
        result = climbs.end(climb)
        for n, i in enumerate(climb.rows):
            numbers = sign * result.activations[n], result.steps, result.notes[n]
            entry = found[i] = kept_images.entry_of(result.images[n], *numbers, result.real[n])
            session.cache.put(keys[i], entry, keep=True)
            made.add(units[i])
        yield _page(units, found, not climbs.left, version, True, climb.run.limit, made)


def finished(pages: Iterator[Page]) -> Iterator[Page | None]:
    """The finished of `pages`, None for those on the way."""
    for made in pages:
        yield made if made.finished else None


def arithmetic(session: Session, picture: Any, unit: Unit) -> Iterator[arithmetic_of.Arithmetic]:
    """The multiplication behind one neuron's answer to a picture."""
    yield arithmetic_of.arithmetic(session.network(), picture, unit)


def field(session: Session, layer: str) -> Iterator[tuple[ReceptiveField, list[Boxes | None]]]:
    """The receptive field of a layer's neurons; by axis of the input (start, stop) of each neuron of a line, None where
    its size, stride and offset tell.
    """
    net = session.network()
    found, grid = receptive_field(net, layer), net[layer].layout.grid
    axes = range(len(found.size))
    yield found, [_uneven(found, grid, axis) if len(grid) == len(found.size) else None for axis in axes]


def _uneven(found: ReceptiveField, grid: tuple[int, ...], axis: int) -> Boxes | None:
    """Where the boxes of a line of neurons through the middle start and stop, None where they go on evenly."""
    line = [tuple(i if a == axis else n // 2 for a, n in enumerate(grid)) for i in range(grid[axis])]
    if len(line) > _LINE:
        return None
    boxes = [found.box(*place) for place in line]
    own = [(box[axis], box[axis + len(grid)]) for box in boxes]
    size, stride, offset, most = (v[axis] for v in (found.size, found.stride, found.offset, found.input_size))
    told = [(max(0, offset + stride * i), min(most, offset + stride * i + size)) for i in range(len(line))]
    return None if own == told else own


def maximized(session: Session, unit: Unit, seed: int = 0) -> Iterator[Maximized | None]:
    """The maximizing image of one unit, kept or made; None while it is being made."""
    yield from _result(page(session, [unit], seed))


def _page_figure(session: Session, unit: Unit, _picture: Any) -> Any:
    start = unit.channel // PRINTED * PRINTED
    end = min(start + PRINTED, session.network()[unit.layer].channels)
    return last(_result(page(session, [Unit(unit.layer, c) for c in range(start, end)]))).figure()


def _result(pages: Iterator[Page]) -> Iterator[Maximized | None]:
    for found in pages:
        if not found.finished:
            yield None
    names = tuple(map(str, found.units))
    no_history = np.zeros((0, len(names)), np.float32)
    yield Maximized(names, found.images, found.activations, no_history, found.step, 0.0, found.notes, real=found.real)


def against(net: Network, unit: Unit) -> Direction:
    """The direction that points away from a channel, whose maximizing image the channel wants least."""
    vector = np.zeros(net[unit.layer].channels)
    vector[unit.channel] = -1
    return Direction(unit.layer, vector.tolist())


def _page(
    units: Sequence[Unit | Direction], entries: list[Any], finished: bool, version: int, preview: bool = True,
    steps: int = STEPS, made: Iterable[Unit | Direction] = (),
) -> Page:  # fmt: skip
    done = [int(e["steps"]) for e in entries]
    return Page(
        tuple(units), np.stack([e["image"] for e in entries]), np.array([e["activation"] for e in entries]),
        max(done) if finished else -(-sum(done) // len(done)), finished, tuple(str(e["note"]) for e in entries), version,
        preview, steps, frozenset(units if finished else made), tuple(map(kept_images.real_of, entries)),
    )  # fmt: skip


def _numbers(values: np.ndarray) -> dict[str, np.ndarray]:
    """Of each of (N,...) values: the largest, the mean, the share above 0, and where the largest is."""
    flat = values.reshape(len(values), -1)
    where = np.stack(np.unravel_index(flat.argmax(1), values.shape[1:]), 1)
    return {
        "largest": flat.max(1), "mean": flat.mean(1), "active": (flat > 0).mean(1), "where": where.astype(np.float32)
    }  # fmt: skip


def _part(kept: Any, layer: str, start: int, count: int | None, colour: str, version: int) -> Tiles:
    levels = kept["levels"]
    cut = slice(start, None if count is None else start + count)
    numbers = {n: kept[n][cut].astype(np.float32) for n in ("ranges", "largest", "mean", "active", "where")}
    return Tiles(
        layer, start, len(levels), np.ascontiguousarray(levels[cut]), colour=colour, version=version, **numbers
    )


# ---- figures ----


def last(steps: Iterator[Any]) -> Any:
    """The last of `steps`."""
    result = None
    for result in steps:  # noqa: B007
        pass
    return result


def channel_of(unit: Unit) -> Unit:
    """The channel of a neuron."""
    return Unit(unit.layer, unit.channel)


def _all_maps(found: activations_of.Activations) -> Any:
    """All maps of a layer, which a figure in a notebook would cut short."""
    largest = found.maps.reshape(len(found.maps), -1).max(1)
    return map_figure(found.maps, [f"{c}  {v:.3g}" for c, v in enumerate(largest)], most=len(found.maps))


FIGURES: dict[str, Figure] = {
    "unit": lambda s, u, p: last(maximized(s, channel_of(u))).figure(),
    "filters": lambda s, u, p: filters_of.filters(s.network(), u.layer).figure(),
    "maximization": _page_figure,
    "activations": lambda s, u, p: _all_maps(activations_of.activations(s.network(), p, u.layer)),
    "arithmetic": lambda s, u, p: arithmetic_of.arithmetic(s.network(), p, u).figure(),
}
"""By view, what it shows as a figure."""
