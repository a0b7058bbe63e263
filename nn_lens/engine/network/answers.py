"""Which tensor of what a model gives is its answer, and what the numbers of that answer mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nn_lens.engine.network.layouts import Layout
from nn_lens.errors import LensError, NetworkError, nearest

KINDS = ("logits", "logit", "multilabel", "probabilities", "values", "dense")
"""What an answer can be: one score per class; one number, of a sigmoid; scores of labels that may all be true; what
softmax or sigmoid have made probabilities of; numbers that stand for themselves; a score per class and place."""

_SURE = 1e-4  # how far the sum of probabilities may be from 1


@dataclass(frozen=True)
class Entry:
    """A tensor of a model's answer, and how it is written: "", "[1]", "['logits']", ".logits"."""

    path: tuple[tuple[str, Any], ...]
    tensor: torch.Tensor

    @property
    def text(self) -> str:
        """How it is written after the answer."""
        return "".join(f".{key}" if how == "attribute" else f"[{key!r}]" for how, key in self.path)


@dataclass(frozen=True)
class Pick:
    """Which tensor is the answer: `path` into what the model gives, or the user's own callable. `said` names a choice."""

    path: tuple[tuple[str, Any], ...] | None = ()
    call: Callable[[Any], Any] | None = None
    said: str = ""

    def __call__(self, answer: Any) -> torch.Tensor | None:
        """The tensor of a model's answer; None where it has none.

        Raises:
            LensError: the callable gives something else.
        """
        if self.call is not None:
            picked = self.call(answer)
            if not isinstance(picked, torch.Tensor):
                raise LensError(f"output= is to pick a tensor out of the model's answer, and gave {_said(picked)}.")
            return picked.dequantize() if picked.is_quantized else picked
        if self.path is None:
            return None
        for how, key in self.path:
            answer = getattr(answer, key) if how == "attribute" else answer[key]
        if not isinstance(answer, torch.Tensor):
            return None
        return answer.dequantize() if answer.is_quantized else answer


def pick_of(answer: Any, last: torch.Tensor | None, batch: int, given: Any) -> Pick:
    """What is to be taken from a model's answer to a `batch`. given: `output` of `Network`; last: what the last called
    module gave.

    Raises:
        LensError: there is nothing where `given` says.
    """
    if given is not None:
        return _given(answer, given)
    entries = [e for e in entries_of(answer) if e.tensor.is_floating_point() or e.tensor.is_quantized]
    by_picture = isinstance(answer, (list, tuple)) and not any(isinstance(a, torch.Tensor) for a in answer)
    if not entries or (by_picture and len(answer) == batch and isinstance(answer[0], Mapping)):
        return Pick(None)  # such as a dictionary of boxes for each picture
    of_batch = [e for e in entries if e.tensor.ndim and e.tensor.shape[0] == batch]
    scores = [e for e in of_batch if e.tensor.ndim == 2]
    called = [e for e in entries if e.path and e.path[0][1] == "logits"]
    of_last = [e for e in scores if last is not None and e.tensor.data_ptr() == last.data_ptr()]
    best = (called or of_last or scores[:1] or of_batch or entries)[0]
    said = (
        f"of its {len(entries)} answers {best.text or 'the first'} (output= takes another)" if len(entries) > 1 else ""
    )
    return Pick(best.path, said=said)


def entries_of(answer: Any, path: tuple[tuple[str, Any], ...] = ()) -> Iterator[Entry]:
    """The tensors of a model's answer, in order, in dictionaries, tuples, lists and dataclasses."""
    if isinstance(answer, torch.Tensor):
        yield Entry(path, answer)
    elif isinstance(answer, Mapping):
        for key, value in answer.items():
            yield from entries_of(value, (*path, ("key", key)))
    elif hasattr(answer, "_fields"):
        for name in answer._fields:
            yield from entries_of(getattr(answer, name), (*path, ("attribute", name)))
    elif isinstance(answer, (tuple, list)):
        for index, value in enumerate(answer):
            yield from entries_of(value, (*path, ("index", index)))
    elif dataclasses.is_dataclass(answer):
        for one in dataclasses.fields(answer):
            yield from entries_of(getattr(answer, one.name), (*path, ("attribute", one.name)))
    elif hasattr(answer, "__dict__") and not isinstance(answer, type):
        for name, value in vars(answer).items():
            yield from entries_of(value, (*path, ("attribute", name)))


