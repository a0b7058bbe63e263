"""Small networks for each kind of input, in plain torch, and what the papers say about attribution of these."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn


class Recurrent(nn.Module):
    """A recurrent layer over steps, of which a Linear layer reads the mean, or the last step."""

    def __init__(self, layer: type[nn.RNNBase], last: bool = False, batch_first: bool = True) -> None:
        super().__init__()
        self.batch_first, self.last = batch_first, last
        self.mix = nn.Conv1d(4, 5, 3, padding=1)
        self.steps, self.head = layer(5, 6, batch_first=batch_first), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.mix(x.transpose(1, 2)).transpose(1, 2)
        y = self.steps(y if self.batch_first else y.transpose(0, 1))[0]
        time = 1 if self.batch_first else 0
        return self.head(y.select(time, -1) if self.last else y.mean(time))


class Segmenting(nn.Module):
    """Three classes at each place of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
        self.out = nn.Conv2d(6, 3, 1)
        with torch.no_grad():
            self.out.bias[2] = -9  # the last class wins nowhere

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.b(torch.tanh(self.a(x)))))


def model_of(kind: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A network in eval mode, and the shape of its input; three classes."""
    torch.manual_seed(1)
    if kind == "signal":
        model: nn.Module = nn.Sequential(
            nn.Conv1d(2, 4, 5), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(4, 6, 3), nn.Tanh(), nn.AdaptiveAvgPool1d(1),
            nn.Flatten(), nn.Linear(6, 3),
        )  # fmt: skip
        return model.eval(), (2, 41)
    if kind == "volume":
        model = nn.Sequential(
            nn.Conv3d(1, 4, 3), nn.ReLU(), nn.Conv3d(4, 5, 3), nn.Tanh(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
            nn.Linear(5, 3),
        )  # fmt: skip
        return model.eval(), (1, 6, 8, 11)
    if kind == "vector":
        return nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3)).eval(), (7,)
    layers = {"LSTM": nn.LSTM, "GRU": nn.GRU}
    return Recurrent(layers[kind]).eval(), (9, 4)


KINDS = ("signal", "volume", "LSTM", "GRU", "vector")


def input_of(shape: Sequence[int], seed: int = 0) -> torch.Tensor:
    """An input with values in [0,1] for volumes, of both signs else."""
    draw = torch.rand if len(shape) == 4 else torch.randn
    return draw(*shape, generator=torch.Generator().manual_seed(seed))


def occlusion(
    answer: Callable[[torch.Tensor], float], x: torch.Tensor, cover: float, axes: Sequence[int], window: Sequence[int],
    stride: Sequence[int],
) -> np.ndarray:  # fmt: skip
    """Zeiler and Fergus 2014, over any axes of an input: the mean over the windows on a place of how far the answer drops."""
    sides = [x.shape[a] for a in axes]
    total, count = np.zeros(sides), np.zeros(sides)
    starts = []
    for side, w, s in zip(sides, window, stride, strict=True):
        own = [0]
        while own[-1] + w < side:
            own.append(own[-1] + s)
        starts.append(own)
    whole = answer(x)
    for corner in itertools.product(*starts):
        covered, inside = x.clone(), [slice(None)] * x.ndim
        for a, at, w in zip(axes, corner, window, strict=True):
            inside[a] = slice(at, at + w)
        covered[tuple(inside)] = cover
        part = tuple(inside[a] for a in axes)
        total[part] += whole - answer(covered)
        count[part] += 1
    return total / count


def integrated_gradients(
    answer: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, start: torch.Tensor, steps: int = 500
) -> np.ndarray:
    """Sundararajan et al. 2017, equation 1, by midpoints of many small steps. answer: of a batch, (N,)."""
    middles = (torch.arange(steps) + 0.5) / steps
    points = (start + middles.view(-1, *[1] * x.ndim) * (x - start)).requires_grad_()
    (gradients,) = torch.autograd.grad(answer(points).sum(), points)
    return ((x - start) * gradients.double().mean(0)).numpy()


def grad_cam(answer: torch.Tensor, maps: torch.Tensor) -> np.ndarray:
    """Selvaraju et al. 2017, equations 1 and 2 without the ReLU: of (C,*grid) maps, number by number."""
    (gradient,) = torch.autograd.grad(answer, maps)
    total = np.zeros(maps.shape[1:])
    for channel, slope in zip(maps.detach().numpy(), gradient.numpy(), strict=True):
        total += slope.mean() * channel
    return total
