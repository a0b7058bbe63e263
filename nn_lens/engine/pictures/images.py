"""Numbers into colours: float arrays to uint8 RGB, the two colour maps, and grids of tiles."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.colors import ListedColormap

SEQUENTIAL, DIVERGING = "sequential", "diverging"
_sequential: ContextVar[str] = ContextVar("_sequential", default="cividis")

ORANGE, BLUE = "#d66a10", "#2f6fb0"
"""What bars above and below zero are drawn in: two of the diverging table's colours."""


@contextmanager
def sequential_colours(name: str) -> Iterator[None]:
    """In this thread, or task, and inside the block the sequential table is that of matplotlib's colormap `name`."""
    before = _sequential.set(name)
    try:
        yield
    finally:
        _sequential.reset(before)


def colour_table(name: str) -> np.ndarray:
    """(256,3) uint8 colours: "sequential" (dark to light, perceptually even) or "diverging" (blue, white, orange).

    The diverging table has its white at index 128, which stands for zero.
    """
    return _table(_sequential.get() if name == SEQUENTIAL else name)


@cache
def _table(name: str) -> np.ndarray:
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    if name in colormaps:
        map_ = colormaps[name].resampled(256)
    elif name == DIVERGING:
        blue_orange = ["#0b2f5c", BLUE, "#9cc3e6", "#f7f7f7", "#f5b87a", ORANGE, "#7a2f00"]
        map_ = LinearSegmentedColormap.from_list("blue_orange", blue_orange, N=255)
        colours = map_(np.concatenate([[0], np.arange(255)]).astype(int))
        return np.asarray(np.round(colours[:, :3] * 255), np.uint8)
    else:
        raise KeyError(name)
    return np.asarray(np.round(map_(np.arange(256))[:, :3] * 255), np.uint8)


def colour_map(name: str) -> ListedColormap:
    """A colour table as a matplotlib colormap, so that figures have the panel's colours.

    With vmin=-peak and vmax=peak the white of "diverging" stands for zero.
    """
    from matplotlib.colors import ListedColormap

    return ListedColormap(colour_table(name) / 255, name)


def signed_levels(a: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """uint8 of `a`, each entry over `axes` on a scale of its own: 128 is zero and NaN, 1 and 255 the largest magnitude."""
    largest = float(np.finfo(np.float32).max)
    a = np.nan_to_num(a, posinf=largest, neginf=-largest)
    peak = np.abs(a).max(axis=axes, keepdims=True)
    return np.asarray(np.round(128 + 127 * a / np.where(peak > 0, peak, 1)), np.uint8)


def map_levels(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """(C,*grid) maps as uint8, each on a scale of its own; (C,2) values of levels 0 and 255; whether signed.

    Maps without a negative value run from 0 (level 0) to their maximum (255). If any map of the
    layer has negative values, all are signed: level 128 is zero, 1 and 255 plus and minus the peak.
    """
    signed = bool((maps < 0).any())
    largest = float(np.finfo(np.float32).max)
    maps = np.nan_to_num(maps, posinf=largest, neginf=-largest)
    places = tuple(range(1, maps.ndim))
    peak = np.abs(maps).max(axis=places)
    if signed:
        return signed_levels(maps, places), np.stack([-peak * 128 / 127, peak], 1), True
    safe = np.where(peak > 0, peak, 1).reshape(-1, *[1] * len(places))
    return np.asarray(np.round(255 * maps / safe), np.uint8), np.stack([0 * peak, peak], 1), False


def colour(levels: np.ndarray, signed: bool) -> np.ndarray:
    """(...,3) uint8 RGB of uint8 levels as `map_levels` gives them."""
    colours: np.ndarray = colour_table(DIVERGING if signed else SEQUENTIAL)[levels]
    return colours


def rgb(pictures: np.ndarray) -> np.ndarray:
    """(N,H,W,3) uint8 of (N,C,H,W) floats in [0,1]: 1 channel as grey, more than 3 as their first three."""
    pictures = pictures[:, :3] if pictures.shape[1] >= 3 else pictures[:, :1].repeat(3, 1)
    return np.asarray(np.round(pictures.clip(0, 1).transpose(0, 2, 3, 1) * 255), np.uint8)


def sheet(tiles: np.ndarray, columns: int | None = None, gap: int = 0) -> np.ndarray:
    """(H,W,3) uint8 of (N,h,w,3) tiles laid out in rows of `columns`, `gap` white pixels between them."""
    n, h, w, _ = tiles.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    out = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // columns * (h + gap), i % columns * (w + gap)
        out[y : y + h, x : x + w] = tile
    return out


def encode(image: np.ndarray, lossless: bool = True) -> bytes:
    """PNG bytes of an (H,W,3) uint8 image, or JPEG at quality 85 where exactness does not matter."""
    file = io.BytesIO()
    picture = Image.fromarray(image)
    if lossless:
        picture.save(file, "PNG", compress_level=1)
    else:
        picture.save(file, "JPEG", quality=85)
    return file.getvalue()


def pad(tiles: Sequence[np.ndarray], level: int = 128) -> np.ndarray:
    """(N,h,w,3) uint8 of (h,w,3) tiles of several sizes, each in the middle of the largest, on grey."""
    height, width = (max(t.shape[axis] for t in tiles) for axis in (0, 1))
    framed = np.full((len(tiles), height, width, 3), level, np.uint8)
    for tile, own in zip(framed, tiles, strict=True):
        top, left = (height - own.shape[0]) // 2, (width - own.shape[1]) // 2
        tile[top : top + own.shape[0], left : left + own.shape[1]] = own
    return framed
