"""Whether every rectifier of a network is an nn.ReLU module of its own, as hooks on modules need it.

Guided backpropagation and deconvolution are the gradient with another rule at each rectifier, and Captum sets the rule
with hooks on nn.ReLU modules. A rectifier that is a function keeps the plain gradient, and the picture is neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from nn_lens.engine.network.functions import NONLINEAR, kind_of, name_of, tensors

_RELU = frozenset({"relu", "relu_"})
_CURVED = NONLINEAR | {"gate", "attention"}


def why_hooks_miss(model: nn.Module, call: Callable[[], Any]) -> str | None:
    """Why hooks on the nn.ReLU modules of `model` do not give each rectifier its rule in `call`; None if they do.

    The model is one that may be written on: a copy.
    """
    if any(isinstance(m, torch.jit.ScriptModule) for m in model.modules()):
        return "it is scripted, and its rectifiers cannot be seen"
    watch = _Watch()
    relus = {name: m for name, m in model.named_modules() if isinstance(m, nn.ReLU)}
    try:
        for name, module in relus.items():
            module.forward = watch.around(name, module.forward)  # type: ignore[method-assign]
        with watch:
            call()
    finally:
        for module in relus.values():
            module.__dict__.pop("forward", None)
    return watch.reason()


class _Watch(TorchFunctionMode):
    """Notes nonlinear functions outside nn.ReLU modules, calls of these, and who else reads what they read."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = False
        self.functions: list[str] = []
        self.calls: Counter[str] = Counter()
        self.inputs: dict[str, torch.Tensor] = {}
        self._reads: dict[int, tuple[torch.Tensor, int]] = {}

    def around(self, name: str, forward: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
        """The forward of the nn.ReLU module `name`, noted."""

        def noted(x: torch.Tensor) -> torch.Tensor:
            self.calls[name] += 1
            self.inputs[name] = x
            self.inside = True
            try:
                return forward(x)
            finally:
                self.inside = False

        return noted

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = name_of(func)
        if kind_of(name) in _CURVED and not (self.inside and name in _RELU):
            self.functions.append(name)
        answers = list(tensors(result))
        if any(t.requires_grad for t in answers):
            for tensor in tensors((args, kwargs)):
                if any(tensor is t for t in answers):  # written in place: from here on, it is another tensor
                    self._reads.pop(id(tensor), None)
                elif tensor.requires_grad:
                    # The tensor is kept, so that its id is not given to another while we look.
                    self._reads[id(tensor)] = (tensor, self._reads.get(id(tensor), (tensor, 0))[1] + 1)
        return result

    def reason(self) -> str | None:
        """What stands in the way of hooks, in words."""
        relus = [name for name in self.functions if name in _RELU]
        if relus:
            return f"it calls {relus[0]} as a function, which hooks on nn.ReLU modules do not see"
        if self.functions:
            names = ", ".join(dict.fromkeys(self.functions))
            return f"it uses {names}, and the method has a rule for ReLU only"
        for name, count in self.calls.items():
            if count > 1:
                return f"its ReLU module {name!r} is shared by {count} calls, and hooks keep only one of them"
        for name, x in self.inputs.items():
            if self._reads.get(id(x), (x, 0))[1] > 1:
                return f"what its ReLU module {name!r} reads is read elsewhere too, and the hook would cut both"
        return None
