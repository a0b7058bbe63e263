"""Right gradients where torch has wrong ones, or none.

On the CPU those of normalizations are wrong, without a word (seen with torch 2.15). Its batch_norm and instance_norm go back
through the memory of an answer and of its gradient as if both lay alike. They need not with a batch of 1: what tokens, laid
out as a picture, hand back to a batch_norm, or anything laid out channels last to an instance_norm, is taken for numbers of
other places.

On the GPU, cuDNN's recurrent layers have a gradient in training mode only.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from nn_lens.engine.network.functions import first_argument

_BATCH_NORMS = frozenset({F.batch_norm, torch.batch_norm})
_INSTANCE_NORMS = frozenset({F.instance_norm, torch.instance_norm})
_RECURRENT = frozenset({torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu})


class SoundGradients(TorchFunctionMode):
    """Runs a model so that its normalizations are handed tensors and gradients that lie as they are taken to, and its
    recurrent layers in training mode without its dropout.

    `needed_on`: the kinds of devices on which what it has run needs that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.needed_on: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        recurrent = func in _RECURRENT
        if not recurrent and func not in _BATCH_NORMS and func not in _INSTANCE_NORMS:
            return func(*args, **kwargs)
        where = "cuda" if recurrent else "cpu"
        self.needed_on.add(where)
        x = first_argument(args, kwargs)
        if x.device.type != where:
            return func(*args, **kwargs)
        if recurrent:
            return func(*in_training(args), **kwargs)
        if func in _BATCH_NORMS and len(x) != 1:
            return func(*args, **kwargs)
        as_it_seems = _as_it_seems(x)
        if as_it_seems is not x:
            args, kwargs = ((as_it_seems, *args[1:]), kwargs) if args else (args, {**kwargs, "input": as_it_seems})
        answer = func(*args, **kwargs)
        if answer.requires_grad:
            strides = answer.stride() if func in _BATCH_NORMS else None
            answer.register_hook(lambda gradient: _laid_out(gradient, strides))
        return answer


def in_training(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a recurrent function with its flag of training set; in evaluation its dropout, before the flag, is 0."""
    at = next((i for i, a in enumerate(args) if isinstance(a, float)), None)
    if at is None or args[at + 1]:
        return args
    return (*args[:at], 0.0, True, *args[at + 2 :])


def _as_it_seems(x: torch.Tensor) -> torch.Tensor:
    """`x`, or a copy where its one row is said to be shorter than it is, by which torch mistakes its layout."""
    if x.ndim > 3 and len(x) == 1 and x.stride(0) < x.numel():
        return x.clone(memory_format=torch.contiguous_format)
    return x


def _laid_out(gradient: torch.Tensor, strides: tuple[int, ...] | None) -> torch.Tensor:
    """The gradient with these strides; None: in the order of its dimensions."""
    if strides is None:
        return gradient.contiguous()
    if gradient.stride() == strides:
        return gradient
    return torch.empty_strided(gradient.shape, strides, dtype=gradient.dtype, device=gradient.device).copy_(gradient)
