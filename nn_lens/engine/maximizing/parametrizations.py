"""Free variables -> input: what the maximizing loop turns, and how it becomes a picture in [0,1] or a signal.

Reference: Olah, Mordvintsev and Schubert, 2017, "Feature visualization", section "preconditioning":
a Fourier basis scaled to equal energy per frequency, and decorrelated colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from nn_lens.engine.maximizing import waves
from nn_lens.engine.maximizing.ascent import size_of
from nn_lens.engine.maximizing.colours import COLOURS, as_batch, coloured, decorrelated
from nn_lens.engine.maximizing.colours import colours_of as colours_of
from nn_lens.engine.pictures.picture import read_picture
from nn_lens.errors import LensError

CONTRAST = 0.2  # root mean square of the pixels around grey, about that of photographs
DEVIATIONS = 4.0  # that a signal stays within

SPECTRUM = Path(__file__).with_name("spectrum.npy")
"""The default of `maco`, made by the same script."""


@dataclass(frozen=True)
class Parametrization:
    """`start(shape, generators)` gives the free variables of N inputs, `picture(free, shape)` the (N,*shape): pictures
    (C,H,W) and volumes (C,D,H,W) in [0,1], signals (C,L).

    `rate` is the length of the first step, root mean square over a picture's variables; `sphere`: whether
    they are kept at the root mean square at which they started. `free(pictures)`, where there is one, gives free variables whose
    picture is the given one, so that the loop can start from a picture. `source`: what it starts from, None for noise.
    """

    name: str
    start: Callable[[tuple[int, ...], Sequence[torch.Generator]], torch.Tensor]
    picture: Callable[[torch.Tensor, tuple[int, ...]], torch.Tensor]
    rate: float = 1.0
    sphere: bool = False
    free: Callable[[torch.Tensor], torch.Tensor] | None = None
    source: Any = None


def fourier(decay: float = 1.3, contrast: float | None = CONTRAST, colours: Any = COLOURS) -> Parametrization:
    """Pictures as Fourier coefficients of equal energy per frequency; the default for pictures and volumes.

    decay: power of 1/frequency; more makes smoother pictures. contrast: root mean square of the pixels around
    grey, about that of photographs by default, at which the picture is kept, so that the loop looks for the best
    picture of a given contrast (a norm constraint, as Erhan et al., 2009, put one); None leaves it free.
    colours: (C,C) matrix from decorrelated to picture channels, such as `colours_of` gives, None for none; the
    default is for RGB pictures and clips and left out for other channels.

    Raises:
        LensError: a contrast that is not between 0 and .5.

    >>> smooth = nl.parametrizations.fourier(decay=2)
    >>> nl.maximize(nl.demo(), "relu1:5", parametrization=smooth, steps=2).images.shape
    (1, 3, 25, 25)
    """
    if contrast is not None and not 0 < contrast < 0.5:
        raise LensError(f"contrast is above 0 and below .5, or None, got {contrast}.")
    before = 4.5 * contrast if contrast else None  # before the sigmoid, whose slope is 1/4 at most
    return _waves("fourier", decay, before, colours, waves.sigmoid, lambda x: torch.logit(x, 0.01))


def signal(decay: float = 0.65, contrast: float | None = 1.0, mean: Any = 0.0, deviation: Any = 1.0) -> Parametrization:
    """Real numbers along time as Fourier coefficients of equal energy per octave; the default for signals and sequences.

    Values are kept at a root mean square of `contrast` deviations around the mean, smoothly within 4 deviations. A
    sequence (T,F) is smooth along its steps, each feature for itself.

    decay: power of 1/frequency; more makes smoother signals. contrast: in deviations; None leaves it free. mean,
    deviation: of what the network was trained on, a number or one for each channel or feature; `maximize` takes those
    that the network normalizes with.

    Raises:
        LensError: a contrast that is not between 0 and 4, or a deviation of 0 or less.

    >>> net = nl.Network(torch.nn.Sequential(torch.nn.Conv1d(2, 4, 5)), (2, 64))
    >>> loud = nl.parametrizations.signal(contrast=2)
    >>> found = nl.maximize(net, "0:1", parametrization=loud, steps=2)
    >>> found.images.shape, bool(found.images.std() > 1.2)
    ((1, 2, 21), True)
    """
    if contrast is not None and not 0 < contrast < DEVIATIONS:
        raise LensError(f"contrast is above 0 and below {DEVIATIONS:g} deviations, or None, got {contrast}.")
    middle, unit = (torch.as_tensor(v, dtype=torch.float32).flatten() for v in (mean, deviation))
    if not bool((unit > 0).all()):
        raise LensError(f"deviation is above 0, got {deviation}.")

    def values(x: torch.Tensor) -> torch.Tensor:
        return _of_channels(middle, x) + _of_channels(unit, x) * waves.bounded(x, DEVIATIONS)

    def before(values: torch.Tensor) -> torch.Tensor:
        return waves.unbounded((values - _of_channels(middle, values)) / _of_channels(unit, values), DEVIATIONS)

    return _waves("signal", decay, contrast, None, values, before)


def _waves(
    name: str, decay: float, size: float | None, colours: Any, squash: Callable[[torch.Tensor], torch.Tensor],
    stretch: Callable[[torch.Tensor], torch.Tensor],
) -> Parametrization:  # fmt: skip
    """Fourier coefficients, whose values `squash` brings into their range, from a root mean square of `size`; `stretch`
    is its inverse.
    """
    deviation = 1.0 if size else 0.01

    def start(shape: tuple[int, ...], generators: Sequence[torch.Generator]) -> torch.Tensor:
        free = (shape[0], *waves.coefficients_of(shape[1:]), 2)
        return torch.stack([torch.randn(*free, generator=g) for g in generators]) * deviation

    def picture(free: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        x = coloured(waves.to_values(free, shape[1:], decay) / 4, colours)
        if size:
            # The picture's contrast goes with the size of its variables, which stays as it started.
            x = waves.sized(x, size * size_of(free.detach()).squeeze(-1))
        return squash(x)

    def free(pictures: torch.Tensor) -> torch.Tensor:
        own = size_of(stretch(pictures))
        variables = waves.to_coefficients(decorrelated(stretch(waves.fill_up(pictures)), colours) * 4, decay)
        return variables * (own[..., None] / size / size_of(variables).clamp(min=1e-12)) if size else variables

    return Parametrization(name, start, picture, 1.0 if size else 0.1, size is not None, free)


def pixels(deviation: float = 0.01, colours: Any = None) -> Parametrization:
    """Pictures as plain pixels before a sigmoid: noisier than `fourier`, kept for comparison.

    >>> pixels = nl.parametrizations.pixels()
    >>> free = pixels.start((3, 8, 10), [torch.Generator().manual_seed(0)])
    >>> free.shape, pixels.picture(free, (3, 8, 10)).shape
    (torch.Size([1, 3, 8, 10]), torch.Size([1, 3, 8, 10]))
    """

    def picture(free: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return waves.sigmoid(coloured(free, colours))

    def free(pictures: torch.Tensor) -> torch.Tensor:
        return decorrelated(torch.logit(pictures, 0.01), colours)

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
        if len(shape) != 3:
            raise LensError(f"maco is for pictures (C,H,W), whose magnitudes it has; this network reads {shape}.")
        c, h, w = shape
        return torch.stack([torch.rand(c, h, w // 2 + 1, generator=g) for g in generators]) * (2 * math.pi)

    def picture(free: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        _, h, w = shape
        magnitude = _magnitudes(table, shape).to(free.device)
        x = torch.fft.irfft2(torch.polar(magnitude.expand_as(free), free), s=(h, w), norm="ortho")
        return waves.sigmoid(coloured(x, colours))

    return Parametrization("maco", start, picture)


def from_picture(picture: Any, decay: float = 1.3, colours: Any = COLOURS) -> Parametrization:
    """As `fourier`, starting from a picture, which is fitted to the canvas; with `layer` objectives, DeepDream.

    A signal or a sequence is started from likewise, as `signal` has it; `decay` and `colours` are for pictures.

    Raises:
        PictureError: when it is used with a canvas that the picture does not fit.

    >>> net = nl.demo()
    >>> dream = nl.parametrizations.from_picture(net.samples["cat"])
    >>> nl.maximize(net, nl.objectives.layer("relu2"), parametrization=dream, steps=2).images.shape
    (1, 3, 64, 64)
    """
    pictures, signals = fourier(decay, colours=colours), signal()

    def of(dimensions: int) -> Parametrization:
        return signals if dimensions == 2 else pictures

    def free(values: torch.Tensor) -> torch.Tensor:
        way = of(values.ndim - 1).free
        assert way is not None
        return way(values)

    def start(shape: tuple[int, ...], generators: Sequence[torch.Generator]) -> torch.Tensor:
        begun = free(read_picture(picture, shape).float()[None])
        several: torch.Tensor = begun.expand(len(generators), *begun.shape[1:]).clone()
        return several

    def values(variables: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return of(len(shape)).picture(variables, shape)

    return Parametrization("from_picture", start, values, 0.1, True, free, picture)


def ball(radius: float, centre: float = 0.5) -> Parametrization:
    """Inputs at a distance of `radius` (root of the sum of squares) from a uniform one: a norm constraint.

    Reference: Erhan et al., 2009, "Visualizing higher-layer features of a deep network", activation maximization.
    Values beyond [0,1] are cut where the input is a picture or a volume.

    >>> found = nl.maximize(nl.demo(), "relu1:5", parametrization=nl.parametrizations.ball(1.0), steps=2)
    >>> round(float(((found.images - 0.5) ** 2).sum() ** 0.5), 3)
    1.0
    """
    if not radius > 0:
        raise LensError(f"ball takes a radius above 0, got {radius}.")

    def picture(free: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        norm = free.flatten(1).norm(dim=1).clamp(min=1e-12)
        x: torch.Tensor = centre + free * (radius / norm).view(-1, *[1] * len(shape))
        return x.clamp(0, 1) if len(shape) >= 3 else x

    return Parametrization("ball", _noise(1.0), picture, sphere=True)


def vector(low: float | Sequence[float] = 0.0, high: float | Sequence[float] = 1.0) -> Parametrization:
    """Inputs that are no pictures: free numbers, kept between `low` and `high`, which may differ from feature to feature.

    >>> net = nl.Network(torch.nn.Sequential(torch.nn.Linear(4, 2)), (4,))
    >>> found = nl.maximize(net, "0:1", parametrization=nl.parametrizations.vector(low=-1, high=2), steps=4)
    >>> found.images.shape, bool((abs(found.images - 0.5) <= 1.5).all())
    ((1, 4), True)
    """
    bounds = torch.as_tensor(low, dtype=torch.float32), torch.as_tensor(high, dtype=torch.float32)
    if not bool((bounds[0] < bounds[1]).all()):
        raise LensError("vector needs low below high for every feature.")

    def picture(free: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        below, above = (_of_channels(b.to(free.device), free) for b in bounds)
        return below + (above - below) * waves.sigmoid(free)

    def free(vectors: torch.Tensor) -> torch.Tensor:
        below, above = (_of_channels(b.to(vectors.device), vectors) for b in bounds)
        return torch.logit((vectors - below) / (above - below), 0.01)

    return Parametrization("vector", _noise(0.01), picture, free=free)


def along_steps(drawn: Parametrization) -> Parametrization:
    """A parametrization of signals (C,L) as one of sequences (T,F): each feature is a channel. `maximize` does it itself.

    >>> drawn = nl.parametrizations.along_steps(nl.parametrizations.signal())
    >>> drawn.picture(drawn.start((12, 5), [torch.Generator().manual_seed(0)]), (12, 5)).shape
    torch.Size([1, 12, 5])
    """

    def start(shape: tuple[int, ...], generators: Sequence[torch.Generator]) -> torch.Tensor:
        if drawn.source is None:
            return drawn.start(shape[::-1], generators)
        begun = free(read_picture(drawn.source, shape, "sequence").float()[None])
        several: torch.Tensor = begun.expand(len(generators), *begun.shape[1:]).clone()
        return several

    def free(sequences: torch.Tensor) -> torch.Tensor:
        assert drawn.free is not None
        return drawn.free(sequences.transpose(1, 2))

    return replace(
        drawn, start=start, free=None if drawn.free is None else free,
        picture=lambda free, shape: drawn.picture(free, shape[::-1]).transpose(1, 2),
    )  # fmt: skip


# ---- statistics of pictures ----


def spectrum_of(pictures: Any, colours: Any = COLOURS) -> torch.Tensor:
    """(C,H,W//2+1) mean magnitudes of the decorrelated channels of (N,C,H,W) pictures in [0,1], for `maco`.

    >>> nl.parametrizations.spectrum_of(torch.rand(5, 3, 8, 10)).shape
    torch.Size([3, 8, 6])
    """
    x = decorrelated(torch.logit(as_batch(pictures), 0.01), colours)
    window = torch.hann_window(x.shape[2], periodic=False)[:, None] * torch.hann_window(x.shape[3], periodic=False)
    x = (x - x.mean((2, 3), keepdim=True)) * window / window.square().mean().sqrt()
    magnitudes: torch.Tensor = torch.fft.rfft2(x, norm="ortho").abs().mean(0)
    return magnitudes


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
    f = waves.frequencies((height, width))
    shortest = 1 / max(h, w)
    stretch = (shortest / f.clamp(min=1e-9)).clamp(min=1.0)  # frequencies the table does not have
    y = (fy * stretch + h // 2 / h) * 2 * h / h - 1
    x = fx * stretch * 4 - 1
    grid = torch.stack([x, y], -1)[None]
    magnitudes = F.grid_sample(rolled[None], grid, padding_mode="border", align_corners=True)[0] * stretch
    magnitudes[:, 0, 0] = 0  # the mean, which stays grey
    return magnitudes


def _of_channels(numbers: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(C,) or one number, to go with (N,C,...)."""
    return numbers if numbers.ndim == 0 else numbers.to(x.device).view(-1, *[1] * (x.ndim - 2))


def _noise(deviation: float) -> Callable[[tuple[int, ...], Sequence[torch.Generator]], torch.Tensor]:
    return lambda shape, generators: torch.stack([torch.randn(*shape, generator=g) for g in generators]) * deviation
