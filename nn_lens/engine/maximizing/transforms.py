"""Robustness transforms: small random moves that each picture of a batch draws for itself.

A whole stack of them is one affine resampling per step, with a reflected border, and one blur; signals and volumes are
moved along each of their dimensions likewise, but not turned. What is drawn comes from a generator per picture, so that a picture does not depend on what shares its batch. The moves of one picture
cover their ranges evenly from step to step (Sobol, 1967): the gradients of a few steps then tell of the whole range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from nn_lens.engine.maximizing.resampling import bordered, resampled
from nn_lens.errors import LensError


@dataclass(frozen=True)
class Transform:
    """Ranges of a random affine move: `shift` in pixels, `angle` in degrees, `zoom` as a share; 0 is none.

    `blur`: standard deviation in pixels of a Gaussian that every moved picture is smoothed with.
    """

    shift: float = 0.0
    angle: float = 0.0
    zoom: float = 0.0
    padding: int = 0
    blur: float = 0.0

    def draw(self, generator: torch.Generator, steps: int, places: int = 2) -> torch.Tensor:
        """(steps, 4) numbers for one picture: angle in radians, scale, shift down and right in pixels.

        places: dimensions along which it moves; of volumes (steps, 5), whose third last is the shift in depth.
        """
        shifts = max(2, places)
        seed = int(torch.randint(2**31, (1,), generator=generator))
        u = torch.quasirandom.SobolEngine(2 + shifts, scramble=True, seed=seed).draw(steps) * 2 - 1
        ranges = torch.tensor([math.radians(self.angle), self.zoom, *[self.shift] * shifts])
        return u * ranges + torch.tensor([0.0, 1.0, *[0.0] * shifts])

    def matrices(self, drawn: torch.Tensor, *sides: int) -> torch.Tensor:
        """(..., 2, 3) affine moves of padded pictures of height x width, from (..., 4) drawn numbers; `sides` of a signal
        are its length, and of a volume, (..., 3, 4), its depth, height and width.
        """
        if len(sides) == 3:
            return self._straight(drawn, sides)
        h, w = (side + 2 * self.padding for side in (1 - 2 * self.padding, *sides)[-2:])
        angle, zoom, down, right = drawn.unbind(-1)
        c, s = angle.cos() * zoom, angle.sin() * zoom
        if len(sides) == 1:  # a picture of one row, whose only row stays where it is
            none = torch.zeros_like(zoom)
            flat = [torch.stack([zoom, none, right * 2 / w], -1), torch.stack([none, none + 1, none], -1)]
            return torch.stack(flat, -2)
        # Coordinates run from -1 to 1 over both sides: a turn of a non-square picture needs their ratio.
        rows = [torch.stack([c, -s * h / w, right * 2 / w], -1), torch.stack([s * w / h, c, down * 2 / h], -1)]
        return torch.stack(rows, -2)

    def _straight(self, drawn: torch.Tensor, sides: tuple[int, ...]) -> torch.Tensor:
        _, zoom, *shifts = drawn.unbind(-1)
        moves = [shift * 2 / (side + 2 * self.padding) for shift, side in zip(shifts, sides, strict=True)]
        scaled = zoom[..., None, None] * torch.eye(3, dtype=drawn.dtype)
        return torch.cat([scaled, torch.stack(moves[::-1], -1)[..., None]], -1)

    def apply(self, x: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) pictures, (N,C,L) signals or (N,C,D,H,W) volumes, each moved by its row of `matrices`; differentiable."""
        places = x.ndim - 2
        if self.padding:
            inside = self.padding < min(x.shape[2:])
            x = F.pad(x, [self.padding] * (2 * places), mode="reflect" if inside else "replicate")
        if self.shift or self.angle or self.zoom:
            flat = x[:, :, None] if places == 1 else x
            grid = F.affine_grid(matrices.to(flat), list(flat.shape), align_corners=False)
            flat = resampled(flat, grid)
            x = flat[:, :, 0] if places == 1 else flat
        return gaussian_blur(x, self.blur) if self.blur else x


def jitter(pixels: float) -> Transform:
    """Shifts by up to `pixels` in both directions.

    >>> nl.transforms.jitter(8)
    Transform(shift=8, angle=0.0, zoom=0.0, padding=0, blur=0.0)
    """
    return Transform(shift=_at_least_0("pixels", pixels))


def rotate(degrees: float) -> Transform:
    """Turns by up to `degrees` either way.

    >>> nl.transforms.rotate(10).angle
    10
    """
    return Transform(angle=_at_least_0("degrees", degrees))


