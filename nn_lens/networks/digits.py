"""The digits network: small enough to be trained in a lesson, on scikit-learn's 1,797 digits of 8x8."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn


class DigitsNetwork(nn.Sequential):
    """(N,1,8,8) pictures in [0,1] -> (N,10) raw outputs."""

    def __init__(self) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(1, 16, 5, padding=2), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(16, 32, 3, padding=1), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(), hidden=nn.Linear(128, 64), relu3=nn.ReLU(), classifier=nn.Linear(64, 10),
            )
        )  # fmt: skip


def all_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (1797,1,8,8) in [0,1] and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.from_numpy((data.images / 16).astype(np.float32))[:, None], torch.from_numpy(data.target).long()


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Train pictures (1437,1,8,8) in [0,1] and labels, test pictures (360,1,8,8) and labels; a fixed split."""
    x, y = all_digits()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = order[:1437], order[1437:]
    return x[train], y[train], x[test], y[test]


def trained_digits_network(
    epochs: int = 20, seed: int = 0, on_step: Callable[[int, nn.Module], None] | None = None
) -> DigitsNetwork:
    """A network trained from scratch, the same for the same seed; the caller's random state stays as it is.

    on_step: called as on_step(step, model) after each step, to watch the network learn.
    """
    x, y, _, _ = digits()
    g = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = DigitsNetwork()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    step = 0
    for _ in range(epochs):
        for pick in torch.randperm(len(x), generator=g).split(64):
            loss = F.cross_entropy(model(x[pick]), y[pick])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if on_step is not None:
                on_step(step, model)
            step += 1
    return model.eval()


def digit_pictures() -> dict[str, Image.Image]:
    """One 8x8 test picture of each digit."""
    _, _, x, y = digits()
    pictures = {}
    for n in range(10):
        first = int((y == n).nonzero()[0])
        pictures[f"digit {n}"] = Image.fromarray((x[first, 0].numpy() * 255).astype(np.uint8), "L")
    return pictures
