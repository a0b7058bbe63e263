"""Letting the gradient through where a model cuts it: under `torch.no_grad`, and at `detach`.

A frozen backbone often runs like that. Only where no gradient comes otherwise: the `detach` of a straight-through
estimator is meant. What runs under `torch.inference_mode`, or on quantized numbers, gives none all the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nn_lens.engine.network.functions import first_argument, name_of


class Flowing(TorchFunctionMode):
    """Runs a model with its switches of the gradient left on, and its detached tensors attached."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = name_of(func), kwargs or {}
        if name == "_set_grad_enabled":
            return None
        cuts = name in ("detach", "detach_") or (
            name == "__get__" and getattr(func, "__self__", None) is torch.Tensor.data
        )
        if cuts:
            x = first_argument(args, kwargs)
            if isinstance(x, torch.Tensor) and x.requires_grad:
                return x if name == "detach_" else x.view_as(x)
        return func(*args, **kwargs)
