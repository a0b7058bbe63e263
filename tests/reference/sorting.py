"""Dataset examples by keeping everything: every value in one list, sorted at the end."""

from __future__ import annotations

import math


def extremes(values: list[float], indices: list[int], k: int, highest: bool) -> list[tuple[int, float]]:
    """[(index, value)] of the `k` highest or lowest, that first, ties by index, without NaN."""
    pairs = [(i, v) for i, v in zip(indices, values, strict=True) if not math.isnan(v)]
    pairs.sort(key=lambda pair: (-pair[1] if highest else pair[1], pair[0]))
    return pairs[:k]
