"""Robustness transforms: small random moves that each picture of a batch draws for itself.

A whole stack of them is one affine resampling per step, with a reflected border. What is drawn comes
from a generator per picture, so that a picture does not depend on what shares its batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from nn_lens.errors import LensError


@dataclass(frozen=True)
class Transform:
    """Ranges of a random affine move: `shift` in pixels, `angle` in degrees, `zoom` as a share; 0 is none."""

    shift: float = 0.0
    angle: float = 0.0
    zoom: float = 0.0
    padding: int = 0

    def draw(self, generator: torch.Generator, steps: int) -> torch.Tensor:
        """(steps, 4) numbers for one picture: angle in radians, scale, shift down and right in pixels."""
        u = torch.rand(steps, 4, generator=generator) * 2 - 1
        ranges = torch.tensor([math.radians(self.angle), self.zoom, self.shift, self.shift])
        return u * ranges + torch.tensor([0.0, 1.0, 0.0, 0.0])

    def apply(self, x: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) pictures, each moved as its row of `drawn` (N,4) says; differentiable."""
        if self.padding:
            x = F.pad(x, [self.padding] * 4, mode="reflect" if self.padding < min(x.shape[2:]) else "replicate")
        if not (self.shift or self.angle or self.zoom):
            return x
        h, w = x.shape[2:]
        drawn = drawn.to(x.device)
        c, s = drawn[:, 0].cos() * drawn[:, 1], drawn[:, 0].sin() * drawn[:, 1]
        # Coordinates run from -1 to 1 over both sides: a turn of a non-square picture needs their ratio.
        rows = [
            torch.stack([c, -s * h / w, drawn[:, 3] * 2 / w], 1),
            torch.stack([s * w / h, c, drawn[:, 2] * 2 / h], 1),
        ]
        grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid.to(x.dtype), padding_mode="reflection", align_corners=False)


def jitter(pixels: float) -> Transform:
    """Shifts by up to `pixels` in both directions."""
    return Transform(shift=_at_least_0("pixels", pixels))


def rotate(degrees: float) -> Transform:
    """Turns by up to `degrees` either way."""
    return Transform(angle=_at_least_0("degrees", degrees))


def scale(share: float) -> Transform:
    """Scales by up to `share` up and down; .08 means .92 to 1.08."""
    if not 0 <= share < 1:
        raise LensError(f"scale takes a share from 0 to below 1, got {share}.")
    return Transform(zoom=share)


def pad(pixels: int) -> Transform:
    """A reflected border of `pixels` around the picture; the network has to take the larger picture."""
    return Transform(padding=int(_at_least_0("pixels", pixels)))


def compose(transforms: Sequence[Transform]) -> Transform:
    """Several transforms as the one resampling that they amount to; ranges add up."""
    zoom = math.prod(1 + t.zoom for t in transforms) - 1
    return Transform(
        sum(t.shift for t in transforms), sum(t.angle for t in transforms), zoom, sum(t.padding for t in transforms)
    )


def standard(side: int = 224) -> Transform:
    """The default: 8 degrees, 8 % and a shift of 4 to 6 pixels, less on pictures under 40 pixels a side."""
    return compose([jitter(min(6.0, max(side / 16, min(4.0, side / 10)))), rotate(8), scale(0.08)])


NONE = Transform()


def _at_least_0(name: str, value: float) -> float:
    if not value >= 0:
        raise LensError(f"{name} must be 0 or more, got {value}.")
    return value
