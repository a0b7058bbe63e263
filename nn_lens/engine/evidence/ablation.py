"""Ablation: how the class scores change when units are switched off, beside switching off random other units.

References: Morcos, Barrett, Rabinowitz and Botvinick, 2018, "On the importance of single directions for
generalization"; Zhou, Sun, Bau and Torralba, 2018, "Revisiting the importance of individual units in CNNs", section 4,
who look at the accuracy class by class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nn_lens.engine.evidence.changes import answers_with, draws_of, times_of
from nn_lens.engine.network.answers import mask_of
from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.labels import class_index
from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.datasets import PictureBatch, Source, source_of
from nn_lens.engine.pictures.images import ORANGE
from nn_lens.engine.pictures.results import Result
from nn_lens.errors import LensError
from nn_lens.units import Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 10
_MIDDLE = {"logit": 0.0, "probabilities": 0.5}  # above which one number says yes


@dataclass(frozen=True)
class Control:
    """What the same change of as many random other units of the same layers does.

    `units`: the units of each draw. `delta` (N,classes) float32: change of the scores, mean over the draws.
    `mean_deltas` (draws,classes): of each draw, mean over the pictures. `accuracy_change`: mean over the draws, and
    `accuracy_changes` (draws,) of each; both None without targets.
    """

    units: tuple[tuple[Unit, ...], ...]
    delta: np.ndarray
    mean_deltas: np.ndarray
    accuracy_change: float | None
    accuracy_changes: np.ndarray | None


@dataclass(frozen=True, repr=False)
class Ablation(Result):
    """Class scores with and without a change of some units.

    `before`, `after` (N,classes) float32: the network's raw answers, of dense ones each class's sum over the places where
    it wins in the picture as it is, or over the places that were named; `where` says so, "" for one score per class.
    `delta` is after less before. `targets` (N,): the
    right classes, None if unknown. `control`: the same of random other units; None where the layers have too few, or
    where none was asked for. `labels`: what the classes are called, None if they have no names. `skipped` says of each
    picture that could not be read why.
    """

    units: tuple[Unit, ...]
    scale: float
    before: np.ndarray
    after: np.ndarray
    targets: np.ndarray | None
    control: Control | None
    labels: tuple[str, ...] | None
    skipped: tuple[str, ...] = ()
    where: str = ""
    _no_control: str = ""
    _output_kind: str | None = None

    @property
    def delta(self) -> np.ndarray:
        """(N,classes) change of the scores, after less before."""
        return np.asarray(self.after - self.before)

    @property
    def accuracy_change(self) -> float | None:
        """Share of pictures whose highest score is right, after less before, in [-1,1]; None without targets."""
        if self.targets is None:
            return None
        return float(self._right(self.after).mean() - self._right(self.before).mean())

    @property
    def per_class(self) -> dict[int, float] | None:
        """{class: accuracy change over its own pictures} of the classes that occur; None without targets."""
        if self.targets is None:
            return None
        gained = self._right(self.after).astype(float) - self._right(self.before)
        return {int(c): float(gained[self.targets == c].mean()) for c in np.unique(self.targets)}

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        mean = self.delta.mean(0)
        most = int(_by_size(mean)[0])
        text = f"{self._said()} moves the mean score of {self._name(most)} most, by {mean[most]:+.3g}"
        if self.control is not None:
            text += f" (random other units: {self.control.delta.mean(0)[most]:+.3g})"
        text += f", over {len(self.before)} picture{'s' * (len(self.before) > 1)}"
        if self.where:
            text += f", {self.where}"
        if self.accuracy_change is not None:
            text += f"; {self._accuracy()}"
        if self.control is None:
            text += f"; no control: {self._no_control}"
        return text + (f"; {len(self.skipped)} could not be read" if self.skipped else "")

    def figure(self) -> Figure:
        """Bars of the largest changes of mean scores, beside those of the control with the range of its draws."""
        from matplotlib.figure import Figure

        mean = self.delta.mean(0)
        shown = _by_size(mean)[:_SHOWN][::-1]
        y = np.arange(len(shown))
        figure = Figure(figsize=(6, 1.3 + 0.36 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
        if self.control is None:
            axes.barh(y, mean[shown], 0.7, color=ORANGE, label=self._said())
        else:
            draws = self.control.mean_deltas[:, shown]
            middle = draws.mean(0)
            span = np.stack([middle - draws.min(0), draws.max(0) - middle]).clip(0)
            axes.barh(y + 0.2, mean[shown], 0.38, color=ORANGE, label=self._said())
            axes.barh(
                y - 0.2, middle, 0.38, xerr=span, color="0.65", ecolor="0.35", capsize=2,
                label=f"random other units, {len(draws)} draws",
            )  # fmt: skip
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_yticks(y, [_short(self._name(int(c))) for c in shown])
        axes.set_xlabel(f"change of the score, mean of {len(self.before)} picture{'s' * (len(self.before) > 1)}")
        axes.set_title("\n".join(filter(None, (self._accuracy(), self.where))), fontsize=9)
        figure.legend(fontsize=7, loc="outside lower center", ncols=2)
        return figure

    def _right(self, scores: np.ndarray) -> np.ndarray:
        assert self.targets is not None
        return _right(scores, self.targets, self._output_kind)

    def _name(self, index: int) -> str:
        return self.labels[index] if self.labels else f"class {index}"

    def _accuracy(self) -> str:
        if self.accuracy_change is None:
            return ""
        control = None if self.control is None else self.control.accuracy_change
        return f"accuracy {self.accuracy_change:+.1%}" + (
            "" if control is None else f" (random other units: {control:+.1%})"
        )

    def _said(self) -> str:
        names = ", ".join(str(u) for u in self.units[:3]) + (f" and {len(self.units) - 3} more" * (len(self.units) > 3))
        return f"switching off {names}" if self.scale == 0 else f"{names} times {self.scale:g}"


def ablate(
    net: Network,
    pictures: Any,
    units: Any,
    scale: float = 0.0,
    targets: Any = None,
    *,
    at: Any = None,
    seed: int = 0,
    controls: int = 5,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Ablation:
    """The network's class scores on pictures with the outputs of some units multiplied by `scale`, and as they are.

    No parameter is touched: what the layers answer is replaced on its way. A channel is multiplied at all places, in
    tokens that have no place too; a unit with a place at that place only; a module that is called more than once at
    its first call.

    Args:
        net: the network.
        pictures: one picture, or as for `nl.dataset_examples`.
        units: a unit or its text, or a list of such, also of several layers; each counts once.
        scale: 0 switches off, 1 changes nothing, 2 doubles.
        targets: the right class of each picture, an index or label; None: the dataset's own, if it has any. Of a network
            that answers with one logit or probability, 1 or the label for yes and 0 for no.
        at: of dense answers, one score per class and place, the place (row, column) or the boolean mask (H,W) over which
            scores are summed; None: of each class where it wins in the picture as it is.
        seed: of the random other units.
        controls: how often random other units are drawn; each costs another pass over the pictures.
        on_progress: called after each batch with how many pictures are done, and of how many (None: unknown).

    Raises:
        LensError: a scale that is not finite, targets or places that do not fit, or no units. UnknownUnit, UnknownLayer: units
        that the network does not have. NetworkError: the model fails, or does not answer with one score per class.

    >>> net = nl.demo()
    >>> without = nl.ablate(net, net.samples["coffee"], "relu2:3", controls=2)
    >>> without.delta.shape, len(without.control.units)
    ((1, 20), 2)
    """
    net = as_network(net)
    changed = tuple(dict.fromkeys(net.units(units)))
    scale = _finite(scale)
    if not isinstance(controls, int) or isinstance(controls, bool) or controls < 0:
        raise LensError(f"controls is a whole number of random draws, 0 for none, got {controls!r}.")
    source = source_of(net, pictures)
    given = _given_targets(net, source, targets, at)
    draws, no_control = draws_of(net, changed, controls, seed)
    sums = _Sums(net, [changed, *draws], scale, _mask(net, at))
    for batch in source.batches(net.batch_size()):
        sums.add(batch, None if given is None else [given[i] for i in batch.indices])
        if on_progress is not None:
            on_progress(batch.read, source.total)
    before, after, classes = np.concatenate(sums.before), np.concatenate(sums.after), sums.targets()
    control = sums.control(draws) if draws else None
    skipped = tuple(source.skipped)
    return Ablation(
        changed, scale, before, after, classes, control, net.labels, skipped, sums.where(), no_control, net.output_kind
    )


class _Sums:
    """What the batches add up to, for the units that were asked for and for each draw of others."""

    def __init__(self, net: Network, sets: list[tuple[Unit, ...]], scale: float, mask: torch.Tensor | None) -> None:
        self.net, self._mask = net, mask
        self.changes = [times_of(net, units, scale) for units in sets]
        self.before: list[np.ndarray] = []
        self.after: list[np.ndarray] = []
        self.known: list[list[int] | None] = []
        self._delta: list[np.ndarray] = []
        self._moved = np.zeros((len(sets) - 1, 1))  # (draws,classes) sums of the changes
        self._right = np.zeros(len(sets) - 1)  # (draws,) how many pictures are answered rightly
        self._wins: torch.Tensor | None = None  # (classes,) at how many places each class won, of dense answers

    def add(self, batch: PictureBatch, targets: list[int] | None) -> None:
        """The pictures of a batch; targets: None for the batch's own."""
        known = batch.targets if targets is None else targets
        if self._mask is None and self.net.output_kind == "dense":
            known = None  # one class per picture is not what such a network answers with
        self.known.append(known)
        # The same hooks as for the others, that change nothing: a model may choose its way by whether there are any.
        whole = answers_with(self.net, batch.pictures, dict.fromkeys(self.changes[0], lambda output: output))
        places = self._places(whole)
        before = _scores(whole, places)
        for target in known or ():
            _known_class(self.net, target)
        first, *others = (_scores(answers_with(self.net, batch.pictures, changes), places) for changes in self.changes)
        self.before.append(before)
        self.after.append(first)
        if others:
            self._delta.append(np.asarray(np.mean([other - before for other in others], 0), np.float32))
            self._moved = self._moved + [(other - before).sum(0, dtype=np.float64) for other in others]
            if known is not None:
                self._right += [_right(other, np.array(known), self.net.output_kind).sum() for other in others]

    def _places(self, answers: torch.Tensor) -> torch.Tensor | None:
        """(N,classes,*grid) booleans of where dense answers are summed; None for one score per class."""
        if answers.shape[2:] == (1, 1) and self._mask is None:
            return None
        if self._mask is not None:
            return self._mask.expand(answers.shape)
        wins = torch.zeros(answers.shape, dtype=torch.bool).scatter_(1, answers.argmax(1, keepdim=True), True)
        counts = wins.transpose(0, 1).flatten(1).sum(1)
        self._wins = counts if self._wins is None else self._wins + counts
        return wins

    def where(self) -> str:
        """Over which places of dense answers scores are summed, in words; "" for one score per class."""
        if self._mask is not None:
            count = int(self._mask.sum())
            return "at the named place" if count == 1 else f"summed over the {count} named places"
        if self._wins is None:
            return ""
        nowhere = [self.net.label(int(i)) for i in (self._wins == 0).nonzero()[:, 0]]
        said = "summed over the places where each class wins in the picture as it is"
        if nowhere:
            few = ", ".join(nowhere[:3]) + (f" and {len(nowhere) - 3} more" if len(nowhere) > 3 else "")
            said += f"; nowhere wins {few}, with a score of 0: at= names other places"
        return said

    def targets(self) -> np.ndarray | None:
        """(N,) right classes, None unless all are known."""
        known = [t for part in self.known if part is not None for t in part]
        return np.array(known) if known and len(known) == sum(map(len, self.before)) else None

    def control(self, draws: list[tuple[Unit, ...]]) -> Control:
        """What the draws of other units come to."""
        delta = np.concatenate(self._delta)
        means = (self._moved / len(delta)).astype(np.float32)
        targets = self.targets()
        if targets is None:
            return Control(tuple(draws), delta, means, None, None)
        changes = (self._right - _right(np.concatenate(self.before), targets, self.net.output_kind).sum()) / len(delta)
        return Control(tuple(draws), delta, means, float(changes.mean()), changes)


