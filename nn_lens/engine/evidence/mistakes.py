"""Mistakes: the pictures of a dataset that a network calls wrong, and which classes it takes for which, in one pass.

Reference: Yosinski et al., 2015, "Understanding neural networks through deep visualization", and Zeiler and Fergus, 2014,
look into a network where it fails; the table of counts is the confusion matrix of any textbook.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from nn_lens.engine.evidence.effect_pass import known_class, mask_of_answers, says_yes_or_no
from nn_lens.engine.evidence.effects import MIDDLE
from nn_lens.engine.network.answers import meaning
from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.charts import charts
from nn_lens.engine.pictures.datasets import PictureBatch, Source, source_of
from nn_lens.engine.pictures.results import Result, tile_figure
from nn_lens.errors import LensError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWN = 24


class Mistake(NamedTuple):
    """A picture that is called wrong: its index in the dataset, the class that it is of, what was said, and how surely."""

    picture: int
    true: int
    said: int
    probability: float


class Unsure(NamedTuple):
    """A picture's index in the dataset, what was said of it, and how surely."""

    picture: int
    said: int
    probability: float


class Confusion(NamedTuple):
    """How many pictures of a class were called another."""

    true: int
    said: int
    pictures: int


@dataclass(frozen=True, repr=False)
class Mistakes(Result):
    """What a pass over a dataset says of a network's answers.

    `count` pictures were seen, and `labelled` of them have a class; `skipped` says of those that could not be read why.
    `wrong`: of those called wrong the `k` most surely wrong, the surest first, ties by index; `wrong_count` counts all.
    `unsure`: the `k` of all pictures of which the network is least sure. `confusions`: pairs of classes with counts, the
    most confused first, of all. `accuracy`: {class: share, 0 to 1} of the classes that occur; None where no picture has a
    class. Classes are indices, of a network that says yes or no 1 and 0; `name` says what one is called.
    """

    k: int
    count: int
    labelled: int
    wrong: list[Mistake]
    wrong_count: int
    unsure: list[Unsure]
    confusions: list[Confusion]
    accuracy: dict[int, float] | None
    skipped: tuple[str, ...]
    total: int | None
    _net: Network
    _source: Source
    _kept: Mapping[int, torch.Tensor] = field(default_factory=dict)

    @property
    def overall(self) -> float | None:
        """Share of the pictures with a class that are called right, 0 to 1; None where none has one."""
        return 1 - self.wrong_count / self.labelled if self.labelled else None

    def name(self, index: int) -> str:
        """What a class is called."""
        if says_yes_or_no(self._net):
            return f"{'' if index else 'not '}{self._net.label(0)}"
        return self._net.label(index)

    def picture(self, of: Mistake | Unsure | int) -> torch.Tensor:
        """The whole picture, as the network sees it: (C,H,W) in [0,1]; of other kinds, of the input's shape."""
        index = of if isinstance(of, int) else of.picture
        kept = self._kept.get(index)
        return self._source[index] if kept is None else kept

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        some = f"{self.count} {self._net.kind}{'s' * (self.count != 1)}"
        if self.overall is None:
            if not self.unsure:
                return f"Mistakes: no {self._net.kind} seen yet"
            first = self.unsure[0]
            return (
                f"Of {some}, none with a class, the least sure is {first.picture}, called {self.name(first.said)} with "
                f"{first.probability:.0%}"
            )
        text = f"{self.wrong_count} of {some} called wrong, accuracy {self.overall:.1%}"
        if self.labelled < self.count:
            text = f"{self.wrong_count} of {self.labelled} called wrong, of {some}, accuracy {self.overall:.1%}"
        if self.confusions:
            pair = self.confusions[0]
            text += f"; most often {self.name(pair.true)} is called {self.name(pair.said)}, {pair.pictures} times"
        return text

    def figure(self) -> Figure:
        """The pictures called wrong, at most 24, each with what it is and what it was called; without classes the least sure."""
        shown: list[Any] = [*(self.wrong or self.unsure)[:_DRAWN]]
        if not shown:
            from matplotlib.figure import Figure

            figure = Figure(figsize=(4, 0.6))
            figure.text(0.5, 0.5, self.alt_text, ha="center", va="center", fontsize=8)
            return figure
        titles = [
            f"{_short(self.name(m.true))}\nsaid {_short(self.name(m.said))} {m.probability:.0%}"
            if isinstance(m, Mistake)
            else f"{_short(self.name(m.said))}\n{m.probability:.0%}"
            for m in shown
        ]
        return tile_figure(charts([self.picture(m).numpy() for m in shown], self._net.kind), titles, _DRAWN, 1.4)


def mistakes(net: Network, dataset: Any = None, k: int = 50, *, at: Any = None, progress: bool = True) -> Mistakes:
    """The pictures of a dataset that are called wrong, the most confused pairs of classes, and the accuracy of each class.

    What is said is the class with the largest score; of one logit or probability yes or no; of several labels the
    strongest. Pictures without a class are only ranked by how sure the network is of them.

    Args:
        net: the network.
        dataset: of (picture, class) pairs, as for `nl.dataset_examples`; a class is an index or a label. None: the bundled
            networks' own pictures, else sample pictures.
        k: how many pictures to keep, of the wrong and of the unsure.
        at: of dense answers, the place (row, column) or boolean mask (H,W) whose mean scores count; None: what is said is
            the class that wins at most places, how surely is the share of these, and there is no right or wrong.
        progress: whether to show a bar with rate and time left, once the pass takes more than a second.

    Raises:
        LensError: k below 1, a network whose answers are values, which are neither right nor wrong, a class that it does not
        have, or a source without pictures. NetworkError: the model fails, or does not answer with scores.

    >>> net = nl.demo("digits")
    >>> found = nl.mistakes(net, torch.utils.data.Subset(net.dataset, range(40)), progress=False)
    >>> found.count, len(found.accuracy), found.wrong_count == len(found.wrong)
    (40, 10, True)
    """
    from tqdm.auto import tqdm

    source = source_of(as_network(net), dataset)
    found: Mistakes | None = None
    with tqdm(total=source.total, unit=" pictures", disable=not progress, delay=1, leave=False) as bar:
        for found in mistakes_steps(net, source, k, at=at):
            bar.update(found.count - bar.n)
    assert found is not None
    return found


