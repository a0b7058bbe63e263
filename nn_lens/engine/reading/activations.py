"""Activation maps: what each channel of a layer answers to a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.figures import map_figure
from nn_lens.engine.pictures.results import Result
from nn_lens.errors import LensError, UnknownUnit
from nn_lens.units import Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Activations(Result):
    """One layer's answers to one picture: `maps` (C,*grid) float32, as the layer gives them.

    (C,H,W) for pictures, (C,L) for signals, (C,D,H,W) for volumes, (C,1,1) for vectors.
    """

    layer: str
    maps: np.ndarray

    def top(self, k: int = 5, at: int | tuple[int, ...] | None = None) -> list[tuple[Unit, float]]:
        """The `k` strongest units, [(Unit, activation)], strongest first, ties by channel.

        at: None ranks channels by their maximum; a place, (row, column) of maps with rows and columns and as many
            numbers as the maps have dimensions in general, ranks the neurons there.

        Raises:
            UnknownUnit: the place lies outside the map, or has another number of dimensions.
        """
        place = () if at is None else self._place(at)
        there: Any = (slice(None), *place)
        values = self._highest() if at is None else self.maps[there]
        order = np.argsort(-values, kind="stable")[: max(0, k)]
        return [(Unit(self.layer, int(c), *place), float(values[c])) for c in order]

    def _highest(self) -> np.ndarray:
        return np.asarray(self.maps.max(axis=tuple(range(1, self.maps.ndim))))

    def _place(self, at: int | tuple[int, ...]) -> tuple[int, ...]:
        place, grid = (at,) if isinstance(at, (int, np.integer)) else tuple(at), self.maps.shape[1:]
        if len(place) == len(grid) and all(0 <= i < n for i, n in zip(place, grid, strict=True)):
            return place
        if len(grid) == 2 == len(place):
            raise UnknownUnit(
                f"The maps of {self.layer!r} are {grid[0]} rows by {grid[1]} columns; row {place[0]}, column {place[1]} is outside."
            )
        numbers = f"{len(grid)} number{'s' * (len(grid) > 1)}"
        raise UnknownUnit(
            f"The maps of {self.layer!r} have {_times(grid)} places, each named by {numbers} from 0 on; there is no {place}."
        )

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        best = f", strongest {self.top(1)[0][0]}" if len(self.maps) else ""
        return f"{len(self.maps)} activation maps of {_times(self.maps.shape[1:])} of layer {self.layer}{best}"

    def figure(self) -> Figure:
        """A tile per channel, each on its own scale: a picture, of 1-D maps a curve, of 3-D ones the middle slice."""
        titles = [f"{c}  {v:.3g}" for c, v in enumerate(self._highest())]
        return map_figure(self.maps, titles)


def _times(grid: tuple[int, ...]) -> str:
    return "x".join(map(str, grid))


def activations(net: Network, picture: Any, layer: str) -> Activations:
    """The (C,H,W) activation maps of `layer` for one picture; (C,*grid) of other kinds of input.

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
