"""Free variables -> picture: what the maximizing loop turns, and how it becomes a picture in [0,1].

Reference: Olah, Mordvintsev and Schubert, 2017, "Feature visualization", section "preconditioning":
a Fourier basis scaled to equal energy per frequency, and decorrelated colour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nn_lens.errors import LensError

# Square root of the covariance of RGB over the training pictures of the bundled network, largest column of
# length 1: brightness, blue against red-yellow, green against magenta. Made by networks/colour_statistics.py.
COLOURS = ((0.5743, 0.2858, 0.0796), (0.5858, 0.0214, -0.1405), (0.5719, -0.3089, 0.0639))


@dataclass(frozen=True)
class Parametrization:
    """`start(shape, generators)` gives the free variables of N pictures, `picture(free)` the (N,C,H,W) in [0,1].

    `rate` is the learning rate of Adam that suits the free variables.
    """

    name: str
    start: Callable[[tuple[int, ...], Sequence[torch.Generator]], torch.Tensor]
    picture: Callable[[torch.Tensor, tuple[int, ...]], torch.Tensor]
    rate: float = 0.05


def fourier(deviation: float = 0.01, decay: float = 1.0, colours: Any = COLOURS) -> Parametrization:
    """Pictures as Fourier coefficients of equal energy per frequency; the default.

    deviation: standard deviation of the starting coefficients. decay: power of 1/frequency.
    colours: (3,3) matrix from decorrelated to RGB colour, None for none; used for 3 channels only.
    """

    def start(shape: tuple[int, ...], generators: Sequence[torch.Generator]) -> torch.Tensor:
        c, h, w = shape
        return torch.stack([torch.randn(c, h, w // 2 + 1, 2, generator=g) for g in generators]) * deviation

    def picture(free: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        _, h, w = shape
        spectrum = torch.view_as_complex(free) * frequency_scale(h, w, decay).to(free.device)
        x = torch.fft.irfft2(spectrum, s=(h, w), norm="ortho") / 4
        return torch.sigmoid(_coloured(x, colours))

    return Parametrization("fourier", start, picture)


def pixels(deviation: float = 0.01, colours: Any = None) -> Parametrization:
    """Pictures as plain pixels before a sigmoid: noisier than `fourier`, kept for comparison."""

    def start(shape: tuple[int, ...], generators: Sequence[torch.Generator]) -> torch.Tensor:
        return torch.stack([torch.randn(*shape, generator=g) for g in generators]) * deviation

    def picture(free: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.sigmoid(_coloured(free, colours))

    return Parametrization("pixels", start, picture)


def vector(low: float | Sequence[float] = 0.0, high: float | Sequence[float] = 1.0) -> Parametrization:
    """Inputs that are no pictures: one free number per feature, kept between `low` and `high`."""
    bounds = torch.as_tensor(low, dtype=torch.float32), torch.as_tensor(high, dtype=torch.float32)
    if not bool((bounds[0] < bounds[1]).all()):
        raise LensError("vector needs low below high for every feature.")

    def start(shape: tuple[int, ...], generators: Sequence[torch.Generator]) -> torch.Tensor:
        return torch.stack([torch.randn(*shape, generator=g) for g in generators]) * 0.01

    def picture(free: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return bounds[0] + (bounds[1] - bounds[0]) * torch.sigmoid(free)

    return Parametrization("vector", start, picture)


def frequency_scale(height: int, width: int, decay: float = 1.0) -> torch.Tensor:
    """(H, W//2+1) factor 1/frequency^decay of each coefficient; the lowest counts as one wave per picture."""
    fy = torch.fft.fftfreq(height)[:, None]
    fx = torch.fft.rfftfreq(width)[None]
    scale: torch.Tensor = (fx**2 + fy**2).sqrt().clamp(min=1 / max(height, width)) ** -decay
    return scale


def _coloured(x: torch.Tensor, colours: Any) -> torch.Tensor:
    if colours is None or x.shape[1] != 3:
        return x
    matrix = torch.as_tensor(colours, dtype=x.dtype, device=x.device)
    return torch.einsum("oi,nihw->nohw", matrix, x)