def mistakes_steps(net: Network, dataset: Any = None, k: int = 50, *, at: Any = None) -> Iterator[Mistakes]:
    """What `mistakes` knows after each batch, each a result of its own; closing the iterator stops within a batch.

    Arguments and errors as for `mistakes`.

    >>> net = nl.Network(torch.nn.Sequential(torch.nn.Linear(4, 2)), (4,))
    >>> [step.count for step in nl.mistakes_steps(net, torch.rand(600, 4))]
    [256, 512, 600]
    """
    net = as_network(net)
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or k < 1:
        raise LensError(f"k is a whole number of pictures, 1 or more, got {k!r}.")
    if net.output_kind == "values":
        raise LensError(
            f"{net.name} answers with values, which are neither right nor wrong; if they are scores of classes, say so: "
            'nl.Network(model, output_kind="logits").'
        )
    source, mask = source_of(net, dataset), mask_of_answers(net, at)
    return _steps(net, source, int(k), mask)


def _steps(net: Network, source: Source, k: int, mask: torch.Tensor | None) -> Iterator[Mistakes]:
    tally = _Tally(net, source, k)
    for batch in source.batches(net.batch_size()):
        with net.evaluation(), torch.no_grad():
            answers = net.outputs(batch.pictures, [""])[""].float().cpu()
        tally.add(batch, *_said(net, answers, mask), mask)
        yield tally.known()


def _said(net: Network, answers: torch.Tensor, mask: torch.Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """(N,) classes that are said of (N,classes,*grid) answers, and (N,) how surely, 0 to 1."""
    kind = net.output_kind or "logits"
    if kind == "dense" and mask is not None:
        answers, kind = answers[:, :, mask].mean(2), "logits"
    elif kind != "dense":
        answers = answers.flatten(1)
    meant = torch.stack([meaning(each, kind) for each in answers])
    if says_yes_or_no(net):
        yes = (answers[:, 0] > MIDDLE[kind]).long()
        return yes.numpy(), torch.where(yes > 0, meant[:, 0], 1 - meant[:, 0]).numpy()
    surest, said = meant.max(1)
    # A picture that is answered with NaN is called nothing surely.
    return said.numpy(), surest.nan_to_num(0.0).numpy()


class _Tally:
    """What the batches add up to."""

    def __init__(self, net: Network, source: Source, k: int) -> None:
        self.net, self.source, self.k = net, source, k
        self.count = self.labelled = 0
        self.confused: Counter[tuple[int, int]] = Counter()
        self.of_class: Counter[int] = Counter()
        self.wrong: list[Mistake] = []
        self.unsure: list[Unsure] = []
        self.kept: dict[int, torch.Tensor] = {}  # of sources that cannot be asked again

    def add(self, batch: PictureBatch, said: np.ndarray, sure: np.ndarray, mask: torch.Tensor | None) -> None:
        self.count += len(said)
        known = None if self.net.output_kind == "dense" and mask is None else batch.targets
        indices = batch.indices
        unsure = [Unsure(i, int(s), float(p)) for i, s, p in zip(indices, said, sure, strict=True)]
        self.unsure = heapq.nsmallest(self.k, [*self.unsure, *unsure], key=lambda u: (u.probability, u.picture))
        if known is not None:
            true = [known_class(self.net, target) for target in known]
            self.labelled += len(true)
            self.of_class.update(true)
            wrong = [
                Mistake(i, t, int(s), float(p)) for i, t, s, p in zip(indices, true, said, sure, strict=True) if t != s
            ]
            self.confused.update((m.true, m.said) for m in wrong)
            self.wrong = heapq.nsmallest(self.k, [*self.wrong, *wrong], key=lambda m: (-m.probability, m.picture))
        if self.source.one_by_one:
            wanted = {m.picture for m in self.wrong} | {u.picture for u in self.unsure}
            new = dict(zip(indices, batch.pictures, strict=True))
            self.kept = {i: x.clone() for i, x in {**self.kept, **new}.items() if i in wanted}

    def known(self) -> Mistakes:
        missed: Counter[int] = Counter()
        for (true, _), count in self.confused.items():
            missed[true] += count
        accuracy = {c: 1 - missed[c] / n for c, n in sorted(self.of_class.items())} if self.labelled else None
        pairs = sorted(self.confused.items(), key=lambda pair: (-pair[1], pair[0]))
        return Mistakes(
            self.k, self.count, self.labelled, self.wrong, sum(missed.values()), self.unsure,
            [Confusion(*pair, count) for pair, count in pairs], accuracy, tuple(self.source.skipped), self.source.total,
            self.net, self.source, self.kept,
        )  # fmt: skip


def _short(text: str, most: int = 18) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