# ---- dense answers ----


def _scores(answers: torch.Tensor, places: torch.Tensor | None) -> np.ndarray:
    """(N,classes) float32: one score per class, of dense answers the sum over its `places`."""
    if places is None:
        return as_numpy(answers.flatten(1))
    return as_numpy(torch.where(places, answers, 0).flatten(2).sum(2))


def _mask(net: Network, at: Any) -> torch.Tensor | None:
    """The places over which dense answers are summed."""
    if at is None:
        return None
    if net.output_kind != "dense" or net.output_shape is None:
        raise LensError(f"{net.name} answers with one score per class, at no place; leave at= out.")
    with net.evaluation(), torch.no_grad():
        grid = net.outputs(torch.zeros(1, *net.input_shape), [""])[""].shape[2:]
    return mask_of(tuple(grid), at)


# ---- what was asked ----


def _finite(scale: Any) -> float:
    try:
        value = float(scale)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise LensError(f"scale is a finite number: 0 switches off, 1 changes nothing, 2 doubles; got {scale!r}.")
    return value


def _given_targets(net: Network, source: Source, targets: Any, at: Any) -> list[int] | None:
    if targets is None:
        return None
    if isinstance(targets, str) or not isinstance(targets, Iterable) or getattr(targets, "ndim", 1) == 0:
        targets = [targets]
    if net.output_kind == "dense" and at is None:
        raise LensError(
            f"targets are one class per {net.kind}, and {net.name} answers at each place: name one by at=, or leave "
            "targets out."
        )
    classes = [_class_of(net, t) for t in targets]
    # A loader may leave out and repeat: its targets go by the dataset's own numbers.
    count = source.total if source.loader is None or source.one_by_one else len(source.items)
    if count is None:
        raise LensError("targets go with a source of known length; let this dataset yield (picture, target) pairs.")
    if len(classes) != count:
        raise LensError(f"targets has {len(classes)} entries for {count} pictures; pass one class per picture.")
    return classes


def _class_of(net: Network, target: Any) -> int:
    """The class that a target is; of a network that says yes or no, 1 for yes."""
    index = _known_class(net, target)
    return 1 if isinstance(target, str) and _says_yes_or_no(net) else index


def _known_class(net: Network, target: Any) -> int:
    if _says_yes_or_no(net) and not isinstance(target, str):
        return class_index(target, None, 2)
    return net.class_index(target)


def _says_yes_or_no(net: Network) -> bool:
    shape = net.output_shape
    return net.output_kind in _MIDDLE and shape is not None and math.prod(shape[1:]) == 1


def _right(scores: np.ndarray, targets: np.ndarray, kind: str | None) -> np.ndarray:
    """(N,) whether the right class is said: the one with the largest score; of one number yes or no."""
    if scores.shape[1] == 1 and kind in _MIDDLE:
        return np.asarray((scores[:, 0] > _MIDDLE[kind]) == (targets > 0))
    return np.asarray(scores.argmax(1) == targets)


def _by_size(changes: np.ndarray) -> np.ndarray:
    """Classes by the size of their change, the largest first."""
    return np.argsort(-np.abs(changes), kind="stable")


def _short(text: str, most: int = 24) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
