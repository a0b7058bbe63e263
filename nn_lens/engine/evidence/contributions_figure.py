"""The figure of contributions: picture, the first units' maps and their parts of the input, and values beside the control's."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from nn_lens.engine.pictures.figures import aspect, draw_input, draw_map
from nn_lens.engine.pictures.images import ORANGE, colour, map_levels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nn_lens.engine.evidence.contributions import Contributions

_BARS = 12


def draw(found: Contributions, most: int) -> Figure:
    """Of `most` units a column each: activations, where the layer has places, above the unit's part of the input."""
    from matplotlib.figure import Figure

    units = found.units[:most]
    parts = list(found.each_map(units))
    with_places = math.prod(found.activations.shape[1:]) > 1
    rows, columns = 1 + with_places, 1 + len(units)
    side = aspect(found.picture, parts[0])
    figure = Figure(figsize=(1.75 * columns, rows * (1.75 * side + 0.45) + 1.9), layout="constrained")
    above, below = figure.subfigures(2, height_ratios=[rows * (1.75 * side + 0.45), 1.9])  # type: ignore[misc]
    axes = above.subplots(rows, columns, squeeze=False)
    said = textwrap.fill(textwrap.shorten(found.target, 60, placeholder="..."), 24)
    draw_input(axes[0, 0], found.picture, parts[0], f"{said}\nscore {found.score:.3g}")
    if with_places:
        axes[1, 0].set_axis_off()
    for i, (unit, value, part) in enumerate(zip(units, found.values, parts, strict=False), 1):
        if with_places:
            _activation(axes[0, i], found.activations[unit.channel], f"{unit}\nadds {value:+.3g}")
        draw_map(
            axes[-1, i], found.picture, part, "its part of the input" if with_places else f"{unit}\nadds {value:+.3g}"
        )
    _bars(below.subplots(1, 1 + (found.control is not None), squeeze=False)[0], found)
    return figure


def _activation(axes: Axes, map_: np.ndarray, title: str) -> None:
    """A (*grid) activation map: a curve, a picture, or the middle slice."""
    axes.set_axis_off()
    axes.set_title(title, fontsize=7)
    if map_.ndim == 1:
        axes.axhline(0, color="0.8", linewidth=0.6)
        axes.plot(map_, color="0.15", linewidth=0.8)
        return
    levels, _, signed = map_levels((map_ if map_.ndim == 2 else map_[len(map_) // 2])[None])
    axes.imshow(colour(levels[0], signed), interpolation="nearest")


def _bars(axes: np.ndarray, found: Contributions) -> None:
    shown = [(found, f"adds to {textwrap.shorten(found.target, 40, placeholder='...')}")]
    if found.control is not None:
        shown.append((found.control, f"weights shuffled, similarity {found.similarity_to_control:.2f}"))
    for own, (one, title) in zip(axes, shown, strict=True):
        values, x = one.values[:_BARS], np.arange(len(one.values[:_BARS]))
        own.bar(x, values, color=ORANGE if one is found else "0.65")
        own.set_xticks(x, [str(u.channel) for u in one.units[:_BARS]], fontsize=6)
        own.tick_params(axis="y", labelsize=6)
        own.axhline(0, color="0.3", linewidth=0.8)
        own.set_title(f"{title}\nall {len(one.by_channel)} units {one.total:.3g}, rest {one.rest:.3g}", fontsize=7)
        own.set_xlabel(f"unit of {one.layer}", fontsize=7)
