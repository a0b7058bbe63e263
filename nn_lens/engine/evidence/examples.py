"""Dataset examples: the real pictures that move each unit most and least, of one pass over any dataset.

The pass keeps, for every unit at once, the `k` highest and lowest pictures and a uniform sample of its values, so
that its memory does not grow with the dataset.

Reference: Borowski et al., 2021, "Exemplary natural images explain CNN activations better than state-of-the-art
feature visualization"; Vitter, 1985, "Random sampling with a reservoir".
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nn_lens.engine.evidence.dataset_pass import Known, Pass, Score, strongest
from nn_lens.engine.evidence.example import Example, draw_patch
from nn_lens.engine.evidence.extremes import NONE, Side
from nn_lens.engine.network.network import Network, as_network, receptive_field
from nn_lens.engine.pictures.datasets import Source, source_of
from nn_lens.engine.pictures.results import Result
from nn_lens.errors import LensError, UnknownUnit
from nn_lens.units import Direction, Unit, as_unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SAVED_EVERY = 30.0  # seconds
_VERSION = 2  # of kept passes


class _ByUnit(Mapping[Unit | Direction, "list[Example]"]):
    """Examples by Unit, or by its text."""

    def __init__(self, units: Sequence[Unit | Direction], make: Callable[[int], list[Example]]) -> None:
        self._columns, self._make = {u: i for i, u in enumerate(units)}, make

    def __getitem__(self, unit: Any) -> list[Example]:
        return self._make(_column(self._columns, unit))

    def __iter__(self) -> Iterator[Unit | Direction]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


@dataclass(frozen=True, repr=False)
class DatasetExamples(Result):
    """What one pass over a dataset says of `units`.

    `count` pictures were seen; `skipped` says of those that could not be read why. `top` and `bottom`: by unit, the
    `k` pictures (fewer if there are fewer) that move it most and least, that first, ties by index; pictures that it
    answers with NaN are in neither. `exact`: whether quantiles and histograms are of all pictures, or of a
    uniform sample of them.
    """

    units: tuple[Unit | Direction, ...]
    k: int
    score: str
    count: int
    skipped: tuple[str, ...]
    _net: Network
    _known: Known
    _source: Source

    @property
    def top(self) -> Mapping[Unit | Direction, list[Example]]:
        """By unit, the pictures that move it most, the first most."""
        return _ByUnit(self.units, lambda u: self._examples(self._known.top, u))

    @property
    def bottom(self) -> Mapping[Unit | Direction, list[Example]]:
        """By unit, the pictures that move it least, the first least."""
        return _ByUnit(self.units, lambda u: self._examples(self._known.bottom, u))

    @property
    def exact(self) -> bool:
        """Whether quantiles and histograms are of all pictures."""
        return self.count <= self._known.sample.count

    def picture(self, example: Example) -> torch.Tensor:
        """The whole picture of an example, as the network sees it: (C,H,W) in [0,1]; of other kinds, of the
        input's shape.
        """
        kept = self._known.kept.get(example.index)
        if kept is None:
            return self._source[example.index]
        return kept.float() / 255 if kept.dtype == torch.uint8 else kept

    def values(self, unit: Unit | Direction | str) -> np.ndarray:
        """(n,) float32 scores of the pictures, or of a uniform sample of them, without NaN."""
        values = self._known.sample.column(self._column(unit))
        return np.asarray(values[~np.isnan(values)])

    def quantiles(self, unit: Unit | Direction | str, q: Any = (0, 0.25, 0.5, 0.75, 1)) -> np.ndarray:
        """Values below which the shares `q` (0 to 1) of the pictures lie, linear between pictures."""
        shares = np.asarray(q, np.float64)
        if shares.size == 0 or not ((shares >= 0) & (shares <= 1)).all():
            raise LensError(f"q is a share from 0 to 1, or several; got {q!r}.")
        values = self.values(unit)
        return np.asarray(np.quantile(values, shares) if len(values) else np.full(shares.shape, np.nan), np.float32)

    def histogram(self, unit: Unit | Direction | str, bins: int = 32) -> tuple[np.ndarray, np.ndarray]:
        """(bins,) counts of pictures and (bins + 1,) edges from the smallest to the largest value."""
        counts, edges = np.histogram(self.values(unit), bins)
        return counts, edges.astype(np.float32)

    def percentile(self, unit: Unit | Direction | str, activation: float) -> float:
        """Percent of the pictures that move the unit less than `activation`; of equal ones, half."""
        values = self.values(unit)
        if not len(values):
            return float("nan")
        return float(100 * ((values < activation).mean() + (values == activation).mean() / 2))

    def active(self, unit: Unit | Direction | str) -> float:
        """Share of the pictures, 0 to 1, that move the unit above 0."""
        values = self.values(unit)
        return float((values > 0).mean()) if len(values) else float("nan")

    def spectrum(self, unit: Unit | Direction | str, n: int = 9) -> list[Example]:
        """`n` pictures at even ranks, from the one that moves the unit least to the one that moves it most."""
        column = self._column(unit)
        values, indices = self._known.sample.column(column), self._known.sample.indices
        order = np.lexsort((indices, values))[: int((~np.isnan(values)).sum())]
        if self._source.one_by_one or not len(order):
            low, high = self.bottom[self.units[column]], self.top[self.units[column]]
            return [*low[: n // 2], *reversed(high[: n - n // 2])]
        ranks = np.unique(np.linspace(0, len(order) - 1, max(2, n)).round().astype(int))
        picks = [*self.bottom[self.units[column]][:1], *self.top[self.units[column]][:1]]
        middle = [(int(indices[i]), float(values[i])) for i in order[ranks[1:-1]]]
        return [picks[0], *self._at_strongest(column, middle), picks[-1]]

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        of = f"{self.units[0]}" + (f" and {len(self.units) - 1} more" if len(self.units) > 1 else "")
        if not self.count:
            return f"Dataset examples of {of}, no picture seen yet"
        high = self.top[self.units[0]]
        most = f"; picture {high[0].index} moves {self.units[0]} most, to {high[0].activation:.3g}" if high else ""
        return f"Examples of {self.count} pictures, from least to most, of {of}{most}"

    def figure(self, units: Sequence[Unit | Direction | str] | None = None, n: int = 9) -> Figure:
        """A row per unit, at most 8: `n` pictures from the one that moves it least to the one that moves it most."""
        from matplotlib.figure import Figure

        shown = [self.units[self._column(u)] for u in units] if units is not None else list(self.units[:8])
        if self._net.kind == "vector":
            return self._histograms(shown)
        wide = 1.6 if self._net.kind in ("signal", "sequence") else 0.9
        figure = Figure(figsize=(n * wide, len(shown) * 1.15 + 0.1))
        for r, unit in enumerate(shown):
            for c, example in enumerate(self.spectrum(unit, n)):
                axes = figure.add_subplot(len(shown), n, r * n + c + 1)
                title = f"{unit}\n{example.activation:.3g}" if c == 0 else f"{example.activation:.3g}"
                draw_patch(axes, example.patch, self._net.kind)
                axes.set_title(title, fontsize=6, pad=1.5)
        figure.subplots_adjust(0.01, 0.01, 0.99, 0.86, 0.06, 0.35)
        return figure

    def _histograms(self, units: Sequence[Unit | Direction]) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 1.3 * len(units) + 0.3))
        for i, unit in enumerate(units):
            counts, edges = self.histogram(unit)
            axes = figure.add_subplot(len(units), 1, i + 1)
            axes.stairs(counts, edges, fill=True)
            axes.set_title(str(unit), fontsize=7)
        figure.tight_layout()
        return figure

    def require(self, unit: Unit | Direction | str) -> None:
        """Nothing, for a unit that the pass looked at.

        Raises:
            UnknownUnit: it did not.
        """
        self._column(unit)

    def _column(self, unit: Unit | Direction | str) -> int:
        return _column({u: i for i, u in enumerate(self.units)}, unit)

    def _examples(self, side: Side, column: int) -> list[Example]:
        examples = []
        for j in range(self.k):
            index = int(side.indices[column, j])
            if index != NONE:
                place = int(side.places[column, j])
                examples.append(self._example(column, index, float(side.values[column, j]), place))
        return examples

    def _example(self, column: int, index: int, value: float, place: int) -> Example:
        net, layer = self._net, self._net[self.units[column].layer]
        where = tuple(int(i) for i in np.unravel_index(place, layer.layout.grid))
        return Example(index, value, where, net.kind, receptive_field(net, layer.name), self.picture)

    def _at_strongest(self, column: int, picks: Sequence[tuple[int, float]]) -> list[Example]:
        """Examples of pictures whose strongest place is not known yet."""
        net, unit, known = self._net, self.units[column], self._known
        if not picks:
            return []
        if known.places is not None:
            at = dict(zip(known.sample.indices.tolist(), known.places(column).tolist(), strict=True))
            return [self._example(column, i, v, at[i]) for i, v in picks]
        x = torch.stack([self._source[index] for index, _ in picks]).float()
        with net.evaluation(), torch.no_grad():
            maps = net.outputs(x, [unit.layer])[unit.layer].float().cpu()
        if isinstance(unit, Direction):
            own = torch.einsum("nc...,c->n...", maps, torch.tensor(unit.vector))
        else:
            own = maps[:, unit.channel]
        places = strongest(own).tolist()
        if isinstance(unit, Unit) and unit.place is not None:
            places = [int(np.ravel_multi_index(unit.place, own.shape[1:]))] * len(places)
        return [self._example(column, i, v, p) for (i, v), p in zip(picks, places, strict=True)]


def dataset_examples(
    net: Network,
    units: Any,
    dataset: Any = None,
    k: int = 9,
    score: Score = "max",
    *,
    progress: bool = True,
    resume: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> DatasetExamples:
    """The pictures of a dataset that move units most and least, with quantiles and histogram, in one pass.

    Args:
        net: the network.
        units: a unit, a direction, a layer's name for all its channels, or a list of such.
        dataset: Dataset or DataLoader (of pictures or (picture, target)), folder, list, (N,C,H,W) tensor in [0,1], of
            other kinds (N,*input_shape); None: the bundled networks' own pictures, else crops of sample pictures.
        k: how many at each end.
        score: of a channel's map: "max" or "mean" over places, or a callable (N,C,*grid) -> (N,C), the grid being (H,W)
            of pictures. A unit with a place
            scores its answer there.
        progress: whether to show a bar with rate and time left, once the pass takes more than a second.
        resume: a file in which the pass is kept as it goes; if it is there, and of the same network and question,
            the pass goes on where it stopped.
        seed: of the sample that quantiles are made of, where there are too many pictures to keep all values.

    Raises:
        LensError: no such unit, k below 1, a score of the wrong shape, or a source without pictures.

    >>> net = nl.demo()
    >>> examples = nl.dataset_examples(net, "relu2:3", net.samples, k=2, progress=False)
    >>> examples.count, [example.index for example in examples.top["relu2:3"]]
    (7, [1, 6])
    """
    from tqdm.auto import tqdm

    source = source_of(as_network(net), dataset)
    known: DatasetExamples | None = None
    with tqdm(total=source.total, unit=" pictures", disable=not progress, delay=1, leave=False) as bar:
        for known in dataset_examples_steps(net, units, source, k, score, resume=resume, seed=seed):
            bar.update(known.count - bar.n)
    assert known is not None
    return known


def dataset_examples_steps(
    net: Network,
    units: Any,
    dataset: Any = None,
    k: int = 9,
    score: Score = "max",
    *,
    resume: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Iterator[DatasetExamples]:
    """What `dataset_examples` knows after each batch, each a result of its own that later batches do not change.

    Same arguments and errors. Closing the iterator stops within a batch.

    >>> net = nl.Network(torch.nn.Sequential(torch.nn.Linear(4, 2)), (4,))
    >>> [step.count for step in nl.dataset_examples_steps(net, "0", torch.rand(600, 4))]
    [256, 512, 600]
    """
    net = as_network(net)
    looked_at = tuple(dict.fromkeys(net.units_and_directions(units, layers=True)))
    if not isinstance(k, int) or k < 1:
        raise LensError(f"k is a whole number of examples, 1 or more, got {k!r}.")
    if isinstance(score, str) and score not in ("max", "mean"):
        raise LensError(f'score is "max", "mean" or a callable (N,C,*grid) -> (N,C), got {score!r}.')
    return _steps(net, looked_at, source_of(net, dataset), k, score, resume, seed)


def _steps(
    net: Network, units: tuple[Unit | Direction, ...], source: Source, k: int, score: Score, resume: Any, seed: int
) -> Iterator[DatasetExamples]:
    name = score if isinstance(score, str) else getattr(score, "__qualname__", "callable")
    ongoing = Pass(net, units, k, score, seed, keep=source.one_by_one)
    file = None if resume is None else Path(resume).expanduser()
    settings = {
        "version": _VERSION,
        "units": [str(u) for u in units],
        "k": k,
        "score": name,
        "seed": seed,
        "weights": net.fingerprint(),
    }
    if file is not None and file.is_file():
        ongoing.load(file, settings)
    saved = time.monotonic()

    def known() -> DatasetExamples:
        return DatasetExamples(units, k, name, ongoing.count, tuple(source.skipped), net, ongoing.known(), source)

    try:
        if ongoing.count:
            yield known()
        layers = {unit.layer for unit in units}
        for batch in source.batches(net.batch_size(layers), skip=ongoing.read):
            ongoing.take(batch)
            if file is not None and time.monotonic() - saved > _SAVED_EVERY:
                ongoing.save(file, settings)
                saved = time.monotonic()
            yield known()
    finally:
        if file is not None:
            ongoing.save(file, settings)


def _column(columns: Mapping[Unit | Direction, int], unit: Any) -> int:
    unit = unit if isinstance(unit, Direction) else as_unit(unit)
    if unit not in columns:
        raise UnknownUnit(f"{unit} is not among the {len(columns)} units that were looked at; pass it in units=.")
    return columns[unit]
