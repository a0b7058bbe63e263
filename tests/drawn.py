"""What a figure really shows: its pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg


def pixel(axes: Any, row: int, column: int) -> np.ndarray:
    """(3,) colour in the middle of a cell of the image that `axes` shows."""
    canvas = FigureCanvasAgg(axes.figure)
    canvas.draw()
    shown = np.asarray(canvas.buffer_rgba())
    x, y = axes.transData.transform((column, row))
    return shown[int(len(shown) - y), int(x), :3].astype(int)
