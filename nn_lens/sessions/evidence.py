"""Evidence, as views ask for it: real pictures that move a unit, how far its maximizing image may be believed, what in a
picture speaks for an answer, what the answer would be without the unit, what feeds it, whether it is more telling than a
random direction, and which pictures its layer takes for alike.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch

from nn_lens.engine.evidence import directions, trust
from nn_lens.engine.evidence.ablation import Ablation, ablate
from nn_lens.engine.evidence.attribution.attribute import Attribution, attribute
from nn_lens.engine.evidence.attribution.methods import METHODS
from nn_lens.engine.evidence.embedding import Embedding, embedding
from nn_lens.engine.evidence.examples import DatasetExamples, dataset_examples_steps
from nn_lens.engine.evidence.trust import Badge
from nn_lens.engine.maximizing import restarts
from nn_lens.engine.pictures.datasets import Source, source_of
from nn_lens.engine.reading.incoming import Incoming, incoming
from nn_lens.errors import LensError
from nn_lens.sessions.requests import maximized, page
from nn_lens.sessions.session import Session
from nn_lens.units import Direction, Unit

_OFTEN = 0.25  # seconds between what is shown of a pass
_SHOWN = 9  # pictures from least to most
_LAYERS = 4  # whose passes are kept
_DIRECTIONS = 3  # random ones, beside the units
_EMBEDDED = 400  # pictures
_FEEDING = 8  # units that feed another
_MOST_WITH_TARGETS = 5000  # pictures over which accuracy is followed live


@dataclass(frozen=True)
class Spectrum:
    """Pictures from the one that moves a unit least to the one that moves it most, so far or of the whole dataset.

    `patches`: (h,w,3) uint8 each, what the neuron sees; `activations` (n,). `quantiles` (101,): the values below which 0 to
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
    liveliness: Badge
    version: int


@dataclass(frozen=True)
class Beside:
    """A unit, or a random direction as long: the pictures that move it most, the first most, and by how much.

    `patches` and `activations` as of a Spectrum; `apart`: how many standard deviations above the mean the first is.
    """

    name: str
    patches: tuple[np.ndarray, ...]
    activations: np.ndarray
    apart: float


def examples(session: Session, unit: Unit) -> Iterator[Spectrum | None]:
    """The real pictures that move `unit` least to most, as the pass over the dataset goes on.

    A layer's pass is kept: another of its units, asked for in the middle, goes on with it. None: nothing new to show.
    """
    net, version = session.network(), session.running
    for found, finished in _now_and_then(passed(session, unit.layer)):
        if found is None:
            yield None
            continue
        low_to_high = found.spectrum(unit, _SHOWN)
        counts, edges = found.histogram(unit, 40)
        yield Spectrum(
            unit, tuple(e.patch for e in low_to_high), np.array([e.activation for e in low_to_high], np.float32),
            found.quantiles(unit, np.linspace(0, 1, 101)), counts.astype(np.float32), edges, found.count,
            _source(session).total, len(found.skipped), finished, trust.liveliness(net, unit, examples=found), version,
        )  # fmt: skip


def beside_directions(session: Session, unit: Unit) -> Iterator[tuple[tuple[Beside, ...], int] | None]:
    """`unit` and random directions of its layer, and how many pictures were seen, as the pass over the dataset goes on."""
    for found, _ in _now_and_then(passed(session, unit.layer)):
        if found is None:
            yield None
            continue
        random = [d for d in found.units if isinstance(d, Direction)]
        named: dict[str, Unit | Direction] = {str(unit): unit, **{f"random {i + 1}": d for i, d in enumerate(random)}}
        yield tuple(_beside(found, name, one) for name, one in named.items()), found.count


def _beside(found: DatasetExamples, name: str, unit: Unit | Direction) -> Beside:
    top, values = found.top[unit], found.values(unit).astype(np.float64)
    spread = float(values.std()) if len(values) else 0.0
    apart = (top[0].activation - float(values.mean())) / spread if top and spread > 0 else float("nan")
    return Beside(name, tuple(e.patch for e in top), np.array([e.activation for e in top], np.float32), apart)


def embedded(session: Session, layer: str) -> Iterator[Embedding]:
    """Pictures of the dataset laid out by what `layer` says of them: by PCA, which is quick, then by t-SNE."""
    source = _source(session)
    total = source.total
    if source.one_by_one or total is None:
        chosen: Any = list(islice(iter(source.items), _EMBEDDED))
        numbers = np.arange(len(chosen))
    else:
        numbers = np.unique(np.linspace(0, total - 1, min(total, _EMBEDDED)).round().astype(int))
        chosen = [source[int(i)] for i in numbers]
    found = embedding(session.network(), chosen, layer, "pca")
    found = replace(found, indices=numbers[found.indices])
    yield found
    yield found.by("tsne")


