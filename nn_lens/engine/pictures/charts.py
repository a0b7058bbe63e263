"""Numbers of any kind of input as small pictures: curves, bars and heat maps on light paper, readable on dark pages too.

Time runs from left to right: the steps of a sequence are columns, its features rows. Of a volume one slice is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nn_lens.engine.pictures.images import BLUE, ORANGE, colour, map_levels, pad, rgb, signed_levels

PAPER = 247
"""The grey that charts are drawn on, which is that of zero in the diverging table too."""

WIDTH, HEIGHT = 144, 90  # pixels of a chart
_INK, _AXIS = (34, 34, 34), (176, 176, 176)
_CURVES = 4  # channels of a signal that are drawn one above the other; more become a heat map
_MARGIN = 3  # pixels above and below what is drawn
_FAINT = 0.7  # how strong the colours are that a curve is drawn on


def charts(
    values: Sequence[np.ndarray] | np.ndarray, kind: str, share: float = 0.5, width: int = WIDTH, height: int = HEIGHT
) -> np.ndarray:
    """(N,h,w,3) uint8 pictures of N inputs of a kind; pictures and slices keep their own size, of several the largest.

    values: pictures (C,H,W) in [0,1], signals (C,L), volumes (C,D,H,W), sequences (T,F) or vectors (F,), each on a scale
        of its own. share: which slice of a volume, 0 for the first, 1 for the last. width, height: of all others.
    """
    return pad([chart(each, kind, share, width, height) for each in values], PAPER)


def chart(values: np.ndarray, kind: str, share: float = 0.5, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(h,w,3) uint8 picture of one input; see `charts`."""
    values = np.nan_to_num(np.asarray(values, np.float32))
    if kind == "picture":
        return np.asarray(rgb(values[None])[0])
    if kind == "volume":
        low, high = float(values.min()), float(values.max())
        plane = values[:, slice_at(share, values.shape[1])]
        return np.asarray(rgb((plane[None] - low) / max(high - low, 1e-12))[0])
    if kind == "signal":
        return _curves(values, width, height) if len(values) <= _CURVES else _heat(values, width, height)
    return _heat(values.T, width, height) if kind == "sequence" else _bars(values, width, height)


def evidence(
    map_: np.ndarray, values: np.ndarray, kind: str, share: float = 0.5, width: int = WIDTH, height: int = HEIGHT
) -> np.ndarray:
    """(h,w,3) uint8 picture of a signed map of an input: orange above zero, blue below.

    map_: (H,W), (L,), (D,H,W), (T,F) or (F,), of an input `values`; a signal is drawn on the colours of its map.
    """
    map_ = np.nan_to_num(np.asarray(map_, np.float32))
    if kind == "vector":
        return _bars(map_, width, height)
    levels = signed_levels(map_[None], tuple(range(1, map_.ndim + 1)))[0]
    if kind == "picture":
        return colour(levels, True)
    if kind == "volume":
        return colour(levels[slice_at(share, len(levels))], True)
    if kind == "sequence":
        return _stretched(colour(levels.T, True), width, height)
    ground = _stretched(colour(_strongest(levels, width)[None], True), width, height)
    ground = np.asarray(np.round(PAPER + _FAINT * (ground.astype(np.float32) - PAPER)), np.uint8)
    return _curves(np.nan_to_num(values)[:_CURVES], width, height, ground)


def slice_at(share: float, depth: int) -> int:
    """The slice of a volume at a share of its depth: 0 the first, 1 the last."""
    return min(depth - 1, max(0, int(share * depth)))


