"""Affine resampling, and borders, whose gradients have the same bits every time.

Neighbouring places of an answer share what they read, and on a GPU torch adds their gradients up in any order. Whole numbers
add up to the same in any; and the places of a border are added up as a sum.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

_UNIT = 2.0**38  # of the largest gradient, in which it is counted: 1e6 of them fit into 64 bits


def resampled(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """(N,C,H,W) pictures or (N,C,D,H,W) volumes at the places of `grid`, as grid_sample with a reflected border has them."""
    if x.device.type != "cuda":
        return _sampled(x, grid)
    found: torch.Tensor = Resampled.apply(x, grid)
    return found


class Resampled(torch.autograd.Function):
    """With a gradient for what is resampled, and none for where."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:  # noqa: D102
        ctx.save_for_backward(grid)
        ctx.shape = x.shape
        return _sampled(x, grid)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: D102
        (grid,) = ctx.saved_tensors
        return _spread(gradient, grid, ctx.shape), None


def _sampled(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _spread(gradient: torch.Tensor, grid: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """The gradient of each place of the answer, shared out to the corners between which it was read."""
    n, c, *sides = shape
    at = [_reflected(grid[..., -1 - d].double(), side) for d, side in enumerate(sides)]
    low = [x.floor() for x in at]
    corners = list(itertools.product((0, 1), repeat=len(sides)))
    share = torch.ones(len(corners), *at[0].shape, dtype=torch.double, device=gradient.device)
    place = torch.zeros_like(share, dtype=torch.long)
    for d, side in enumerate(sides):
        up = torch.tensor([c[d] for c in corners], device=gradient.device).view(-1, *[1] * at[0].ndim)
        share = share * torch.where(up > 0, at[d] - low[d], 1 - (at[d] - low[d]))
        place = place * side + (low[d].long() + up).clamp(max=side - 1)
    largest = gradient.flatten(1).abs().amax(1).clamp(min=1e-30).double()  # NaN stays with its picture
    unit = (_UNIT / largest).view(-1, *[1] * (gradient.ndim - 1))
    whole = ((gradient.double() * unit).unsqueeze(0) * share.unsqueeze(2)).round().long()
    total = torch.zeros(n, c, math.prod(sides), dtype=torch.long, device=gradient.device)
    for at_corner, part in zip(place, whole, strict=True):
        total.scatter_add_(2, at_corner.flatten(1)[:, None].expand(n, c, -1), part.flatten(2))
    return (total.double().view(*shape) / unit).to(gradient.dtype)


def bordered(x: torch.Tensor, width: int) -> torch.Tensor:
    """Pictures, signals or volumes with so many places more on each side, which repeat the last."""
    if x.device.type != "cuda":
        return F.pad(x, [width] * (2 * (x.ndim - 2)), mode="replicate")
    for d in range(2, x.ndim):
        sizes = [width if i == d else -1 for i in range(x.ndim)]
        first, last = x.narrow(d, 0, 1).expand(sizes), x.narrow(d, x.shape[d] - 1, 1).expand(sizes)
        x = torch.cat([first, x, last], d)
    return x


def _reflected(x: torch.Tensor, side: int) -> torch.Tensor:
    """Coordinates from -1 to 1 in pixels of a side, reflected at its borders."""
    x = (((x + 1) * side - 1) / 2 + 0.5).abs()
    times = (x / side).floor()
    rest = x - times * side
    return torch.where(times % 2 == 0, rest, side - rest).sub(0.5).clamp(0, side - 1)
