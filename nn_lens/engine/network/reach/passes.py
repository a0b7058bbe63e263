"""Where the boxes of all neurons of all layers start and stop, on inputs of any size, one pass for each axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from nn_lens.engine.network import capture, lookups
from nn_lens.engine.network.layouts import Layout
from nn_lens.engine.network.reach.follow import Reach, stand_in
from nn_lens.engine.network.reach.marks import Marks
from nn_lens.engine.network.runner import Runner

_KEPT = 1 << 18  # marks of a layer that are kept until the layer is asked for


class Ends(NamedTuple):
    """Where the boxes of all neurons of a layer start and stop along one axis of the input, arrays of the layer's grid."""

    starts: np.ndarray
    stops: np.ndarray

    @property
    def grid(self) -> tuple[int, ...]:
        """The grid of the layer."""
        return tuple(self.starts.shape)

    def walks(self, axis: int) -> int:
        """The axis of the grid along which the boxes move; where it may be several, the one of that number."""
        order = sorted(range(len(self.grid)), key=lambda g: g != axis)
        return next((g for g in order if any(np.ptp(ends) for ends in self.line(g))), order[0])

    def line(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Starts and stops along one axis of the grid, through the middle of the others."""
        where = tuple(slice(None) if g == axis else n // 2 for g, n in enumerate(self.grid))
        return self.starts[where], self.stops[where]


class Passes:
    """The passes through a model that were made so far, with the marks of all layers."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._marks: dict[tuple[tuple[int, ...], int, str], dict[str, Marks]] = {}
        self._calls: int | None = None  # of functions, in the first pass

    def ends(self, layer: str, layout: Layout, shape: tuple[int, ...], dims: Sequence[int]) -> tuple[Ends, ...] | None:
        """What a layer's neurons see of an input of `shape` along its `dims`; None where the model cannot be followed."""
        try:
            return tuple(self._ends(layer, layout, shape, dim) for dim in dims)
        except (KeyError, RuntimeError):  # not reached, or on a canvas, tokens that are not of the grid of the input
            return None

    def _ends(self, layer: str, layout: Layout, shape: tuple[int, ...], dim: int) -> Ends:
        (up, down, off), grid = self._maps(layer, layout, shape, dim, "up down off")
        if off.any():  # it mixes the inputs of a batch, so these are to be alike
            up, down = (self._maps(layer, layout, shape, dim, f"{way} {way}")[0][0] for way in ("up", "down"))
        starts = np.where(up > 0, shape[dim] - down, 0)
        return Ends(np.broadcast_to(starts, grid), np.broadcast_to(up, grid))

    def _maps(
        self, layer: str, layout: Layout, shape: tuple[int, ...], dim: int, ways: str
    ) -> tuple[np.ndarray, tuple[int, ...]]:
        """(ways,*grid) the largest marks of all channels, by the way in which the input's places are counted; the grid.

        Where marks are alike along an axis of the grid, it is 1 long.
        """
        known = self._marks.setdefault((shape, dim, ways), {})
        if layer not in known:
            known |= self._passed(layer, shape, dim, ways)
        reach = Reach()
        with reach:
            maps = layout.maps(stand_in(known[layer], torch.empty(())))
        marks = reach.marks(maps)
        assert marks is not None
        return marks.spread([0]).amax(1).long().cpu().numpy(), marks.shape[2:]

    def _passed(self, asked: str, shape: tuple[int, ...], dim: int, ways: str) -> dict[str, Marks]:
        """The marks of the layers, as far as the model goes; large ones only of the layer that is asked for."""
        # A recurrent network calls more functions on a larger input: nothing is learned there, and it would take long.
        reach, found = Reach(None if self._calls is None else 2 * self._calls), {}
        like = torch.empty((), dtype=self._runner.dtype, device=self._runner.device)

        def answered(name: str, output: torch.Tensor) -> None:
            marks = reach.marks(output) or Marks.none(output.shape, torch.empty(0, device=output.device))
            if name == asked or marks.core.numel() <= _KEPT:
                found[name] = marks

        model = self._runner
        with model.evaluation(), torch.inference_mode(False), torch.no_grad(), lookups.checked(model.device):
            x = reach.start(shape, dim, ways.split(), like)
            try:
                with reach:
                    capture.follow(self._runner, x, "", answered)
            except Exception:  # of the model, which may take no other size than its own, or there is no rule for it
                pass
        self._calls = self._calls or reach.calls
        return {} if reach.is_left else found
