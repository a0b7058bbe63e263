"""How many inputs go well in one pass without gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable

_NUMBERS = 1 << 22  # that the largest layer may answer with in a pass over pictures: more only keeps others waiting
_PICTURES = 32  # in a pass; of small ones, more would leave the processor's cache
_ON_GPU = 16  # times as much of both on a GPU, which is fast where it has much to do at once
_KEPT = 1 << 28  # numbers of the layers that are asked for: 1 GB
_VECTORS = 256

Shape = tuple[int, ...]


def modest(kind: str, input_shape: Shape, shapes: Iterable[Shape], kept: Iterable[Shape], on_gpu: bool) -> int:
    """As many as keep the largest of all layers modest, whose `shapes` are given, and the answers that are `kept` together.

    Even where it is more than one: odd batches are filled up.
    """
    if kind == "vector":
        return _VECTORS
    more = _ON_GPU if on_gpu else 1
    largest = max(math.prod(input_shape), *map(math.prod, shapes), 1)
    fitting = min(more * _PICTURES, more * _NUMBERS // largest, _KEPT // max(1, sum(map(math.prod, kept))))
    return max(1, fitting // 2 * 2)
