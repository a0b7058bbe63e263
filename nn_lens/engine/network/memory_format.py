"""How pictures lie in memory: convolutions and pooling of CPUs are up to twice as fast where the channels of a place
lie side by side, unless their weights, which have to be laid out anew at each call, are much larger than the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

import torch
from torch import nn

# Weights per pixel up to which it pays, measured on ResNet-18 and -50, VGG-11 and SqueezeNet with 2 cores.
_WEIGHTS_PER_PIXEL = 512


def kernel_weights(modules: Iterable[nn.Module]) -> list[int]:
    """For modules in order: how many weights of kernels larger than 1x1 have been called up to each, with it."""
    return list(accumulate(_weights(module) for module in modules))


def pays(weights: int, x: torch.Tensor) -> bool:
    """Whether channels side by side are faster for `x` through layers with that many kernel weights.

    It does not depend on how many pictures there are, so that a picture alone has the bits that it has among others.
    """
    if x.ndim != 4 or x.device.type != "cpu" or x.dtype is torch.float64 or not weights:
        return False
    return x.shape[-2] * x.shape[-1] * _WEIGHTS_PER_PIXEL >= weights


def same_answer(
    call: Callable[[torch.Tensor], torch.Tensor | None], x: torch.Tensor, plain: torch.Tensor | None
) -> bool:
    """Whether `call` gives the answer that it gave to `x`, `plain`, also when the channels of `x` lie side by side.

    A model may call view(), which then fails, or write on what flatten() gave, which then is a copy.
    """
    if plain is None or not plain.numel() or x.ndim != 4 or x.device.type != "cpu":
        return False
    try:
        other = call(x.contiguous(memory_format=torch.channels_last))
    except Exception:
        return False
    if other is None or plain.shape != other.shape:
        return False
    most = float(torch.nan_to_num(plain.abs()).max())
    return torch.allclose(plain, other, rtol=1e-3, atol=1e-3 * most, equal_nan=True)


def _weights(module: nn.Module) -> int:
    if not isinstance(module, nn.Conv2d) or not isinstance(module.weight, torch.Tensor):
        return 0
    kernel: Sequence[int] = module.kernel_size
    return module.weight.numel() if max(kernel) > 1 else 0