def scale(share: float) -> Transform:
    """Scales by up to `share` up and down; .08 means .92 to 1.08.

    >>> nl.transforms.scale(0.08).zoom
    0.08
    """
    if not 0 <= share < 1:
        raise LensError(f"scale takes a share from 0 to below 1, got {share}.")
    return Transform(zoom=share)


def blur(sigma: float) -> Transform:
    """Smooths with a Gaussian of `sigma` pixels: what shows between neighbouring pixels only does not count.

    >>> nl.transforms.blur(0.7).blur
    0.7
    """
    return Transform(blur=_at_least_0("sigma", sigma))


def pad(pixels: int) -> Transform:
    """A reflected border of `pixels` around the picture; the network has to take the larger picture.

    >>> nl.maximize(nl.demo(), "relu1:5", transforms=nl.transforms.pad(4), steps=2).images.shape
    (1, 3, 25, 25)
    """
    return Transform(padding=int(_at_least_0("pixels", pixels)))


def compose(transforms: Sequence[Transform]) -> Transform:
    """Several transforms as the one resampling and blur that they amount to; ranges add up, as do squares of blurs.

    >>> t = nl.transforms
    >>> t.compose([t.jitter(2), t.rotate(5), t.jitter(1)])
    Transform(shift=3.0, angle=5.0, zoom=0.0, padding=0, blur=0.0)
    """
    zoom = math.prod(1 + t.zoom for t in transforms) - 1
    return Transform(
        sum(t.shift for t in transforms), sum(t.angle for t in transforms), zoom, sum(t.padding for t in transforms),
        math.hypot(*(t.blur for t in transforms)),
    )  # fmt: skip


def standard(side: int = 224, whole: bool = False) -> Transform:
    """The default: 8 degrees, 8 %, a shift of 4 to 6 pixels, and a blur of .7 pixels.

    whole: for goals that look at the whole canvas, such as classes, which have no field that could be shifted off it:
    12 degrees, 15 % and a shift of a fourteenth of the side. What such a picture shows is then there wherever it
    stands, and other networks see it more often, too.

    >>> nl.transforms.standard(64).shift, nl.transforms.standard(224, whole=True).shift
    (4.0, 16.0)
    """
    # Shifts of at least 4 pixels come to every offset of a stride of up to 4.
    if whole:
        shift = max(4.0, side / 14)  # 16 pixels at 224, a share that holds for other sides
        return compose([jitter(shift), rotate(12), scale(0.15), blur(0.7)])
    shift = min(6.0, max(side / 16, 4.0))  # at most what the margin around the field leaves room for
    return compose([jitter(shift), rotate(8), scale(0.08), blur(0.7)])


def of_kind(kind: str, sides: Sequence[int], whole: bool = False) -> Transform:
    """The default for a kind of input with these sides: `standard` for pictures; signals and volumes are shifted only.

    A signal is shifted by a sixteenth of its length, a volume by one of its shortest side, by 1 to 6 places. The steps of
    a sequence and the numbers of a vector have their meaning by where they stand, and stay there.

    >>> nl.transforms.of_kind("signal", [40])
    Transform(shift=2.5, angle=0.0, zoom=0.0, padding=0, blur=0.0)
    """
    if kind == "picture":
        return standard(min(sides), whole)
    if kind in ("signal", "volume"):
        return jitter(min(6.0, max(1.0, min(sides) / 16)))
    return NONE


NONE = Transform()


def gaussian_blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of (N,C,H,W) pictures, with a border that repeats its last pixel; of signals and volumes likewise.

    >>> nl.transforms.gaussian_blur(torch.ones(1, 3, 8, 10), 1.5).shape
    torch.Size([1, 3, 8, 10])
    """
    radius, places = max(1, round(3 * sigma)), x.ndim - 2
    line = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device) / sigma) ** 2)
    x = bordered(x, radius)
    if places == 2:
        kernel = torch.outer(line, line) / line.sum() ** 2
        x = x.contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, kernel.expand(x.shape[1], 1, -1, -1), groups=x.shape[1])
    convolve = F.conv1d if places == 1 else F.conv3d
    for axis in range(places):
        sides = [-1 if i == axis else 1 for i in range(places)]
        kernel = (line / line.sum()).view(1, 1, *sides).expand(x.shape[1], *[-1] * (places + 1))
        x = convolve(x, kernel, groups=x.shape[1])
    return x


def _at_least_0(name: str, value: float) -> float:
    if not value >= 0:
        raise LensError(f"{name} must be 0 or more, got {value}.")
    return value
