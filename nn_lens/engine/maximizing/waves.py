"""Inputs as sums of waves, along one, two or three dimensions; and how numbers are kept within their range.

Sums are in double precision where their order would depend on how many inputs share a batch: an input must not look
otherwise in company.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F

from nn_lens.engine.maximizing.ascent import size_of
from nn_lens.engine.network.arrays import widest


def to_values(free: torch.Tensor, sides: tuple[int, ...], decay: float) -> torch.Tensor:
    """(N,C,*frequencies,2) coefficients of equal energy per frequency -> (N,C,*sides)."""
    whole = quick(sides)
    dims = tuple(range(-len(sides), 0))
    spectrum = torch.view_as_complex(free) * frequency_scale(whole, decay).to(free.device)
    x: torch.Tensor = torch.fft.irfftn(spectrum, s=whole, dim=dims, norm="ortho")
    for i, n in enumerate(sides):
        x = x.narrow(2 + i, 0, n)
    return x


def to_coefficients(x: torch.Tensor, decay: float) -> torch.Tensor:
    """(N,C,*sides) -> coefficients whose values it is."""
    whole = quick(tuple(x.shape[2:]))
    dims = tuple(range(-len(whole), 0))
    spectrum = torch.fft.rfftn(x, s=whole, dim=dims, norm="ortho") / frequency_scale(whole, decay).to(x.device)
    return torch.view_as_real(spectrum)


def coefficients_of(sides: tuple[int, ...]) -> tuple[int, ...]:
    """How many coefficients a canvas has along each of its dimensions."""
    *others, last = quick(sides)
    return *others, last // 2 + 1


def fill_up(x: torch.Tensor) -> torch.Tensor:
    """(N,C,*sides) with sides that the Fourier transform is quick at; the border is repeated."""
    pairs = zip(reversed(quick(tuple(x.shape[2:]))), reversed(x.shape[2:]), strict=True)
    return F.pad(x, [n for whole, side in pairs for n in (0, whole - side)], mode="replicate")


@lru_cache(maxsize=64)
def frequency_scale(sides: tuple[int, ...], decay: float = 1.0) -> torch.Tensor:
    """(*sides[:-1], sides[-1]//2+1) factor 1/frequency^decay of each coefficient; the lowest counts as one wave per canvas.

    Along the last dimension a coefficient stands for two waves, but for those of no wave and of the shortest (the last side
    is even): with the root of two as factor they have the same part in the values. Without, each row tends to a mean of
    grey, and what is bright in its middle draws a dark line from border to border.
    """
    scale: torch.Tensor = frequencies(sides).clamp(min=1 / max(sides)) ** -decay
    scale[..., [0, -1]] *= math.sqrt(2)
    return scale


def frequencies(sides: tuple[int, ...]) -> torch.Tensor:
    """(*sides[:-1], sides[-1]//2+1) in cycles per place."""
    *others, last = sides
    squares = torch.fft.rfftfreq(last) ** 2
    for i, n in enumerate(reversed(others)):
        squares = squares + torch.fft.fftfreq(n).view(-1, *[1] * (i + 1)) ** 2
    root: torch.Tensor = squares.sqrt()
    return root


@lru_cache(maxsize=64)
def quick(sides: tuple[int, ...]) -> tuple[int, ...]:
    """Each side, or the next even one that the Fourier transform is quick at: no prime factor above 7."""

    def smooth(n: int) -> bool:
        for p in (2, 3, 5, 7):
            while n % p == 0:
                n //= p
        return n == 1

    return tuple(
        n if n % 2 == 0 and smooth(n) else next(m for m in range(n + n % 2, 2 * n + 4, 2) if smooth(m)) for n in sides
    )


# ---- within their range ----


def sigmoid(x: torch.Tensor) -> torch.Tensor:
    """In double precision: at the ends of its memory torch takes another exponential, so that in single precision the
    last bit of a picture would depend on its neighbours.
    """
    return torch.sigmoid(x.to(widest(x.device))).to(x.dtype)


def bounded(x: torch.Tensor, bound: float) -> torch.Tensor:
    """As it is near 0, and never beyond `bound` either way."""
    return bound * (2 * sigmoid(x * (2 / bound)) - 1)


def unbounded(x: torch.Tensor, bound: float) -> torch.Tensor:
    """What `bounded` makes x of; what is close to the bound or beyond it counts as a hundredth of the range inside."""
    return torch.logit((x / bound + 1) / 2, 0.01) * (bound / 2)


def sized(x: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """(N,C,*sides) brought to root mean squares (N,1,...,1)."""
    brought: torch.Tensor = _Sized.apply(x, size)
    return brought


class _Sized(torch.autograd.Function):
    """See `sized`; summed in double precision, see `size_of`."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        own = size_of(x).clamp(min=1e-12)
        ctx.save_for_backward(x, own, size)
        return x * (size / own)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        x, own, size = ctx.saved_tensors
        along = (grads[0] * x).mean(tuple(range(1, x.ndim)), keepdim=True, dtype=widest(x.device)).to(x.dtype)
        return (grads[0] - x * (along / own**2)) * (size / own), None
