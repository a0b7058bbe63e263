"""Free variables -> picture: what the maximizing loop turns, and how it becomes a picture in [0,1].

Reference: Olah, Mordvintsev and Schubert, 2017, "Feature visualization", section "preconditioning":
a Fourier basis scaled to equal energy per frequency, and decorrelated colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from nn_lens.engine.maximizing.ascent import size_of
from nn_lens.engine.pictures.picture import read_picture
from nn_lens.errors import LensError

# Square root of the covariance of RGB over the training pictures of the bundled network, largest column of
# length 1: brightness, blue against red-yellow, green against magenta. Made by networks/picture_statistics.py.
COLOURS = ((0.5743, 0.2858, 0.0796), (0.5858, 0.0214, -0.1405), (0.5719, -0.3089, 0.0639))

CONTRAST = 0.2  # root mean square of the pixels around grey, about that of photographs

SPECTRUM = Path(__file__).with_name("spectrum.npy")
"""The default of `maco`, made by the same script."""


@dataclass(frozen=True)
class Parametrization:
    """`start(shape, generators)` gives the free variables of N pictures, `picture(free)` the (N,C,H,W) in [0,1].

    `rate` is the length of the first step, root mean square over a picture's variables; `sphere`: whether
    they are kept at the root mean square at which they started. `free(pictures)`, where there is one, gives free variables whose
    picture is the given one, so that the loop can start from a picture.
    """

    name: str
    start: Callable[[tuple[int, ...], Sequence[torch.Generator]], torch.Tensor]
    picture: Callable[[torch.Tensor, tuple[int, ...]], torch.Tensor]
    rate: float = 1.0
    sphere: bool = False
    free: Callable[[torch.Tensor], torch.Tensor] | None = None


def fourier(decay: float = 1.3, contrast: float | None = CONTRAST, colours: Any = COLOURS) -> Parametrization:
    """Pictures as Fourier coefficients of equal energy per frequency; the default.

    decay: power of 1/frequency; more makes smoother pictures. contrast: root mean square of the pixels around
    grey, about that of photographs by default, at which the picture is kept, so that the loop looks for the best
    picture of a given contrast (a norm constraint, as Erhan et al., 2009, put one); None leaves it free.
    colours: (C,C) matrix from decorrelated to picture channels, such as `colours_of` gives, None for none; the
    default is for RGB and left out for other channels.

    Raises:
        LensError: a contrast that is not between 0 and .5.

    >>> smooth = nl.parametrizations.fourier(decay=2)
    >>> nl.maximize(nl.demo(), "relu1:5", parametrization=smooth, steps=2).images.shape
    (1, 3, 25, 25)
    """
    if contrast is not None and not 0 < contrast < 0.5:
        raise LensError(f"contrast is above 0 and below .5, or None, got {contrast}.")
    deviation = 1.0 if contrast else 0.01
    before = 4.5 * contrast if contrast else None  # before the sigmoid, whose slope is 1/4 at most

    def start(shape: tuple[int, ...], generators: Sequence[torch.Generator]) -> torch.Tensor:
        c, h, w = shape[0], *_quick(*shape[1:])
        return torch.stack([torch.randn(c, h, w // 2 + 1, 2, generator=g) for g in generators]) * deviation

    def picture(free: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        h, w = _quick(*shape[1:])
        spectrum = torch.view_as_complex(free) * frequency_scale(h, w, decay).to(free.device)
        x = torch.fft.irfft2(spectrum, s=(h, w), norm="ortho")[:, :, : shape[1], : shape[2]]
        x = _coloured(x / 4, colours)
        if before:
            # The picture's contrast goes with the size of its variables, which stays as it started.
            x = _Sized.apply(x, before * size_of(free.detach()).squeeze(-1))
        return _sigmoid(x)

    def free(pictures: torch.Tensor) -> torch.Tensor:
        h, w = _quick(*pictures.shape[2:])
        x = F.pad(pictures, [0, w - pictures.shape[3], 0, h - pictures.shape[2]], mode="replicate")
        size = size_of(torch.logit(pictures, 0.01))
        x = _plain(torch.logit(x, 0.01), colours) * 4
        spectrum = torch.fft.rfft2(x, norm="ortho") / frequency_scale(h, w, decay).to(x.device)
        variables = torch.view_as_real(spectrum)
        return variables * (size[..., None] / before / size_of(variables).clamp(min=1e-12)) if before else variables

    return Parametrization("fourier", start, picture, 1.0 if contrast else 0.1, contrast is not None, free)


def pixels(deviation: float = 0.01, colours: Any = None) -> Parametrization:
    """Pictures as plain pixels before a sigmoid: noisier than `fourier`, kept for comparison.

    >>> pixels = nl.parametrizations.pixels()
    >>> free = pixels.start((3, 8, 10), [torch.Generator().manual_seed(0)])
    >>> free.shape, pixels.picture(free, (3, 8, 10)).shape
    (torch.Size([1, 3, 8, 10]), torch.Size([1, 3, 8, 10]))
    """

    def picture(free: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return _sigmoid(_coloured(free, colours))

    def free(pictures: torch.Tensor) -> torch.Tensor:
        return _plain(torch.logit(pictures, 0.01), colours)

    return Parametrization("pixels", _noise(deviation), picture, 0.3, free=free)


def maco(spectrum: Any = None, colours: Any = COLOURS) -> Parametrization:
    """Pictures with the magnitudes of real ones, of which only the phases are free (Fel et al., 2023, "MACO").

    spectrum: (C,h,w//2+1) mean magnitudes of decorrelated channels, such as `spectrum_of` gives; the default is that
    of the bundled network's training pictures. colours: as for `fourier`.

    >>> nl.maximize(nl.demo(), "relu1:5", parametrization=nl.parametrizations.maco(), steps=2).images.shape
    (1, 3, 25, 25)
    """
    table = None if spectrum is None else torch.as_tensor(spectrum, dtype=torch.float32)
    if table is not None and table.ndim != 3:
        raise LensError(f"spectrum is (channels, h, w//2+1), as spectrum_of gives it; got {tuple(table.shape)}.")

    def start(shape: tuple[int, ...], generators: Sequence[torch.Generator]) -> torch.Tensor:
        c, h, w = shape
        return torch.stack([torch.rand(c, h, w // 2 + 1, generator=g) for g in generators]) * (2 * math.pi)

    def picture(free: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        _, h, w = shape
        magnitude = _magnitudes(table, shape).to(free.device)
        x = torch.fft.irfft2(torch.polar(magnitude.expand_as(free), free), s=(h, w), norm="ortho")
        return _sigmoid(_coloured(x, colours))

    return Parametrization("maco", start, picture)


def from_picture(picture: Any, decay: float = 1.3, colours: Any = COLOURS) -> Parametrization:
    """As `fourier`, starting from a picture, which is fitted to the canvas; with `layer` objectives, DeepDream.

    Raises:
        PictureError: when it is used with a canvas that the picture does not fit.

    >>> net = nl.demo()
    >>> dream = nl.parametrizations.from_picture(net.samples["cat"])
    >>> nl.maximize(net, nl.objectives.layer("relu2"), parametrization=dream, steps=2).images.shape
    (1, 3, 64, 64)
    """
    base = fourier(decay, colours=colours)

    def start(shape: tuple[int, ...], generators: Sequence[torch.Generator]) -> torch.Tensor:
        assert base.free is not None
        free = base.free(read_picture(picture, shape).float()[None])
        several: torch.Tensor = free.expand(len(generators), *free.shape[1:]).clone()
        return several

    return replace(base, name="from_picture", start=start, rate=0.1)


def ball(radius: float, centre: float = 0.5) -> Parametrization:
    """Inputs at a distance of `radius` (root of the sum of squares) from a uniform one: a norm constraint.

    Reference: Erhan et al., 2009, "Visualizing higher-layer features of a deep network", activation maximization.
    Values beyond [0,1] are cut where the input is a picture.

    >>> found = nl.maximize(nl.demo(), "relu1:5", parametrization=nl.parametrizations.ball(1.0), steps=2)
    >>> round(float(((found.images - 0.5) ** 2).sum() ** 0.5), 3)
    1.0
    """
    if not radius > 0:
        raise LensError(f"ball takes a radius above 0, got {radius}.")

    def picture(free: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        norm = free.flatten(1).norm(dim=1).clamp(min=1e-12)
        x: torch.Tensor = centre + free * (radius / norm).view(-1, *[1] * len(shape))
        return x.clamp(0, 1) if len(shape) == 3 else x

    return Parametrization("ball", _noise(1.0), picture, sphere=True)


def vector(low: float | Sequence[float] = 0.0, high: float | Sequence[float] = 1.0) -> Parametrization:
    """Inputs that are no pictures: one free number per feature, kept between `low` and `high`.

    >>> net = nl.Network(torch.nn.Sequential(torch.nn.Linear(4, 2)), (4,))
    >>> found = nl.maximize(net, "0:1", parametrization=nl.parametrizations.vector(low=-1, high=2), steps=4)
    >>> found.images.shape, bool((abs(found.images - 0.5) <= 1.5).all())
    ((1, 4), True)
    """
    bounds = torch.as_tensor(low, dtype=torch.float32), torch.as_tensor(high, dtype=torch.float32)
    if not bool((bounds[0] < bounds[1]).all()):
        raise LensError("vector needs low below high for every feature.")

    def picture(free: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        below, above = (b.to(free.device) for b in bounds)
        return below + (above - below) * _sigmoid(free)

    return Parametrization("vector", _noise(0.01), picture)


# ---- statistics of pictures ----


def colours_of(pictures: Any) -> torch.Tensor:
    """(C,C) square root of the covariance of the channels of (N,C,H,W) pictures in [0,1], largest column of length 1.

    Its columns are decorrelated colours, the strongest first: for `fourier`, `pixels` and `maco`.

    >>> nl.parametrizations.colours_of(torch.rand(5, 3, 8, 8)).shape
    torch.Size([3, 3])
    """
    values = _as_batch(pictures).transpose(0, 1).flatten(1).double()
    covariance = torch.cov(values).reshape(len(values), len(values))
    axes, variances, _ = torch.linalg.svd(covariance)
    root = axes * variances.sqrt()
    root = root * torch.where(root[0] < 0, -1, 1)
    scaled: torch.Tensor = (root / root.norm(dim=0).max().clamp(min=1e-12)).float()
    return scaled


def spectrum_of(pictures: Any, colours: Any = COLOURS) -> torch.Tensor:
    """(C,H,W//2+1) mean magnitudes of the decorrelated channels of (N,C,H,W) pictures in [0,1], for `maco`.

    >>> nl.parametrizations.spectrum_of(torch.rand(5, 3, 8, 10)).shape
    torch.Size([3, 8, 6])
    """
    x = _plain(torch.logit(_as_batch(pictures), 0.01), colours)
    window = torch.hann_window(x.shape[2], periodic=False)[:, None] * torch.hann_window(x.shape[3], periodic=False)
    x = (x - x.mean((2, 3), keepdim=True)) * window / window.square().mean().sqrt()
    magnitudes: torch.Tensor = torch.fft.rfft2(x, norm="ortho").abs().mean(0)
    return magnitudes


@lru_cache(maxsize=64)
def frequency_scale(height: int, width: int, decay: float = 1.0) -> torch.Tensor:
    """(H, W//2+1) factor 1/frequency^decay of each coefficient; the lowest counts as one wave per picture."""
    scale: torch.Tensor = _frequencies(height, width).clamp(min=1 / max(height, width)) ** -decay
    return scale


@lru_cache(maxsize=64)
def _quick(*sides: int) -> tuple[int, ...]:
    """Each side, or the next even one that the Fourier transform is quick at: no prime factor above 7."""

    def smooth(n: int) -> bool:
        for p in (2, 3, 5, 7):
            while n % p == 0:
                n //= p
        return n == 1

    return tuple(
        n if n % 2 == 0 and smooth(n) else next(m for m in range(n + n % 2, 2 * n + 4, 2) if smooth(m)) for n in sides
    )


def _frequencies(height: int, width: int) -> torch.Tensor:
    """(H, W//2+1) in cycles per pixel."""
    fy = torch.fft.fftfreq(height)[:, None]
    fx = torch.fft.rfftfreq(width)[None]
    frequencies: torch.Tensor = (fx**2 + fy**2).sqrt()
    return frequencies


@cache
def _default_spectrum() -> torch.Tensor:
    return torch.from_numpy(np.load(SPECTRUM).astype(np.float32))


def _magnitudes(table: torch.Tensor | None, shape: tuple[int, ...]) -> torch.Tensor:
    """(C,H,W//2+1) magnitudes of `table` at the frequencies of a canvas; waves longer than its pictures as 1/frequency."""
    channels, height, width = shape
    if table is None:
        table = _default_spectrum()
        table = table if channels == 3 else table[:1].expand(channels, -1, -1)
    if len(table) != channels:
        raise LensError(f"The spectrum is for {len(table)} channels, the network reads {channels}.")
    h, w = table.shape[1], 2 * (table.shape[2] - 1)
    # Rows from -1/2 to 1/2 cycles per pixel, so that neighbours in the table are neighbours in frequency.
    rolled = torch.cat([torch.fft.fftshift(table, dim=1), torch.fft.fftshift(table, dim=1)[:, :1]], 1)
    fy = torch.fft.fftfreq(height)[:, None].expand(-1, width // 2 + 1)
    fx = torch.fft.rfftfreq(width)[None].expand(height, -1)
    f = _frequencies(height, width)
    shortest = 1 / max(h, w)
    stretch = (shortest / f.clamp(min=1e-9)).clamp(min=1.0)  # frequencies the table does not have
    y = (fy * stretch + h // 2 / h) * 2 * h / h - 1
    x = fx * stretch * 4 - 1
    grid = torch.stack([x, y], -1)[None]
    magnitudes = F.grid_sample(rolled[None], grid, padding_mode="border", align_corners=True)[0] * stretch
    magnitudes[:, 0, 0] = 0  # the mean, which stays grey
    return magnitudes


def _as_batch(pictures: Any) -> torch.Tensor:
    x = torch.as_tensor(pictures).detach().cpu()
    if x.ndim != 4:
        raise LensError(f"pictures are (N,C,H,W) in [0,1], got {tuple(x.shape)}.")
    x = x / 255 if x.dtype == torch.uint8 else x.float()
    if not (float(x.min()) >= 0 and float(x.max()) <= 1):
        raise LensError(f"pictures are (N,C,H,W) in [0,1], got values from {x.min():.3g} to {x.max():.3g}.")
    return x


class _Sized(torch.autograd.Function):
    """(N,C,H,W) brought to root mean squares (N,1,1,1); summed in double precision, see `size_of`."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        own = size_of(x).clamp(min=1e-12)
        ctx.save_for_backward(x, own, size)
        return x * (size / own)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        x, own, size = ctx.saved_tensors
        along = (grads[0] * x).mean((1, 2, 3), keepdim=True, dtype=torch.float64).to(x.dtype)
        return (grads[0] - x * (along / own**2)) * (size / own), None


def _sigmoid(x: torch.Tensor) -> torch.Tensor:
    """In double precision: at the ends of its memory torch takes another exponential, so that in single precision the
    last bit of a picture would depend on its neighbours.
    """
    return torch.sigmoid(x.double()).to(x.dtype)


def _noise(deviation: float) -> Callable[[tuple[int, ...], Sequence[torch.Generator]], torch.Tensor]:
    return lambda shape, generators: torch.stack([torch.randn(*shape, generator=g) for g in generators]) * deviation


def _matrix(x: torch.Tensor, colours: Any) -> torch.Tensor | None:
    if colours is None or (colours is COLOURS and x.shape[1] != 3):
        return None
    matrix = torch.as_tensor(colours, dtype=x.dtype, device=x.device)
    if matrix.shape != (x.shape[1], x.shape[1]):
        raise LensError(f"colours is a ({x.shape[1]},{x.shape[1]}) matrix for this network, got {tuple(matrix.shape)}.")
    return matrix


def _coloured(x: torch.Tensor, colours: Any) -> torch.Tensor:
    """From decorrelated channels to those of the picture."""
    matrix = _matrix(x, colours)
    if matrix is None:
        return x
    # Added up channel by channel: a matrix product takes another order with the number of pictures.
    return sum(
        (x[:, k : k + 1] * matrix[:, k, None, None] for k in range(1, len(matrix))), x[:, :1] * matrix[:, 0, None, None]
    )


def _plain(x: torch.Tensor, colours: Any) -> torch.Tensor:
    """From the channels of the picture to decorrelated ones."""
    matrix = _matrix(x, colours)
    return x if matrix is None else (torch.linalg.pinv(matrix) @ x.flatten(2)).view_as(x)
