"""Climbing the gradient, each picture of a batch for itself.

Each picture's gradient is brought to length 1 before it is averaged with those of the steps before, and the steps
become shorter until the last, of length 0: a picture rests when its steps are done. For a linear unit the first step
is then nearly the answer. Adam, whose even steps along all coordinates first paint noise that later steps have
to undo, takes more of them.

Reference for the shape of the last part: Loshchilov and Hutter, 2017, "SGDR", a cosine that ends at 0.
"""

from __future__ import annotations

import math

import torch

from nn_lens.engine.network.arrays import widest

_MOMENTUM = 0.7
_SHORTER = 24.0  # steps after which a step is half as long


class Ascent:
    """Free variables (N, ...) that climb, row by row, for `steps` steps.

    rate: length of the first step, root mean square over the variables of a picture; relative to that of the row where
    `sphere` keeps it as it started. before: the ascent that these variables go on with, whose memory is of others.
    """

    def __init__(self, free: torch.Tensor, rate: float, sphere: bool, steps: int, before: Ascent | None = None) -> None:
        self.rate, self.sphere = rate, sphere
        self.free = free.requires_grad_()
        self._radius = size_of(free.detach()) if sphere else torch.ones_like(size_of(free.detach()))
        self.moved = torch.zeros(len(free), dtype=torch.bool, device=free.device)  # ever had a gradient
        self._mean = torch.zeros_like(free)
        self._taken = [0] * len(free)
        self._left = [steps] * len(free)  # when the row started
        self._averaged = [0] * len(free)  # gradients in the mean
        if before is not None:
            self.moved, self._taken, self._left = before.moved, before._taken, before._left

    @torch.no_grad()
    def step(self, gradient: torch.Tensor) -> None:
        """One step up the gradient; a row without any stays where it is."""
        size = size_of(gradient)
        self.moved |= size.flatten() > 0
        self._mean.mul_(_MOMENTUM).addcdiv_(gradient, size.clamp_(min=1e-30), value=1 - _MOMENTUM)
        self._averaged = [n + 1 for n in self._averaged]
        progress = zip(self._taken, self._left, self._averaged, strict=True)
        lengths = [self.rate * _length(t, n) / (1 - _MOMENTUM**a) for t, n, a in progress]
        self._taken = [t + 1 for t in self._taken]
        length = torch.tensor(lengths, device=self.free.device).view_as(self._radius) * self._radius
        self.free.addcmul_(self._mean, length)
        if self.sphere:
            self.free.mul_(self._radius / size_of(self.free).clamp(min=1e-30))

    @torch.no_grad()
    def restart(self, row: int, free: torch.Tensor) -> None:
        """Puts a row at new free variables, its memory emptied; it rests with the others."""
        self.free[row] = free
        self._radius[row] = size_of(free[None])[0] if self.sphere else 1
        self.moved[row] = False
        self._mean[row] = 0
        self._left[row] -= self._taken[row]
        self._taken[row] = self._averaged[row] = 0


def size_of(x: torch.Tensor) -> torch.Tensor:
    """(N, 1, ...) root mean square of each row.

    Summed in double precision: the order of the sums depends on how many rows there are, and must not show.
    """
    dims = tuple(range(1, x.ndim))
    size: torch.Tensor = torch.linalg.vector_norm(x, dim=dims, keepdim=True, dtype=widest(x.device))
    size = (size / x[0].numel() ** 0.5).to(x.dtype)
    return size


def _length(taken: int, steps: int) -> float:
    """Of a step after `taken` of `steps`, relative to the first."""
    return (0.5 + 0.5 * math.cos(math.pi * min(1.0, taken / steps))) / (1 + taken / _SHORTER)
