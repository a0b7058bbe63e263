"""Bringing units to life: the gradient passes unchanged through the last rectifier before the goal.

A rectified unit that is off has no gradient, and its maximizing image would stay grey. So the rectifiers
whose answer reaches the goal through nothing but pooling, dropout, reshaping and concatenation, and only
those, let the gradient through; what they answer stays the same. The model is untouched: a
TorchFunctionMode sees modules and functions alike, the in-place forms too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_RECTIFIERS = frozenset(
    """relu relu_ relu6 hardtanh hardtanh_ clamp clamp_ clamp_min clamp_min_ clip clip_ threshold _threshold
    threshold_ hardswish hardsigmoid""".split()
)
_TRANSPARENT = frozenset(
    """max_pool2d max_pool2d_with_indices avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d
    adaptive_max_pool2d_with_indices dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout
    feature_dropout flatten view reshape cat concat concatenate contiguous permute transpose
    squeeze unsqueeze clone mean pad __getitem__ channel_shuffle chunk split""".split()
)
_IN_PLACE = {"inplace", "in_place"}


class _Through(torch.autograd.Function):
    """A rectifier forward, the identity backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rectified: torch.Tensor) -> torch.Tensor:
        return rectified.clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0], None


class LastRectifiers(TorchFunctionMode):
    """Notes, call by call, which rectifiers reach each tensor; asked with `behind`."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self._tags: dict[int, tuple[torch.Tensor, frozenset[int]]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        before = frozenset().union(*(self.behind(t) for t in _tensors(args))) if name in _TRANSPARENT else frozenset()
        result = func(*args, **kwargs)
        if name in _RECTIFIERS:
            before = frozenset({self.calls})
            self.calls += 1
        if before:
            for tensor in _tensors((result,)):
                # The tensor is kept, so that its id is not given to another while we look.
                self._tags[id(tensor)] = (tensor, before)
        elif name.endswith("_"):
            for tensor in _tensors((result,)):
                self._tags.pop(id(tensor), None)
        return result

    def behind(self, tensor: torch.Tensor) -> frozenset[int]:
        """Numbers of the rectifier calls that `tensor` passes on."""
        found = self._tags.get(id(tensor))
        return found[1] if found is not None and found[0] is tensor else frozenset()


class Lively(TorchFunctionMode):
    """Lets the gradient through the rectifier calls of the given numbers, counted from the start of the block."""

    def __init__(self, which: Iterable[int]) -> None:
        super().__init__()
        self.which = frozenset(which)
        self.calls = 0

    def __enter__(self) -> Lively:
        self.calls = 0
        super().__enter__()
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") not in _RECTIFIERS:
            return func(*args, **kwargs)
        number = self.calls
        self.calls += 1
        if number not in self.which:
            return func(*args, **kwargs)
        return _let_through(func, args, kwargs)


def _let_through(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
    x: torch.Tensor = args[0] if args else kwargs["input"]
    in_place = func.__name__.endswith("_") or any(kwargs.get(k) for k in _IN_PLACE)
    with torch.no_grad():
        rectified = func(x.detach().clone(), *args[1:], **{k: v for k, v in kwargs.items() if k != "input"})
    if not in_place:
        through: torch.Tensor = _Through.apply(x, rectified)
        return through
    # The statement form, whose answer nobody takes: x itself must hold what the rectifier answers.
    # Adding a constant leaves its gradient as it is.
    return x.add_((rectified - x).detach())


def _tensors(values: Any) -> list[torch.Tensor]:
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found.extend(t for t in value if isinstance(t, torch.Tensor))
    return found
