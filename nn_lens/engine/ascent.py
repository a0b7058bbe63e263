"""Climbing the gradient, each picture of a batch for itself.

Each picture's gradient is brought to length 1 before it is averaged with those of the steps before, and the
steps become shorter. For a linear unit the first step is then nearly the answer. Adam, whose even steps along all
coordinates first paint noise that later steps have to undo, takes more of them.
Pictures leave the batch when they rest, or start again when they are dead, without their neighbours noticing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

_MOMENTUM = 0.7
_SHORTER = 6.0  # steps after which a step is half as long


class Ascent:
    """Free variables (N, ...) that climb, row by row.

    rate: length of the first step, root mean square over the variables of a picture; relative to that of the row where
    `sphere` keeps it as it started.
    """

    def __init__(self, free: torch.Tensor, rate: float, sphere: bool) -> None:
        self.rate, self.sphere = rate, sphere
        self.free = free.requires_grad_()
        self._radius = size_of(free.detach()) if sphere else torch.ones_like(size_of(free.detach()))
        self.moved = torch.zeros(len(free), dtype=torch.bool, device=free.device)  # ever had a gradient
        self._mean = torch.zeros_like(free)
        self._steps = torch.zeros(len(free), *[1] * (free.ndim - 1), device=free.device)

    @torch.no_grad()
    def step(self, gradient: torch.Tensor) -> None:
        """One step up the gradient; a row without any stays where it is."""
        size = size_of(gradient)
        self.moved |= size.flatten() > 0
        self._mean.mul_(_MOMENTUM).addcdiv_(gradient, size.clamp_(min=1e-30), value=1 - _MOMENTUM)
        length = self.rate * self._radius / (1 + self._steps / _SHORTER)
        self._steps += 1
        self.free.addcmul_(self._mean, length / (1 - _MOMENTUM**self._steps))
        if self.sphere:
            self.free.mul_(self._radius / size_of(self.free).clamp(min=1e-30))

    @torch.no_grad()
    def restart(self, row: int, free: torch.Tensor) -> None:
        """Puts a row at new free variables, its memory emptied."""
        self.free[row] = free
        self._radius[row] = size_of(free[None])[0] if self.sphere else 1
        self.moved[row] = False
        self._mean[row] = 0
        self._steps[row] = 0

    @torch.no_grad()
    def keep(self, rows: Sequence[int]) -> None:
        """Goes on with these rows only."""
        index = torch.as_tensor(rows, dtype=torch.long, device=self.free.device)
        self.free = self.free.detach()[index].requires_grad_()
        self.moved, self._radius = self.moved[index], self._radius[index]
        self._mean, self._steps = self._mean[index], self._steps[index]


def size_of(x: torch.Tensor) -> torch.Tensor:
    """(N, 1, ...) root mean square of each row."""
    size: torch.Tensor = torch.linalg.vector_norm(x, dim=tuple(range(1, x.ndim)), keepdim=True) / x[0].numel() ** 0.5
    return size
