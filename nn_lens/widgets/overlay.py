"""A signed map of a picture laid over it, so that one sees what the evidence is about."""

from __future__ import annotations

import numpy as np

from nn_lens.engine.pictures import images

SIDE = 56  # cells along a map's longer side at most: what single pixels say, the eye adds up to nothing
_MOST = 99  # percent of a map's magnitudes that the colours tell apart
_GROUND = 0.45  # how much of the grey picture is seen where there is no evidence
_PAPER = 247.0


def pooled(map_: np.ndarray, side: int = SIDE) -> np.ndarray:
    """(h,w) means of the square blocks of an (H,W) map, as few pixels each as give at most `side` along both; blocks at the
    lower and right edges may be smaller.
    """
    height, width = map_.shape
    size = -(-max(height, width) // side)
    rows, columns = -(-height // size), -(-width // size)
    full = np.full((rows * size, columns * size), np.nan, np.float64)
    full[:height, :width] = np.nan_to_num(map_)
    return np.asarray(np.nanmean(full.reshape(rows, size, columns, size), axis=(1, 3)), np.float64)


def laid_over(map_: np.ndarray, picture: np.ndarray, side: int = SIDE) -> np.ndarray:
    """(H,W,3) uint8: a (C,H,W) picture in [0,1] in faint grey below the pooled (H,W) map, orange above zero, blue below, as
    opaque as it is strong; full from the 99th percentile of its magnitudes on. side: as of `pooled`.
    """
    height, width = map_.shape
    cells = pooled(map_, side)
    top = float(np.percentile(np.abs(cells), _MOST)) or float(np.abs(cells).max())
    strength = np.clip(cells / top, -1, 1) if top else cells
    size = -(-max(height, width) // side)
    strength = np.repeat(np.repeat(strength, size, 0), size, 1)[:height, :width, None]
    grey = 255 * picture.mean(0)[..., None]
    ground = _PAPER + _GROUND * (grey - _PAPER)
    table = images.colour_table(images.DIVERGING).astype(np.float64)
    ink = np.where(strength > 0, table[_ABOVE], table[_BELOW])
    share = np.abs(strength)
    return np.asarray(np.round(ground * (1 - share) + ink * share), np.uint8)


_ABOVE, _BELOW = 218, 38
"""Levels of the table whose colours are strong and not yet dark."""
