"""Evidence, as views ask for it: real pictures that move a unit, how far its maximizing image may be believed, what in a
picture speaks for an answer, what the answer would be without the unit, what feeds it, whether it is more telling than a
random direction, and which pictures its layer finds similar.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from nn_lens.engine.evidence import embedding as embedding_of
from nn_lens.engine.evidence import trust as badges
from nn_lens.engine.evidence.attribution.attribute import Attribution, attribute, attribute_all
from nn_lens.engine.evidence.attribution.methods import METHODS
from nn_lens.engine.evidence.badges import badges as badges_of_image
from nn_lens.engine.evidence.examples import DatasetExamples
from nn_lens.engine.pictures.charts import charts
from nn_lens.engine.pictures.items import parts
from nn_lens.engine.reading import incoming as feeding
from nn_lens.errors import LensError
from nn_lens.sessions import finished as finished_of
from nn_lens.sessions.requests import Figure, channel_of, last, maximized, page
from nn_lens.sessions.session import Session
from nn_lens.sessions.targets import Target, ranked, resolved
from nn_lens.units import Direction, Unit

_OFTEN = 0.25  # seconds between what is shown of a pass
_SHOWN = 9  # pictures from least to most
_EMBEDDED = 400  # pictures
_NEAR = 8  # neighbours of each
_SMALL = 32  # pixels of the thumbnail of what is no picture
_INCOMING = 8  # units that feed another


@dataclass(frozen=True)
class Spectrum:
    """Pictures from the one that moves a unit least to the one that moves it most, so far or of the whole dataset.

    `patches`: what the neuron sees, (h,w,3) uint8 each, of other kinds of input its numbers; `activations` (n,). `quantiles` (101,): the values below which 0 to
    100 percent of the pictures lie; `counts`, `edges`: their histogram. `total`: of the dataset, None if it is not known.
    """

    unit: Unit
    patches: tuple[np.ndarray, ...]
    activations: np.ndarray
    quantiles: np.ndarray
    counts: np.ndarray
    edges: np.ndarray
    count: int
    total: int | None
    skipped: int
    finished: bool
    liveliness: badges.Badge


@dataclass(frozen=True)
class Comparison:
    """A unit, or a random direction as long: the pictures that move it most, the first most, and by how much.

    `patches` and `activations` as of a Spectrum; `apart`: how many standard deviations above the mean the first is.
    """

    name: str
    patches: tuple[np.ndarray, ...]
    activations: np.ndarray
    apart: float


# ---- real pictures ----


def dataset_pass(session: Session, layer: str) -> Iterator[tuple[DatasetExamples, bool]]:
    """A layer's pass over the dataset, from where it is; (what is known, whether that is all)."""
    net = session.network()
    return session.passes.over(net, session.running, layer)


def _examples_of(session: Session, layer: str) -> Iterator[tuple[DatasetExamples, bool]]:
    """As a pass gives them; those of an atlas at once."""
    kept = finished_of.examples(session, layer)
    return dataset_pass(session, layer) if kept is None else iter([(kept, True)])


def examples(session: Session, unit: Unit) -> Iterator[Spectrum | None]:
    """The real pictures that move `unit` least to most, as the pass over the dataset goes on.

    A layer's pass is kept: another of its units, asked for in the middle, goes on with it. None: nothing new to show.
    """
    net = session.network()
    for known, finished in _now_and_then(_examples_of(session, unit.layer)):
        if known is None:
            yield None
            continue
        total = known.count + len(known.skipped) if finished else session.passes.source(net).total
        low_to_high = known.spectrum(unit, _SHOWN)
        counts, edges = known.histogram(unit, 40)
        yield Spectrum(
            unit, tuple(finished_of.patch_of(e) for e in low_to_high), np.array([e.activation for e in low_to_high], np.float32),
            known.quantiles(unit, np.linspace(0, 1, 101)), counts.astype(np.float32), edges, known.count,
            total, len(known.skipped), finished, badges.liveliness(net, unit, examples=known),
        )  # fmt: skip


def _examples_figure(session: Session, unit: Unit, _picture: Any) -> Any:
    known, _ = last(_examples_of(session, unit.layer))
    return known.figure([channel_of(unit)])


def directions(session: Session, unit: Unit) -> Iterator[tuple[tuple[Comparison, ...], int] | None]:
    """`unit` and random directions of its layer, and how many pictures were seen, as the pass over the dataset goes on."""
    for known, _ in _now_and_then(dataset_pass(session, unit.layer)):
        if known is None:
            yield None
            continue
        random = [d for d in known.units if isinstance(d, Direction)]
        named: dict[str, Unit | Direction] = {str(unit): unit, **{f"random {i + 1}": d for i, d in enumerate(random)}}
        yield tuple(_comparison(known, name, one) for name, one in named.items()), known.count


def _comparison(known: DatasetExamples, name: str, unit: Unit | Direction) -> Comparison:
    top, values = known.top[unit], known.values(unit).astype(np.float64)
    spread = float(values.std()) if len(values) else 0.0
    apart = (top[0].activation - float(values.mean())) / spread if top and spread > 0 else float("nan")
    return Comparison(name, tuple(e.patch for e in top), np.array([e.activation for e in top], np.float32), apart)


def _directions_figure(session: Session, unit: Unit, _picture: Any) -> Any:
    known, _ = last(dataset_pass(session, unit.layer))
    return known.figure([channel_of(unit), *(u for u in known.units if not isinstance(u, Unit))])


@dataclass(frozen=True)
class Plane:
    """Pictures of the dataset in the plane: `found`, by rows of its points `near` (N,k), the rows whose codes are nearest,
    nearest first, and `classes` (N,), -1 where the dataset has none.
    """

    found: embedding_of.Embedding
    near: np.ndarray
    classes: np.ndarray


