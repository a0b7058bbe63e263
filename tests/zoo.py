"""Small networks of every kind of input and answer, as people write them: for the tests and the sweep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    """A convolution with BatchNorm beside the way around it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.norm(self.conv(x)))


class UNet(nn.Module):
    """Segmentation: down, up by a transposed convolution, joined with what was there before."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(8, 6, 2, 2), nn.Conv2d(12, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = F.relu(self.down(x))
        b = F.relu(self.deep(F.max_pool2d(a, 2)))
        return self.out(torch.cat([self.up(b), a], 1))


class Recurrent(nn.Module):
    """An LSTM or GRU over steps, and a classifier of its last."""

    def __init__(self, kind: type[nn.Module], batch_first: bool = True) -> None:
        super().__init__()
        self.cell, self.head = kind(5, 12, batch_first=batch_first), nn.Linear(12, 4)
        self.first = batch_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.cell(x if self.first else x.transpose(0, 1))[0]
        return self.head(y[:, -1] if self.first else y[-1])


class Encoder(nn.Module):
    """A transformer encoder over steps, and a classifier of their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 16)
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.embed(x)).mean(1))


class Vision(nn.Module):
    """A vision transformer: patches, a class token, two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.randn(1, 1, 16))
        self.blocks = nn.Sequential(*(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class Patches(nn.Module):
    """A picture or volume cut into patches without a convolution, row by row, `lead` tokens before them."""

    def __init__(self, side: int, lead: int = 0) -> None:
        super().__init__()
        self.side, self.lead = side, lead

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        p, d = self.side, x.ndim - 2
        cut = x.reshape(*x.shape[:2], *(n for side in x.shape[2:] for n in (side // p, p)))
        rows = cut.permute(0, *range(2, 2 + 2 * d, 2), *range(3, 3 + 2 * d, 2), 1).flatten(1 + d).flatten(1, d)
        return torch.cat([torch.zeros_like(rows[:, : self.lead]), rows], 1)


class LinearPatches(nn.Module):
    """A vision transformer whose patches are cut out by a reshape and read by a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.embed, self.token = Patches(8), nn.Linear(192, 16), nn.Parameter(torch.randn(1, 1, 16))
        self.block = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = torch.cat([self.token.expand(len(x), -1, -1), self.embed(self.cut(x))], 1)
        return self.head(self.norm(self.block(tokens))[:, 0])


class Two(nn.Module):
    """Two inputs, and an embedding beside the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(11, 4)

    def forward(self, picture: torch.Tensor, meta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = F.relu(self.conv(picture)).mean((2, 3))
        return features, self.head(torch.cat([features, meta], 1))


def picture(*head: nn.Module) -> nn.Sequential:
    """A small network of pictures with a head of its own; its features are 8 numbers."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head,
    )  # fmt: skip


def signal() -> nn.Sequential:
    """An ECG network."""
    return nn.Sequential(
        nn.Conv1d(2, 6, 7, padding=3), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(4), nn.Conv1d(6, 8, 5), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def volume() -> nn.Sequential:
    """A network of volumes."""
    return nn.Sequential(
        nn.Conv3d(1, 4, 3), nn.ReLU(), nn.MaxPool3d((1, 2, 2)), nn.Conv3d(4, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1),
        nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], tuple[nn.Module, dict[str, Any]]]] = {
    "picture": lambda: (picture(nn.Linear(8, 4)), {"input_shape": (3, 24, 32)}),
    "residual": lambda: (
        nn.Sequential(nn.Conv2d(3, 6, 3), Residual(6), Residual(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)),
        {"input_shape": (3, 20, 24)},
    ),
    "one logit": lambda: (picture(nn.Linear(8, 1)), {"input_shape": (3, 24, 32)}),
    "sigmoid": lambda: (picture(nn.Linear(8, 4), nn.Sigmoid()), {"input_shape": (3, 24, 32)}),
    "softmax": lambda: (picture(nn.Linear(8, 4), nn.Softmax(1)), {"input_shape": (3, 24, 32)}),
    "unet": lambda: (UNet(), {"input_shape": (1, 32, 40)}),
    "vision transformer": lambda: (Vision(), {"input_shape": (3, 32, 48)}),
    "linear patches": lambda: (LinearPatches(), {"input_shape": (3, 32, 48)}),
    "signal": lambda: (signal(), {"input_shape": (2, 200)}),
    "volume": lambda: (volume(), {"input_shape": (1, 8, 16, 20)}),
    "lstm": lambda: (Recurrent(nn.LSTM), {"input_shape": (20, 5)}),
    "gru, steps first": lambda: (Recurrent(nn.GRU, batch_first=False), {"input_shape": (20, 5)}),
    "encoder": lambda: (Encoder(), {"input_shape": (20, 5)}),
    "table": lambda: (nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3)), {}),
    "two inputs": lambda: (
        Two(), {"input_shape": (3, 24, 32), "inputs": lambda x: (x, x.mean((2, 3))), "output": 1},
    ),
}  # fmt: skip
"""By name, what makes (model, arguments of nl.Network)."""
