"""Covering the picture window by window: which windows there are, and the evidence as it grows.

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

from nn_lens.engine.evidence.attribution.targets import Subject, TargetOutput
from nn_lens.engine.network.network import Network
from nn_lens.errors import LensError

_GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it, modulo 1, stay evenly spread however many there are


@dataclass(frozen=True)
class Windows:
    """Windows of `size` every `stride` over the axes of `sides`: (rows, columns), or the numbers of a vector."""

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


def windows(shape: tuple[int, ...], window: Any = None, stride: Any = None) -> Windows:
    """The windows over an input of `shape`.

    window: a side or (height, width), None: an eighth of each side, 1 for vectors. stride: as window, None: half of it.

    Raises:
        LensError: a window that is larger than the input, or a stride that leaves gaps.
    """
    sides = shape[1:] if len(shape) == 3 else shape
    eighth = tuple(max(1, round(n / 8)) for n in sides) if len(sides) == 2 else (1,)
    size = _pair("window", window, sides, sides, eighth)
    return Windows(sides, size, _pair("stride", stride, sides, size, tuple((n + 1) // 2 for n in size)))


def baseline_of(net: Network, given: Any) -> torch.Tensor:
    """(1,C,H,W) or (1,F): what stands for no evidence. None: mid grey, 0 for vectors; or a number, or a picture.

    Raises:
        LensError: a number outside [0,1] for pictures. PictureError: no picture.
    """
    pictures = len(net.input_shape) == 3
    if given is None:
        given = 0.5 if pictures else 0.0
    if not isinstance(given, (int, float, np.number)):
        return net.picture(given)[None]
    if pictures and not 0 <= given <= 1:
        raise LensError(f"baseline is a number in [0,1] or a picture, got {given}.")
    return torch.full((1, *net.input_shape), float(given))


def batch_of(shape: tuple[int, ...]) -> int:
    """Pictures per pass, of about the same memory whatever their size: 8 at 224 pixels, at most 64."""
    pixels = math.prod(shape[1:]) if len(shape) == 3 else 1
    return min(64, max(1, 8 * 224 * 224 // pixels))


def drop_steps(subject: Subject, plan: Windows, baseline: torch.Tensor) -> Iterator[tuple[np.ndarray, float]]:
    """(H,W) or (F,) mean drops of the answer where a pixel is covered, 0 where none was yet; and the part that is done.

    The windows come scattered, so that the whole picture shows early. Closing stops within a batch; between two,
    the model is as it was.
    """
    every = plan.slices()
    order = np.argsort(np.arange(len(every)) * _GOLDEN % 1, kind="stable")
    output, size = TargetOutput(subject.net, subject.target), batch_of(subject.shape)
    total, count = np.zeros(plan.sides), np.zeros(plan.sides)
    for start in range(0, len(every), size):
        batch = [every[i] for i in order[start : start + size]]
        x = subject.picture.repeat(len(batch), *[1] * len(subject.shape))
        for i, places in enumerate(batch):
            x[(i, ..., *places)] = baseline[(0, ..., *places)]
        with subject.net.evaluation(), torch.no_grad():
            drops = subject.value - output(x).double().cpu().numpy()
        for places, drop in zip(batch, drops, strict=True):
            total[places] += drop
            count[places] += 1
        yield (total / np.maximum(count, 1)).astype(np.float32), (start + len(batch)) / len(every)


def _pair(name: str, given: Any, sides: tuple[int, ...], most: tuple[int, ...], default: tuple[int, ...]) -> Any:
    if given is None:
        return default
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,) * len(sides)
    whole = all(isinstance(n, (int, np.integer)) for n in values)
    if not whole or len(values) != len(sides) or not all(1 <= n <= m for n, m in zip(values, most, strict=True)):
        what = "a side or (height, width)" if len(sides) == 2 else "a whole number"
        raise LensError(
            f"{name} is {what}, from 1 to {' by '.join(map(str, most))} here"
            f"{' (the window, so that no pixel is left out)' if name == 'stride' else ''}; got {given!r}."
        )
    return tuple(int(n) for n in values)
