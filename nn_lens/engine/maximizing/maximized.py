"""What the maximizing loop gives: steps on the way, and images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from nn_lens.engine.maximizing.figure import inputs_figure
from nn_lens.engine.maximizing.growth import Stage
from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.pictures.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Step:
    """One step of the loop: `index` from 0, `images` as `Maximized` has them, (N,) `activations` of the moved pictures.

    `canvas` (height, width, or as many sides as an input has): the part of the images, around the neuron, that this step was taken on; the rest is grey.
    """

    def __init__(self, index: int, pictures: torch.Tensor, activations: np.ndarray, stage: Stage) -> None:
        self.index = index
        self.activations = activations
        self.canvas = stage.sides
        self._pictures, self._stage = pictures, stage

    @cached_property
    def images(self) -> np.ndarray:
        """(N,*canvas) float32, pictures in [0,1], as they were when the activations were read."""
        return as_numpy(self._stage.framed(self._pictures))

    def __repr__(self) -> str:
        return f"Step({self.index}, activations {np.round(self.activations, 3).tolist()})"


@dataclass(frozen=True)
class Real:
    """A (C,H,W) part of a real picture, in [0,1], and the `activation` that it leads a unit to."""

    image: np.ndarray
    activation: float


@dataclass(frozen=True, repr=False)
class Maximized(Result):
    """Maximizing images: (N,C,H,W) `images` in [0,1] and what they reach; inputs of other kinds likewise (N,*canvas).

    `activations` (N,): the goal's own value on the final, untransformed pictures. `history` (steps,N): its value
    at each step on the moved pictures of the canvas of that step: `canvases` says from which step on it had which sides.
    `notes`: "" or why a picture is dead, or no maximum. `kind` of input. `remark`: "", or why the canvas is the whole input.
    `real`: of each image the part of a real picture, on the same canvas, that leads further than it, or None; () of results
    that were kept without.
    """

    goals: tuple[str, ...]
    images: np.ndarray
    activations: np.ndarray
    history: np.ndarray
    steps: int
    seconds: float
    notes: tuple[str, ...]
    kind: str = "picture"
    remark: str = ""
    canvases: tuple[tuple[int, tuple[int, ...]], ...] = ()
    real: tuple[Real | None, ...] = ()

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        first = f"{self.goals[0]} at activation {self.activations[0]:.3g}"
        more = f" and {len(self.goals) - 1} more" if len(self.goals) > 1 else ""
        what = "image" if self.kind == "picture" else self.kind
        noted = f" ({self.notes[0]})" if self.notes and self.notes[0] else ""
        return f"Maximizing {what} of {first}{noted}{more}{self.remark and f', {self.remark}'}"

    def figure(self) -> Figure:
        """A tile or panel per picture, signal, volume, sequence or vector, with its goal and activation. Where a real picture
        leads further, it stands before the image.
        """
        titles, shown = [], []
        reals = self.real or (None,) * len(self.goals)
        for goal, image, activation, real in zip(self.goals, self.images, self.activations, reals, strict=True):
            if real is not None:
                titles.append(f"{goal}  {real.activation:.3g}, real")
                shown.append(real.image)
            titles.append(f"{goal}  {activation:.3g}")
            shown.append(image)
        return inputs_figure(self.kind, np.stack(shown), titles)
