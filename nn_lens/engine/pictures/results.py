"""What every result can do: a matplotlib figure, an alternative text, and a picture in the notebook."""

from __future__ import annotations

import io
import math
import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Result:
    """Base of results: subclasses give `alt_text` and `figure()`."""

    @property
    def alt_text(self) -> str:
        """One sentence that says what the picture shows."""
        raise TypeError(f"{type(self).__name__} has no alternative text")

    def figure(self) -> Figure:
        """A matplotlib Figure of the result; pyplot is not touched, so it is drawn once, and from any thread."""
        raise TypeError(f"{type(self).__name__} has no figure")

    def _repr_png_(self) -> bytes:
        return _png(self.figure())

    def __repr__(self) -> str:
        return f"<{self.alt_text}>"


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


def show_figures() -> None:
    """Has IPython show a matplotlib Figure as a picture where nothing has told it how, as before `%matplotlib inline`.

    Outside of IPython there is nothing to do.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    formatter = getattr(shell, "display_formatter", None)
    if formatter is None:
        return
    png, named = formatter.formatters["image/png"], ("matplotlib.figure", "Figure")
    loaded = getattr(sys.modules.get(named[0]), named[1], None)
    if named not in png.deferred_printers and loaded not in png.type_printers:
        png.for_type_by_name(*named, _png)


show_figures()  # nothing of nn_lens makes a figure without this file


def tile_figure(tiles: np.ndarray, titles: list[str], most: int = 64, side: float = 1.0) -> Figure:
    """A figure of (N,h,w,3) uint8 tiles with a title each, at most `most` of them, `side` inches wide."""
    from matplotlib.figure import Figure

    shown = tiles[:most]
    columns = min(len(shown), max(1, math.ceil(math.sqrt(len(shown) * 1.6))))
    rows = math.ceil(len(shown) / columns)
    aspect = tiles.shape[1] / tiles.shape[2]
    figure = Figure(figsize=(columns * side, rows * (side * aspect + 0.18) + 0.1))
    for i, tile in enumerate(shown):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(tile, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(titles[i], fontsize=6, pad=1.5)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.94 if rows > 1 else 0.85, 0.06, 0.25)
    return figure
