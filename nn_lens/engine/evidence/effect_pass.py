"""A pass over pictures with some units changed, and once more for each draw of others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from nn_lens.engine.evidence.changes import Changes, Edit, answers_with, changes_of, draws_of
from nn_lens.engine.evidence.effects import MIDDLE, Control, said_right
from nn_lens.engine.network.answers import mask_of
from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.labels import class_index
from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures.datasets import PictureBatch, Source, source_of
from nn_lens.errors import LensError
from nn_lens.units import Direction, Unit


def effect_of(
    net: Network, pictures: Any, edits: Sequence[Edit], *, targets: Any, at: Any, seed: int, controls: int,
    on_progress: Callable[[int, int | None], None] | None,
) -> dict[str, Any]:  # fmt: skip
    """What an `Effect` is made of: the scores as they are, and with the edits; arguments and errors as for `ablate`."""
    if not isinstance(controls, int) or isinstance(controls, bool) or controls < 0:
        raise LensError(f"controls is a whole number of random draws, 0 for none, got {controls!r}.")
    source = source_of(net, pictures)
    given = _given_targets(net, source, targets, at)
    draws, no_control = draws_of(net, tuple(edit.what for edit in edits), controls, seed)
    others = [[replace(e, what=w) for e, w in zip(edits, draw, strict=True)] for draw in draws]
    sums = _Sums(net, [changes_of(net, each) for each in (edits, *others)], mask_of_answers(net, at))
    for batch in source.batches(net.batch_size()):
        sums.add(batch, None if given is None else [given[i] for i in batch.indices])
        if on_progress is not None:
            on_progress(batch.read, source.total)
    return {
        "before": np.concatenate(sums.before), "after": np.concatenate(sums.after), "targets": sums.targets(),
        "control": sums.control(draws) if draws else None, "labels": net.labels, "skipped": tuple(source.skipped),
        "where": sums.where(), "_no_control": no_control, "_output_kind": net.output_kind,
    }  # fmt: skip


class _Sums:
    """What the batches add up to, for the units that were asked for and for each draw of others."""

    def __init__(self, net: Network, changes: Sequence[Changes], mask: torch.Tensor | None) -> None:
        self.net, self._mask = net, mask
        self.changes = changes
        self.before: list[np.ndarray] = []
        self.after: list[np.ndarray] = []
        self.known: list[list[int] | None] = []
        self._delta: list[np.ndarray] = []
        self._moved = np.zeros((len(changes) - 1, 1))  # (draws,classes) sums of the changes
        self._right = np.zeros(len(changes) - 1)  # (draws,) how many pictures are answered rightly
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
            known_class(self.net, target)
        first, *others = (_scores(answers_with(self.net, batch.pictures, changes), places) for changes in self.changes)
        self.before.append(before)
        self.after.append(first)
        if others:
            self._delta.append(np.asarray(np.mean([other - before for other in others], 0), np.float32))
            self._moved = self._moved + [(other - before).sum(0, dtype=np.float64) for other in others]
            if known is not None:
                self._right += [said_right(other, np.array(known), self.net.output_kind).sum() for other in others]

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

    def control(self, draws: Sequence[tuple[Unit | Direction, ...]]) -> Control:
        """What the draws of other units come to."""
        delta = np.concatenate(self._delta)
        means = (self._moved / len(delta)).astype(np.float32)
        targets = self.targets()
        if targets is None:
            return Control(tuple(draws), delta, means, None, None)
        changes = (self._right - said_right(np.concatenate(self.before), targets, self.net.output_kind).sum()) / len(
            delta
        )
        return Control(tuple(draws), delta, means, float(changes.mean()), changes)


# ---- dense answers ----


def _scores(answers: torch.Tensor, places: torch.Tensor | None) -> np.ndarray:
    """(N,classes) float32: one score per class, of dense answers the sum over its `places`."""
    if places is None:
        return as_numpy(answers.flatten(1))
    return as_numpy(torch.where(places, answers, 0).flatten(2).sum(2))


def mask_of_answers(net: Network, at: Any) -> torch.Tensor | None:
    """The places over which dense answers are summed."""
    if at is None:
        return None
    if net.output_kind != "dense" or net.output_shape is None:
        raise LensError(f"{net.name} answers with one score per class, at no place; leave at= out.")
    with net.evaluation(), torch.no_grad():
        grid = net.outputs(torch.zeros(1, *net.input_shape), [""])[""].shape[2:]
    return mask_of(tuple(grid), at)


# ---- what was asked ----


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
    index = known_class(net, target)
    return 1 if isinstance(target, str) and says_yes_or_no(net) else index


def known_class(net: Network, target: Any) -> int:
    """The class that a target of a dataset is, of a network that says yes or no 1 or 0.

    Raises:
        LensError: the network has no such class.
    """
    if says_yes_or_no(net) and not isinstance(target, str):
        return class_index(target, None, 2)
    return net.class_index(target)


def says_yes_or_no(net: Network) -> bool:
    """Whether a network answers with one number that says yes or no."""
    shape = net.output_shape
    return net.output_kind in MIDDLE and shape is not None and math.prod(shape[1:]) == 1
