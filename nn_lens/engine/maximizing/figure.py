"""Figures of maximizing inputs: a tile per picture, a curve per signal, a slice per volume, a table per sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nn_lens.engine.pictures.figures import draw_input
from nn_lens.engine.pictures.images import rgb
from nn_lens.engine.pictures.results import tile_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 64  # inputs that are drawn
_HEIGHT = {"signal": 1.3, "sequence": 1.8, "vector": 1.2}
_WIDTH = {"signal": 3.4, "sequence": 2.2, "vector": 3.0}


def inputs_figure(kind: str, inputs: np.ndarray, titles: Sequence[str], side: float | None = None) -> Figure:
    """A figure of (N,*shape) inputs of a kind with a title each, at most 64. side: inches of a picture's tile.

    Of a volume, the slice is shown that is farthest from grey.
    """
    side = side or (2.0 if len(titles) < 6 else 1.2)
    if kind == "picture":
        return tile_figure(rgb(inputs), list(titles), _MOST, side)
    if kind == "volume":
        at = [int(np.abs(x - 0.5).sum((0, 2, 3)).argmax()) for x in inputs]
        slices = np.stack([x[:, i] for x, i in zip(inputs, at, strict=True)])
        return tile_figure(rgb(slices), [f"{t}  slice {i}" for t, i in zip(titles, at, strict=True)], _MOST, side)
    return _panels(kind, inputs[:_MOST], titles)


def _panels(kind: str, inputs: np.ndarray, titles: Sequence[str]) -> Figure:
    from matplotlib.figure import Figure

    n = len(inputs)
    columns = min(n, 4 if n > 3 else 1 if kind == "vector" else n)
    rows = math.ceil(n / columns)
    taller = 1 + 0.25 * (min(inputs.shape[1], 8) - 1) if kind == "signal" else 1
    width = max(6.0, columns * _WIDTH[kind]) if kind == "vector" else columns * _WIDTH[kind] + 0.4
    figure = Figure(figsize=(width, rows * _HEIGHT[kind] * taller + 0.6), layout="constrained")
    for i, x in enumerate(inputs):
        axes = figure.add_subplot(rows, columns, i + 1)
        draw_input(axes, x, x[0] if kind == "signal" else x, titles[i])
        axes.title.set_fontsize(7)
    return figure