def badges(session: Session, unit: Unit) -> Iterator[tuple[Badge, ...]]:
    """How far the unit's maximizing image may be believed: one number more each time."""
    net = session.network()
    found = yield from _to_the_end(passed(session, unit.layer), ())
    said: list[Badge] = [trust.liveliness(net, unit, examples=found)]
    yield tuple(said)
    image = yield from _to_the_end(((image, image) for image in maximized(session, unit)), tuple(said))
    said.append(trust.percentile(net, unit, examples=found, maximized=image))
    yield tuple(said)
    if len(net.input_shape) == 3:
        said.append(trust.transfer(net, unit, maximized=image))
        yield tuple(said)
        starts = restarts.begun(net, unit, trust.STARTS)
        for _ in starts.steps():
            yield tuple(said)
        said.append(trust.agreement(net, unit, starts=restarts.judged(net, unit, starts)))
        yield tuple(said)
        said.append(trust.randomized_control(net, unit, maximized=image).badge)
        yield tuple(said)
        if sum(e.activation > 0 for e in found.top[unit]) > 1:
            said.append(trust.natural_path(net, unit, examples=found, maximized=image).badge)
            yield tuple(said)


def feeding(session: Session, unit: Unit) -> Iterator[tuple[Incoming, dict[Unit, np.ndarray]]]:
    """The units that feed `unit`, with their maximizing images, (C,H,W) in [0,1], as these are finished."""
    found = incoming(session.network(), unit, _FEEDING)
    pictures: dict[Unit, np.ndarray] = {}
    yield found, {}
    for layer in dict.fromkeys(u.layer for u in found.units):
        units = [u for u in found.units if u.layer == layer]
        for made in page(session, units):
            if made.finished and made.images.ndim == 4:
                pictures |= dict(zip(units, made.images, strict=True))
            yield found, dict(pictures)


def _now_and_then(steps: Iterator[tuple[Any, bool]]) -> Iterator[tuple[Any, bool]]:
    """The first of `steps`, the finished one, and one in `_OFTEN` seconds between; (None, False) for the others."""
    told = -_OFTEN
    for found, finished in steps:
        now = time.monotonic()
        if finished or now - told >= _OFTEN:
            told = now
            yield found, finished
        else:
            yield None, False


def _to_the_end(steps: Iterator[tuple[Any, Any]], meanwhile: Any) -> Generator[Any, None, Any]:
    """The first of the last pair of `steps`; yields `meanwhile` before each."""
    last: Any = None
    for last in steps:  # noqa: B007
        yield meanwhile
    return last[0]


def attributions(session: Session, picture: Any, target: Unit | int) -> Iterator[tuple[str, Attribution | str]]:
    """What in a picture speaks for a target, by every method: (method, map beside that of shuffled weights, or why not).

    target: a unit, or the rank of a class among the network's answers, 0 the most probable.
    """
    net = session.network()
    if isinstance(target, int):
        target = int(np.argsort(-net.scores(picture), kind="stable")[target])
    for method in METHODS:
        try:
            yield method, attribute(net, picture, target, method, control=True)
        except LensError as error:
            yield method, str(error)


def ablations(session: Session, picture: Any, unit: Unit, scale: float) -> Iterator[tuple[Ablation, Ablation | None]]:
    """What the answer to a picture would be with a unit's answers times `scale`, then accuracy on the dataset, if it has targets."""
    net = session.network()
    own = ablate(net, [picture], unit, scale)
    yield own, None
    source = _source(session)
    total = source.total
    if total is None or total > _MOST_WITH_TARGETS or source.target(0) is None:
        return
    yield own, ablate(net, source, unit, scale, controls=3)


def _source(session: Session) -> Source:
    kept = session.kept
    if "source" not in kept:
        kept["source"] = source_of(session.network(), session.dataset)
    source: Source = kept["source"]
    return source


def passed(session: Session, layer: str) -> Iterator[tuple[DatasetExamples, bool]]:
    """A layer's pass over the dataset, from where it is; (what is known, whether that is all)."""
    net, key = session.network(), ("examples", session.running, layer)
    passes: dict[Any, Any] = session.kept.setdefault("passes", {})
    entry = passes.pop(key, None)
    if entry is None:
        of = [layer, *directions.random(net, layer, _DIRECTIONS)]
        entry = {"steps": dataset_examples_steps(net, of, _source(session)), "found": None, "finished": False}
    passes[key] = entry
    for old in [k for k in passes if k[1] != session.running] or list(passes)[:-_LAYERS]:
        del passes[old]
    while not entry["finished"]:
        if entry["found"] is not None:
            yield entry["found"], False
        try:
            with torch.inference_mode(False):
                found = next(entry["steps"], None)
        except Exception:
            passes.pop(key, None)  # what failed begins anew when it is asked for again
            raise
        entry["found"], entry["finished"] = found or entry["found"], found is None
    yield entry["found"], True
