"""Contributions in plain torch, with hooks of its own."""

from __future__ import annotations

import torch
from torch import nn

LAST = (
    nn.Linear, nn.LayerNorm, nn.RNNBase, nn.MultiheadAttention, nn.TransformerEncoderLayer,
)  # fmt: skip


def by_unit(net, layer: str, output: torch.Tensor) -> torch.Tensor:
    """(C,) sums of what a layer gave one input, over everything but its channels: the last dimension of what reads tokens
    or steps, and of what follows these, else the first after the batch.
    """
    last = isinstance(net.module(layer), LAST) or (output.ndim == 3 and net.kind != "signal")
    return output.movedim(-1 if last else 1, 0).flatten(1).sum(1)


def output_and_gradient(model: nn.Module, run, module: nn.Module, target) -> tuple[torch.Tensor, torch.Tensor]:
    """What `module` gives at its first call while `run()` runs, and the gradient of `target(answer)` by it."""
    kept = []

    def keep(_m, _i, output):
        whole = output[0] if isinstance(output, tuple) else output
        if not kept:
            kept.append(whole.detach().clone().requires_grad_())
            new = kept[0].clone()
            return (new, *output[1:]) if isinstance(output, tuple) else new
        return None

    handle = module.register_forward_hook(keep)
    try:
        value = target(run())
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(value, kept[0], allow_unused=True)
    return kept[0].detach(), torch.zeros_like(kept[0]) if gradient is None else gradient


def part_of_input(
    model: nn.Sequential, x: torch.Tensor, layer: int, channel: int, gradient: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """A unit's part of the input, of a Sequential's layer with channels first: the gradient of its activations, weighted by
    `gradient`, by each noisy copy of `x`, times `x`, copy by copy.
    """
    total = torch.zeros_like(x)
    for each in noise:
        copy = (x + each).requires_grad_()
        y = copy[None]
        for module in model[: layer + 1]:
            y = module(y)
        (own,) = torch.autograd.grad((y[0, channel] * gradient[0, channel]).sum(), copy)
        total += own / len(noise)
    return (total * x).detach()
