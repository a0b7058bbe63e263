"""Activation maps: what each channel of a layer answers to a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.images import colour, map_levels
from nn_lens.engine.pictures.results import Result, tile_figure
from nn_lens.errors import LensError, UnknownUnit
from nn_lens.units import Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Activations(Result):
    """One layer's answers to one picture: `maps` (C,H,W) float32, as the layer gives them."""

    layer: str
    maps: np.ndarray

    def top(self, k: int = 5, at: tuple[int, int] | None = None) -> list[tuple[Unit, float]]:
        """The `k` strongest units, [(Unit, activation)], strongest first, ties by channel.

        at: None ranks channels by their maximum; (row, column) ranks the neurons at that place of the map.

        Raises:
            UnknownUnit: the place lies outside the map.
        """
        if at is None:
            values = self.maps.max(axis=(1, 2))
        else:
            row, column = at
            rows, columns = self.maps.shape[1:]
            if not (0 <= row < rows and 0 <= column < columns):
                raise UnknownUnit(
                    f"The maps of {self.layer!r} are {rows} rows by {columns} columns; row {row}, column {column} is outside."
                )
            values = self.maps[:, row, column]
        order = np.argsort(-values, kind="stable")[: max(0, k)]
        place = (None, None) if at is None else at
        return [(Unit(self.layer, int(c), *place), float(values[c])) for c in order]

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        c, h, w = self.maps.shape
        best = f", strongest {self.top(1)[0][0]}" if c else ""
        return f"{c} activation maps of {h}x{w} of layer {self.layer}{best}"

    def figure(self) -> Figure:
        """A tile per channel, each on its own scale."""
        levels, _, signed = map_levels(self.maps)
        titles = [f"{c}  {v:.3g}" for c, v in enumerate(self.maps.max(axis=(1, 2)))]
        return tile_figure(colour(levels, signed), titles)


def activations(net: Network, picture: Any, layer: str) -> Activations:
    """The (C,H,W) activation maps of `layer` for one picture.

    Vectors (N,C) count as maps of 1x1; tokens are put back on their grid, without the class token.

    Raises:
        UnknownLayer: no such layer, or it cannot be shown. PictureError: no picture. NetworkError: forward fails.

    >>> net = nl.demo()
    >>> nl.activations(net, net.samples["cat"], "relu3").maps.shape
    (176, 16, 16)
    """
    net = as_network(net)
    name = net[layer].name
    maps, _ = several_activations(net, picture, [name])
    return maps[name]


def several_activations(
    net: Network, picture: Any, layers: list[str], scores: bool = False
) -> tuple[dict[str, Activations], np.ndarray | None]:
    """The activations of several layers from one forward pass, and with `scores` the (classes,) raw outputs."""
    x = net.picture(picture)[None]
    names = [*layers, ""] if scores else layers
    with net.evaluation(), torch.no_grad():
        outputs = net.outputs(x, names)
    answer = outputs.pop("", None)
    if answer is not None and answer.shape[2:] != (1, 1):
        raise LensError(f"{net.name} answers with maps, not with one score per class.")
    return (
        {name: Activations(name, as_numpy(maps[0])) for name, maps in outputs.items()},
        None if answer is None else as_numpy(answer[0, :, 0, 0]),
    )