def _given(answer: Any, given: Any) -> Pick:
    if callable(given) and not isinstance(given, str):
        pick = Pick(call=given)
        try:
            pick(answer)
        except LensError:
            raise
        except Exception as error:
            raise LensError(
                f"output= failed on the model's answer, {_said(answer)}: {type(error).__name__}: {error}"
            ) from error
        return pick
    path = (given,) if isinstance(given, (str, int)) else tuple(given)
    steps: list[tuple[str, Any]] = []
    inside = answer
    for key in path:
        try:
            if isinstance(key, str) and not isinstance(inside, Mapping):
                inside, how = getattr(inside, key), "attribute"
            else:
                inside, how = inside[key], "key"
        except (AttributeError, KeyError, IndexError, TypeError):
            there = [e.text for e in entries_of(answer)]
            near = f"; nearest: {', '.join(nearest(str(key), there))}" if nearest(str(key), there) else ""
            raise LensError(
                f"The model's answer has no {key!r}. It has {', '.join(there) or 'no tensors'}{near}; output= takes an "
                "index, a key, an attribute or a callable."
            ) from None
        steps.append((how, key))
    if not isinstance(inside, torch.Tensor):
        raise LensError(f"output={given!r} is {_said(inside)}, no tensor; it may go on: output=({given!r}, ...).")
    return Pick(tuple(steps), said=f"its answer {Entry(tuple(steps), inside).text}")


def _said(value: Any) -> str:
    entries = [f"{e.text or 'a tensor'} {tuple(e.tensor.shape)}" for e in entries_of(value)]
    return f"a {type(value).__name__}" + (f" with {', '.join(entries[:6])}" if entries else "")


def kind_of_answer(
    answer: torch.Tensor | None, layout: Layout | None, by_sigmoid: bool, given: Any
) -> tuple[str | None, str]:
    """What an answer's numbers mean, None where they are not one number per class; and how the guess is said.

    answer: to the probes; by_sigmoid: whether a sigmoid made it.

    Raises:
        NetworkError: no such kind.
    """
    if given is not None and given not in KINDS:
        near = nearest(str(given), KINDS) or list(KINDS)
        raise NetworkError(f"There is no output_kind {given!r}; it is one of {', '.join(near)}.")
    if answer is None or layout is None:
        return None, ""
    dense = layout.kind not in ("vector", "scalar")
    if given is not None:
        if (given == "dense") != dense:
            raise NetworkError(f"The model answers with {tuple(answer.shape[1:])}, which is not {given!r}.")
        return str(given), ""
    if dense:
        return "dense", f"answers with {layout.channels} classes at each place"
    values = answer.detach().float().cpu()
    inside = bool(((values >= 0) & (values <= 1)).all())
    if layout.channels > 1 and inside and bool(((values.sum(1) - 1).abs() < _SURE).all()):
        return "probabilities", "answers with probabilities"
    if by_sigmoid:
        return "probabilities", "answers with the probability of each class, by sigmoid"
    if layout.channels == 1:
        return "logit", 'answers with one number, taken as a logit (output_kind="values" if it stands for itself)'
    return "logits", ""


def class_scores(maps: torch.Tensor, at: Any = None) -> torch.Tensor:
    """(N,C,*grid) answers -> (N,C), one score per class; differentiable.

    Dense answers: each class's sum over the places where it wins, or over the places `at`: (row, column) or a boolean
    mask of the grid's shape. An answer without places is its own score.

    Raises:
        LensError: `at` for an answer without places, or outside of it.
    """
    grid = tuple(maps.shape[2:])
    if grid == (1, 1) and at is None:
        return maps[:, :, 0, 0]
    if at is None:
        wins = maps.argmax(1, keepdim=True)
        mask = torch.zeros_like(maps).scatter_(1, wins, 1)
        return torch.where(mask > 0, maps, torch.zeros_like(maps)).flatten(2).sum(2)
    return maps.flatten(2)[:, :, mask_of(grid, at).flatten()].sum(2)


def mask_of(grid: tuple[int, ...], at: Any) -> torch.Tensor:
    """A boolean mask of `grid` of what `at` says: a place, or such a mask.

    Raises:
        LensError: neither, or outside.
    """
    if grid == (1, 1):
        raise LensError("The network answers with one score per class, at no place; leave `at` out.")
    values = np.asarray(at.detach().cpu() if isinstance(at, torch.Tensor) else at)
    if values.dtype == np.bool_ and values.shape == grid and values.any():
        return torch.from_numpy(values.copy())
    is_place = values.shape == (len(grid),) and np.issubdtype(values.dtype, np.integer)
    if is_place and all(0 <= int(p) < n for p, n in zip(values, grid, strict=True)):
        mask = torch.zeros(grid, dtype=torch.bool)
        mask[tuple(int(p) for p in values)] = True
        return mask
    raise LensError(
        f"at is a place of {'x'.join(map(str, grid))}, such as {tuple(n // 2 for n in grid)}, or a boolean mask of that "
        f"shape with a place in it; got {at if values.size < 9 else f'an array {values.shape} of {values.dtype}'}."
    )


def meaning(scores: torch.Tensor, kind: str) -> torch.Tensor:
    """(classes,) or (classes,*grid) raw scores -> what they mean: softmax, sigmoid, as they are, or the share of places
    at which each class wins.
    """
    if kind == "dense":
        winners = scores.flatten(1).argmax(0)
        return torch.bincount(winners, minlength=len(scores)).float() / winners.numel()
    if kind == "logits":
        return scores.softmax(0)
    return scores.sigmoid() if kind in ("logit", "multilabel") else scores
