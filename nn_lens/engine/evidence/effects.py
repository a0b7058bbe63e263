"""What becomes of the class scores when some units are changed, beside the same change of random other units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nn_lens.engine.network.labels import class_index, this_and_that
from nn_lens.engine.pictures.images import ORANGE
from nn_lens.engine.pictures.results import Result
from nn_lens.units import Direction, Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIDDLE = {"logit": 0.0, "probabilities": 0.5}
"""Above which one number says yes, by what it means."""

_SHOWN = 10


@dataclass(frozen=True)
class Control:
    """What the same change of as many random other units of the same layers does.

    `units`: the units of each draw. `delta` (N,classes) float32: change of the scores, mean over the draws.
    `mean_deltas` (draws,classes): of each draw, mean over the pictures. `accuracy_change`: mean over the draws, and
    `accuracy_changes` (draws,) of each; both None without targets.
    """

    units: tuple[tuple[Unit | Direction, ...], ...]
    delta: np.ndarray
    mean_deltas: np.ndarray
    accuracy_change: float | None
    accuracy_changes: np.ndarray | None


@dataclass(frozen=True, repr=False, kw_only=True)
class Effect(Result):
    """Class scores as they are, and with some units of the network changed.

    `before`, `after` (N,classes) float32: the network's raw answers, of dense ones each class's sum over the places where
    it wins in the picture as it is, or over the places that were named; `where` says so, "" for one score per class.
    `delta` is after less before. `targets` (N,): the
    right classes, None if unknown. `control`: the same of random other units; None where the layers have too few, or
    where none was asked for. `labels`: what the classes are called, None if they have no names. `skipped` says of each
    picture that could not be read why.
    """

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

    def change(self, target: Any) -> np.ndarray:
        """(N,) float32 change of the score of a class; of a pair (this, that), of how far this is above that.

        Raises:
            LensError: there is no such class.
        """
        return _read(self.delta, self._classes(target))

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

    def figure(self, target: Any = None) -> Figure:
        """Bars of the largest changes of mean scores, beside those of the control with the range of its draws.

        target: a class or a pair of classes, whose change is the first bar.
        """
        from matplotlib.figure import Figure

        columns: list[tuple[int, int | None]] = [(int(c), None) for c in _by_size(self.delta.mean(0))[:_SHOWN]]
        if target is not None:
            asked = self._classes(target)
            columns = [asked, *(c for c in columns if c != asked)]
        shown = columns[::-1]
        mean = [float(_read(self.delta, c).mean()) for c in shown]
        y = np.arange(len(shown))
        figure = Figure(figsize=(6, 1.3 + 0.36 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
        if self.control is None:
            axes.barh(y, mean, 0.7, color=ORANGE, label=self._said())
        else:
            draws = np.stack([_read(self.control.mean_deltas, c) for c in shown], 1)
            middle = draws.mean(0)
            span = np.stack([middle - draws.min(0), draws.max(0) - middle]).clip(0)
            axes.barh(y + 0.2, mean, 0.38, color=ORANGE, label=self._said())
            axes.barh(
                y - 0.2, middle, 0.38, xerr=span, color="0.65", ecolor="0.35", capsize=2,
                label=f"random other units, {len(draws)} draws",
            )  # fmt: skip
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_yticks(y, [_short(self._called(c)) for c in shown])
        axes.set_xlabel(f"change of the score, mean of {len(self.before)} picture{'s' * (len(self.before) > 1)}")
        axes.set_title("\n".join(filter(None, (self._accuracy(), self.where))), fontsize=9)
        figure.legend(fontsize=7, loc="outside lower center", ncols=2)
        return figure

    def _right(self, scores: np.ndarray) -> np.ndarray:
        assert self.targets is not None
        return said_right(scores, self.targets, self._output_kind)

    def _name(self, index: int) -> str:
        return self.labels[index] if self.labels else f"class {index}"

    def _classes(self, target: Any) -> tuple[int, int | None]:
        this, that = this_and_that(target)
        count = self.before.shape[1]
        first = class_index(this, self.labels, count)
        return first, None if that is None else class_index(that, self.labels, count)

    def _called(self, classes: tuple[int, int | None]) -> str:
        this, that = classes
        return self._name(this) if that is None else f"{self._name(this)} rather than {self._name(that)}"

    def _accuracy(self) -> str:
        if self.accuracy_change is None:
            return ""
        control = None if self.control is None else self.control.accuracy_change
        return f"accuracy {self.accuracy_change:+.1%}" + (
            "" if control is None else f" (random other units: {control:+.1%})"
        )

    def _said(self) -> str:
        raise TypeError(f"{type(self).__name__} does not say what was changed")


def said_right(scores: np.ndarray, targets: np.ndarray, kind: str | None) -> np.ndarray:
    """(N,) whether the right class is said: the one with the largest score; of one number yes or no."""
    if scores.shape[1] == 1 and kind in MIDDLE:
        return np.asarray((scores[:, 0] > MIDDLE[kind]) == (targets > 0))
    return np.asarray(scores.argmax(1) == targets)


def _read(scores: np.ndarray, classes: tuple[int, int | None]) -> np.ndarray:
    """Of (...,classes) numbers those of a class, or those of the first above those of the second."""
    this, that = classes
    return np.asarray(scores[..., this] if that is None else scores[..., this] - scores[..., that])


def _by_size(changes: np.ndarray) -> np.ndarray:
    """Classes by the size of their change, the largest first."""
    return np.argsort(-np.abs(changes), kind="stable")


def _short(text: str, most: int = 24) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