def _curves(signal: np.ndarray, width: int, height: int, ground: np.ndarray | None = None) -> np.ndarray:
    """The channels of a (C,L) signal one above the other, on one scale; the line at zero where zero is on it."""
    out = np.full((height, width, 3), PAPER, np.uint8) if ground is None else ground
    low, high = float(signal.min()), float(signal.max())
    if high - low < 1e-12:
        low, high = low - 1, high + 1
    band = height / len(signal)
    for i, channel in enumerate(signal):
        top, room = band * i + _MARGIN, max(2.0, band - 2 * _MARGIN)

        def row(value: np.ndarray | float, top: float = top, room: float = room) -> np.ndarray:
            return np.clip(np.round(top + (high - np.asarray(value)) / (high - low) * (room - 1)), 0, height - 1)

        if low <= 0 <= high:
            out[int(row(0.0))] = _AXIS
        upper, lower = _envelope(channel, width)
        # Two pixels thick, so that a steep line does not fade when the picture is made smaller.
        _fill(out, row(upper), np.minimum(row(lower) + 1, height - 1), _INK)
    return out


def _envelope(values: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """By column, the largest and the smallest of the values that the line through them has there."""
    n = len(values)
    edges = np.linspace(-0.5, n - 0.5, width + 1)  # a value stands in the middle of its part of the width
    at_edges = np.interp(edges, np.arange(n), values)
    upper, lower = np.maximum(at_edges[:-1], at_edges[1:]), np.minimum(at_edges[:-1], at_edges[1:])
    column = np.minimum(np.searchsorted(edges, np.arange(n), "right") - 1, width - 1)
    np.maximum.at(upper, column, values)
    np.minimum.at(lower, column, values)
    return upper, lower


def _bars(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """A bar from zero to each value, orange above and blue below; the largest magnitude fills the picture."""
    n = len(values)
    signed = bool((values < 0).any())
    peak = float(np.abs(values).max()) or 1.0
    zero = (height - 1) / 2 if signed else height - 1 - _MARGIN
    room = zero - _MARGIN
    out = np.full((height, width, 3), PAPER, np.uint8)
    first = np.minimum(np.arange(width) * n // width, n - 1)
    stop = np.maximum(first + 1, -(-np.arange(1, width + 1) * n // width))
    starts = np.concatenate([[0], np.cumsum(stop - first)[:-1]])
    index = np.concatenate([np.arange(a, b) for a, b in zip(first, np.minimum(stop, n), strict=True)])
    upper = np.maximum.reduceat(values[index], starts)
    lower = np.minimum.reduceat(values[index], starts)
    if width // n >= 4:  # bars apart
        gaps = np.concatenate([np.diff(first) > 0, [False]])
        upper, lower = np.where(gaps, 0, upper), np.where(gaps, 0, lower)
    for most, paint, above in ((upper, ORANGE, True), (lower, BLUE, False)):
        ends = zero - np.clip(most, 0, None) / peak * room if above else zero - np.clip(most, None, 0) / peak * room
        there = most > 0 if above else most < 0
        colour_ = tuple(int(paint[i : i + 2], 16) for i in (1, 3, 5))
        tops, bottoms = (ends, np.full(width, zero)) if above else (np.full(width, zero), ends)
        _fill(out, np.where(there, np.round(tops), height), np.round(bottoms), colour_)
    out[round(zero)] = _AXIS
    return out


def _fill(out: np.ndarray, tops: np.ndarray, bottoms: np.ndarray, ink: tuple[int, ...]) -> None:
    """Fills each column from its top to its bottom row, both included."""
    rows = np.arange(len(out))[:, None]
    out[(rows >= tops[None]) & (rows <= bottoms[None])] = ink


def _heat(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """(rows, columns) numbers as colours on one scale."""
    levels, _, signed = map_levels(values[None])
    return _stretched(colour(levels[0], signed), width, height)


def _strongest(levels: np.ndarray, width: int) -> np.ndarray:
    """(L,) signed levels in at most `width` columns, each the farthest from zero of those that fall together."""
    if len(levels) <= width:
        return levels
    parts = np.array_split(levels, width)
    return np.array([part[np.abs(part.astype(int) - 128).argmax()] for part in parts], np.uint8)


def _stretched(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """A small picture over the whole area, or every so many pixels of a large one; nothing is blurred."""
    rows = np.minimum(np.arange(height) * picture.shape[0] // height, picture.shape[0] - 1)
    columns = np.minimum(np.arange(width) * picture.shape[1] // width, picture.shape[1] - 1)
    return np.ascontiguousarray(picture[np.ix_(rows, columns)])
