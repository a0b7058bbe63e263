"""Figures of what has one, two or three dimensions: activation maps, and inputs beside signed maps of them.

What has two dimensions is drawn as a picture, one as a curve, and three by a slice of it, whose number is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nn_lens.engine.pictures.images import (
    DIVERGING,
    SEQUENTIAL,
    colour,
    colour_map,
    colour_table,
    map_levels,
    rgb,
    signed_levels,
)
from nn_lens.engine.pictures.results import tile_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN = 99.5  # percent of a map's magnitudes that the colours tell apart; a few places often tower above all others
_CURVES = 8  # channels of a signal that are drawn, one above the other


# ---- activation maps ----


def map_figure(maps: np.ndarray, titles: Sequence[str], most: int = 64) -> Figure:
    """A tile per channel of (C,*grid) maps, at most `most`: a picture, a curve of 1-D maps, the middle slice of 3-D ones.

    Pictures are on a scale of their own each, as `map_levels` has it; curves have their own heights over one x axis.
    """
    if maps.ndim == 2:
        return _curves(maps, titles, most)
    titles = list(titles)
    if maps.ndim == 4:
        middle = maps.shape[1] // 2
        titles = [f"{title}  slice {middle}" for title in titles]
    levels, _, signed = map_levels(maps)
    if maps.ndim == 4:
        levels = levels[:, maps.shape[1] // 2]
    return tile_figure(colour(levels, signed), titles, most)


def _curves(maps: np.ndarray, titles: Sequence[str], most: int) -> Figure:
    from matplotlib.figure import Figure

    shown = maps[:most]
    columns = min(len(shown), max(1, math.ceil(math.sqrt(len(shown) / 1.6))))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(columns * 1.8, rows * 0.85 + 0.3))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for i, axes in enumerate(grid.flat):
        axes.set_axis_off()
        if i >= len(shown):
            continue
        axes.axhline(0, color="0.8", linewidth=0.6)
        _line(axes, shown[i])
        axes.set_title(titles[i], fontsize=6, pad=1.5)
    figure.subplots_adjust(0.02, 0.03, 0.98, 0.94 if rows > 1 else 0.8, 0.1, 0.4)
    return figure


# ---- an input, and a signed map of it ----


def kind_of_map(x: np.ndarray, map_: np.ndarray) -> str:
    """What an input is, by its own and its map's number of dimensions: "picture", "signal", "volume", ..."""
    if x.ndim == map_.ndim:
        return "vector" if x.ndim == 1 else "sequence"
    return {1: "signal", 2: "picture", 3: "volume"}[map_.ndim]


def input_figure(x: np.ndarray, title: str, panels: Sequence[tuple[np.ndarray, str]]) -> Figure:
    """An input beside signed maps of it, (map, title) each: orange above zero, blue below, white at zero.

    x: a picture (C,H,W) in [0,1] with maps (H,W), a signal (C,L) with (L,), a volume (C,D,H,W) with (D,H,W), a
    sequence (T,F) with (T,F) or a vector (F,) with (F,).
    """
    from matplotlib.figure import Figure

    first = panels[0][0]
    n = len(panels) + 1
    if kind_of_map(x, first) == "signal":
        figure = Figure(figsize=(6.5, n * (0.9 + 0.5 * min(len(x), _CURVES)) + 0.3))
        places = [(n, 1, i + 1) for i in range(n)]
    else:
        lines = 1 + max(said.count("\n") for said in (title, *(said for _, said in panels))) + (first.ndim == 3)
        figure = Figure(figsize=(2.6 * n, 2.6 * aspect(x, first) + 0.2 + 0.15 * lines))
        places = [(1, n, i + 1) for i in range(n)]
    draw_input(figure.add_subplot(*places[0]), x, first, title)
    for place, (map_, said) in zip(places[1:], panels, strict=True):
        draw_map(figure.add_subplot(*place), x, map_, said, strongest_slice(first) if first.ndim == 3 else None)
    figure.tight_layout()
    return figure


def aspect(x: np.ndarray, map_: np.ndarray) -> float:
    """Height over width of the panel in which a map of an input is drawn."""
    shown_as_picture = kind_of_map(x, map_) in ("picture", "volume")
    return float(map_.shape[-2] / map_.shape[-1]) if shown_as_picture else 0.8


def strongest_slice(map_: np.ndarray) -> int:
    """The slice of a (D,H,W) map with its largest magnitude; the middle of a map that is zero everywhere."""
    peaks = np.abs(np.nan_to_num(map_)).max(axis=(1, 2))
    return int(peaks.argmax()) if peaks.any() else len(peaks) // 2


