"""Covering the input window by window: which windows there are, and the evidence as it grows.

Reference: Zeiler and Fergus, 2014, "Visualizing and understanding convolutional networks", section 4.2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nn_lens.engine.evidence.attribution.found import index_of, sides_of, spread
from nn_lens.engine.evidence.attribution.targets import Subject, TargetOutput
from nn_lens.errors import LensError

_GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it, modulo 1, stay evenly spread however many there are
_PARTS = {1: 32, 2: 8, 3: 4}  # windows side by side, by the number of sides: a few hundred in all
_NAMES = {1: "a whole number", 2: "a side or (height, width)", 3: "a side or (depth, height, width)"}


@dataclass(frozen=True)
class Windows:
    """Windows of `size` every `stride` over `sides`: (rows, columns), steps, or the numbers of a vector."""

    sides: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def slices(self) -> list[tuple[slice, ...]]:
        """Each window, row by row; the last of an axis is cut off by the border."""
        axes = [
            [slice(start, start + window) for start in range(0, side - window + step, step)]
            for side, window, step in zip(self.sides, self.size, self.stride, strict=True)
        ]
        return list(itertools.product(*axes))


def windows(kind: str, shape: tuple[int, ...], window: Any = None, stride: Any = None) -> Windows:
    """The windows over an input.

    window: a side, or one for each of (height, width) of pictures, (depth, height, width) of volumes, places of signals,
    steps of sequences, numbers of vectors; None: an eighth of each side, of volumes a quarter, of signals and sequences
    a 32nd, of vectors 1. stride: as window, None: half of it.

    Raises:
        LensError: a window that is larger than the input, or a stride that leaves gaps.
    """
    sides = sides_of(kind, shape)
    part = tuple(1 if kind == "vector" else max(1, round(n / _PARTS[len(sides)])) for n in sides)
    size = _sizes("window", window, sides, sides, part)
    return Windows(sides, size, _sizes("stride", stride, sides, size, tuple((n + 1) // 2 for n in size)))


def baseline_of(subject: Subject, given: Any) -> torch.Tensor:
    """A batch of one input that stands for no evidence: a number everywhere, or an input.

    None: mid grey, 0.5, of pictures and of volumes with values in [0,1]; 0 of all else.

    Raises:
        LensError: a number outside [0,1] for pictures. PictureError: no picture.
    """
    net = subject.net
    if given is None:
        given = 0.5 if net.kind == "picture" or (net.kind == "volume" and _is_grey(subject.picture)) else 0.0
    if not isinstance(given, (int, float, np.number)):
        return net.picture(given)[None]
    if net.kind == "picture" and not 0 <= given <= 1:
        raise LensError(f"baseline is a number in [0,1] or a picture, got {given}.")
    if not math.isfinite(given):
        raise LensError(f"baseline is a finite number or a {net.kind}, got {given}.")
    return torch.full_like(subject.picture, float(given))


def batch_of(subject: Subject) -> int:
    """Inputs per pass, of about the same memory whatever their size: 8 pictures of 224 pixels, at most 64."""
    places = 1 if subject.net.kind == "vector" else math.prod(sides_of(subject.net.kind, subject.shape))
    return min(64, max(1, 8 * 224 * 224 // places))


def drop_steps(subject: Subject, plan: Windows, baseline: torch.Tensor) -> Iterator[tuple[np.ndarray, float]]:
    """Maps of the mean drop of the answer where a place is covered, 0 where none was yet; and the part that is done.

    The windows come scattered, so that the whole picture shows early. Closing stops within a batch; between two,
    the model is as it was.

    Raises:
        LensError: the answer to a covered input is not finite.
    """
    every, kind = plan.slices(), subject.net.kind
    order = np.argsort(np.arange(len(every)) * _GOLDEN % 1, kind="stable")
    output, size = TargetOutput(subject.net, subject.target), batch_of(subject)
    total, count = np.zeros(plan.sides), np.zeros(plan.sides)
    for start in range(0, len(every), size):
        batch = [every[i] for i in order[start : start + size]]
        x = subject.picture.repeat(len(batch), *[1] * len(subject.shape))
        for one, places in zip(x, batch, strict=True):
            one[index_of(kind, places)] = baseline[0][index_of(kind, places)]
        with subject.net.evaluation(), torch.no_grad():
            drops = subject.value - output(x).double().cpu().numpy()
        if not np.isfinite(drops).all():
            raise LensError(
                f"{subject.net.name} answers NaN or infinity where a part of the {kind} is covered; pass a smaller "
                f"window=, or baseline= a {kind} instead of one number everywhere."
            )
        for places, drop in zip(batch, drops, strict=True):
            total[places] += drop
            count[places] += 1
        mean = (total / np.maximum(count, 1)).astype(np.float32)
        yield spread(kind, subject.shape, mean), (start + len(batch)) / len(every)


def _is_grey(x: torch.Tensor) -> bool:
    return bool(x.min() >= 0) and bool(x.max() <= 1)


def _sizes(name: str, given: Any, sides: tuple[int, ...], most: tuple[int, ...], default: tuple[int, ...]) -> Any:
    if given is None:
        return default
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,) * len(sides)
    whole = all(isinstance(n, (int, np.integer)) for n in values)
    if not whole or len(values) != len(sides) or not all(1 <= n <= m for n, m in zip(values, most, strict=True)):
        raise LensError(
            f"{name} is {_NAMES[len(sides)]}, from 1 to {' by '.join(map(str, most))} here"
            f"{' (the window, so that no place is left out)' if name == 'stride' else ''}; got {given!r}."
        )
    return tuple(int(n) for n in values)