def nearest_codes(codes: np.ndarray, count: int = _NEAR) -> np.ndarray:
    """(N,k) rows whose codes lie nearest to each, itself left out; by the cosine of codes less their mean."""
    own = codes.astype(np.float64) - codes.mean(0)
    own /= np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
    alike = own @ own.T
    np.fill_diagonal(alike, -np.inf)
    return np.argsort(-alike, axis=1, kind="stable")[:, : min(count, len(codes) - 1)].astype(np.int32)


@dataclass(frozen=True)
class Reading:
    """How many pictures of `total` a layer has been asked about."""

    layer: str
    read: int
    total: int


def embedding(session: Session, layer: str) -> Iterator[Plane | Reading]:
    """Pictures of the dataset laid out by what `layer` says of them: by PCA, which is quick, then by t-SNE."""
    net = session.network()
    source = session.passes.source(net)
    total = source.total
    if source.one_by_one or total is None:
        chosen: Any = list(islice(iter(source.items), _EMBEDDED))
        numbers = np.arange(len(chosen))
    else:
        numbers = np.unique(np.linspace(0, total - 1, min(total, _EMBEDDED)).round().astype(int))
        chosen = [source[int(i)] for i in numbers]
    yield Reading(layer, 0, len(chosen))
    for step in embedding_of.embedding_steps(net, chosen, layer, "pca"):
        if isinstance(step, int):
            yield Reading(layer, step, len(chosen))
        else:
            laid_out = step
    if laid_out.thumbnails is None:
        read = (net.picture(parts(chosen[i], net.input_shape)[0]).numpy() for i in laid_out.indices)
        small = charts([*read], net.kind, width=_SMALL, height=_SMALL)
        laid_out = replace(laid_out, thumbnails=small)
    laid_out = replace(laid_out, indices=numbers[laid_out.indices])
    targets = [None if total is None else source.target(int(i)) for i in laid_out.indices]
    classes = np.array([-1 if target is None else target for target in targets], np.int32)
    near = nearest_codes(laid_out.codes)
    yield Plane(laid_out, near, classes)
    yield Plane(laid_out.by("tsne"), near, classes)


# ---- belief ----


def trust(session: Session, unit: Unit) -> Iterator[tuple[badges.Badge, ...] | None]:
    """How far the unit's maximizing image may be believed: one number more each time. None: nothing new."""
    net = session.network()
    said: list[badges.Badge] = []

    def more(badge: badges.Badge) -> tuple[badges.Badge, ...]:
        said.append(badge)
        return tuple(said)

    yield ()
    kept = finished_of.finished(session, lambda atlas: atlas.trust(unit))
    if kept is not None:
        yield kept
        return
    known = yield from _to_the_end(dataset_pass(session, unit.layer))
    yield more(badges.liveliness(net, unit, examples=known))
    image = yield from _to_the_end((image, None) for image in maximized(session, unit))
    for badge in badges_of_image(net, unit, known, image):
        yield None if badge is None else more(badge)


# ---- causes ----


def attribution(session: Session, picture: Any, key: str, target: Target) -> Iterator[tuple[str, Attribution | str]]:
    """What in a picture speaks for a target, by every method: (method, map and that of shuffled weights, or why not).

    key: names the picture.
    """
    net = session.network()
    of_picture = (session.running, key)
    wanted = resolved(session, picture, key, target)
    for method in METHODS:
        name = ("attribution", *of_picture, str(wanted), method)
        try:
            yield method, session.latest.get(name, partial(attribute, net, picture, wanted, method, control=True))
        except LensError as error:
            yield method, str(error)


def _attribution_figure(session: Session, _unit: Unit, picture: Any) -> Any:
    net = session.network()
    return attribute_all(net, picture, ranked(net, picture)[0], control=True).figure()


def incoming(session: Session, unit: Unit) -> Iterator[tuple[feeding.Incoming, dict[Unit, np.ndarray]] | None]:
    """The units that feed `unit`, with what they want most, (C,H,W) in [0,1] or of the input's shape, as these are finished.
    None: nothing new.
    """
    found = feeding.incoming(session.network(), unit, _INCOMING)
    pictures: dict[Unit, np.ndarray] = {}
    yield found, {}
    for layer in dict.fromkeys(u.layer for u in found.units):
        units = [u for u in found.units if u.layer == layer]
        for made in page(session, units):
            if made.finished:
                pictures |= dict(zip(units, made.wanted, strict=True))
                yield found, dict(pictures)
            else:
                yield None


FIGURES: dict[str, Figure] = {
    "examples": _examples_figure,
    "attribution": _attribution_figure,
    "incoming": lambda s, u, p: feeding.incoming(s.network(), channel_of(u)).figure(),
    "directions": _directions_figure,
    "embedding": lambda s, u, p: last(embedding(s, u.layer)).found.figure(),
}
"""By view, what it shows as a figure."""


# ---- steps ----


def _now_and_then(steps: Iterator[tuple[Any, bool]]) -> Iterator[tuple[Any, bool]]:
    """The first of `steps`, the finished one, and one in `_OFTEN` seconds between; (None, False) for the others."""
    told = -_OFTEN
    for known, finished in steps:
        now = time.monotonic()
        if finished or now - told >= _OFTEN:
            told = now
            yield known, finished
        else:
            yield None, False


def _to_the_end(steps: Iterator[tuple[Any, Any]]) -> Generator[None, None, Any]:
    """The first of the last pair of `steps`; yields None before each."""
    pair: Any = None
    for pair in steps:  # noqa: B007
        yield None
    return pair[0]
