"""Ablation and incoming weights without hooks and without looking at functions: layer by layer, number by number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def scores_with(
    model: nn.Sequential, x: torch.Tensor, layer: int, change: Callable[[torch.Tensor], None]
) -> torch.Tensor:
    """Answers of a Sequential whose layer `layer` has its output changed in place by `change`."""
    with torch.no_grad():
        for i, module in enumerate(model):
            x = module(x.clone())
            if i == layer:
                change(x)
    return x


def times(channel: int, scale: float, place: tuple[int, int] | None = None) -> Callable[[torch.Tensor], None]:
    """Multiplies a channel of (N,C,H,W) or (N,C), or one neuron of it, in place and one number at a time."""

    def change(output: torch.Tensor) -> None:
        for picture in output:
            if output.ndim == 2:
                picture[channel] = picture[channel] * scale
                continue
            for row in range(output.shape[2]):
                for column in range(output.shape[3]):
                    if place in (None, (row, column)):
                        picture[channel, row, column] = picture[channel, row, column] * scale

    return change


def weights_by_autograd(
    answer: Callable[[torch.Tensor], torch.Tensor], source: torch.Tensor, channel: int, place: tuple[int, int] | None
) -> torch.Tensor:
    """(C,) what a unit of `answer(source)` gains where a channel of the source grows by 1 everywhere, one by one."""
    gained = []
    for c in range(source.shape[1]):
        x = source.clone().requires_grad_()
        out = answer(x)[0, channel]
        value = out if place is None else out[place]
        (gradient,) = torch.autograd.grad(value, x)
        gained.append(gradient[0, c].sum())
    return torch.stack(gained)