def draw_input(axes: Axes, x: np.ndarray, map_: np.ndarray, title: str) -> None:
    """An input as `input_figure` takes it; `map_` says what kind it is, and of a volume which slice is shown."""
    kind = kind_of_map(x, map_)
    if kind == "picture":
        axes.imshow(rgb(x[None])[0], interpolation="nearest")
        axes.set_axis_off()
    elif kind == "volume":
        at = strongest_slice(map_)
        low, high = float(x.min()), float(x.max())
        axes.imshow(rgb((x[None, :, at] - low) / max(high - low, 1e-12))[0], interpolation="nearest")
        axes.set_axis_off()
        title += f"\nslice {at} of 0 to {x.shape[1] - 1}"
    elif kind == "signal":
        _signal(axes, x)
    elif kind == "sequence":
        signed = bool((x < 0).any())
        most = float(np.abs(x).max()) or 1.0
        axes.imshow(
            x, cmap=colour_map(DIVERGING if signed else SEQUENTIAL), vmin=-most if signed else 0, vmax=most,
            aspect="auto", interpolation="nearest",
        )  # fmt: skip
        _name_steps(axes)
    else:
        axes.bar(range(len(x)), x, color="0.5")
    axes.set_title(title, fontsize=8)


def draw_map(axes: Axes, x: np.ndarray, map_: np.ndarray, title: str, at: int | None = None) -> None:
    """A signed map of an input, both as `input_figure` takes them. at: the slice of a volume; None: the strongest."""
    map_ = np.nan_to_num(map_)
    kind = kind_of_map(x, map_)
    colours = colour_table(DIVERGING)
    if kind == "picture":
        axes.imshow(colours[_signed(map_)], interpolation="nearest")
        axes.set_axis_off()
    elif kind == "volume":
        at = strongest_slice(map_) if at is None else at
        axes.imshow(colours[_signed(map_)[at]], interpolation="nearest")
        axes.set_axis_off()
        title += f"\nslice {at} of 0 to {len(map_) - 1}"
    elif kind == "signal":
        _signal(axes, x)
        left, right = axes.get_xlim()
        low, high = axes.get_ylim()
        axes.imshow(
            colours[_signed(map_)][None], aspect="auto", interpolation="nearest", alpha=0.75, zorder=0,
            extent=(-0.5, len(map_) - 0.5, low, high),
        )  # fmt: skip
        axes.set_xlim(left, right)
        axes.set_ylim(low, high)
    elif kind == "sequence":
        axes.imshow(colours[_signed(map_)], aspect="auto", interpolation="nearest")
        _name_steps(axes)
    else:
        axes.bar(range(len(map_)), map_, color=[tuple(colours[210 if v > 0 else 45] / 255) for v in map_])
    axes.set_title(title, fontsize=8)


def _signed(map_: np.ndarray) -> np.ndarray:
    """uint8 levels, 128 for zero, of a map without its few largest magnitudes."""
    most = float(np.percentile(np.abs(map_), _SHOWN)) or float(np.abs(map_).max())
    return signed_levels(map_.clip(-most, most), tuple(range(map_.ndim)))


def _signal(axes: Axes, x: np.ndarray) -> None:
    """The channels of a (C,L) signal, at most 8, one above the other where there are several."""
    shown = x[:_CURVES]
    if len(shown) == 1:
        _line(axes, shown[0])
    else:
        span = float(max(np.ptp(channel) for channel in shown)) or 1.0
        for i, channel in enumerate(shown):
            _line(axes, (channel - channel.mean()) / span - 1.1 * i)
        axes.set_yticks([-1.1 * i for i in range(len(shown))], [str(i) for i in range(len(shown))])
        axes.set_ylabel("channel" if len(shown) == len(x) else f"channel, of {len(x)}", fontsize=7)
    axes.set_xlim(-0.5, x.shape[1] - 0.5)
    axes.tick_params(labelsize=6)


def _line(axes: Axes, values: np.ndarray) -> None:
    # A single value would be a line of no length.
    axes.plot(np.arange(len(values)), values, color="0.15", linewidth=0.8, marker="." if len(values) == 1 else "")


def _name_steps(axes: Axes) -> None:
    axes.locator_params(integer=True)
    axes.set_xlabel("feature", fontsize=7)
    axes.set_ylabel("step", fontsize=7)
    axes.tick_params(labelsize=6)
