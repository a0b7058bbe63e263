"""Bringing units to life: the gradient passes unchanged through the last rectifier before the goal.

A rectified unit that is off has no gradient, and its maximizing image would stay grey. So the rectifiers
whose answer reaches the goal through nothing but pooling, dropout, reshaping and concatenation (`PASSING`), and only
those, let the gradient through; what they answer stays the same. The model is untouched: a
TorchFunctionMode sees modules and functions alike, the in-place forms too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nn_lens.engine.network.functions import PASSING, first_argument, kind_of, name_of, tensors

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
        kind, before = kind_of(func), frozenset[int]()
        if kind in PASSING:
            before = before.union(*(self.behind(t) for t in tensors((args, kwargs))))
        result = func(*args, **kwargs)
        if kind == "rectifier":
            before = frozenset({self.calls})
            self.calls += 1
        if before:
            for tensor in tensors(result):
                # The tensor is kept, so that its id is not given to another while we look.
                self._tags[id(tensor)] = (tensor, before)
        elif name_of(func).endswith("_"):  # written on: it is no longer what a rectifier answered
            for tensor in tensors(result):
                self._tags.pop(id(tensor), None)
        return result

    def behind(self, tensor: torch.Tensor) -> frozenset[int]:
        """Numbers of the rectifier calls that `tensor` passes on."""
        tagged, calls = self._tags.get(id(tensor), (None, frozenset[int]()))
        return calls if tagged is tensor else frozenset()


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
        if kind_of(func) != "rectifier":
            return func(*args, **kwargs)
        number = self.calls
        self.calls += 1
        if number not in self.which:
            return func(*args, **kwargs)
        return _let_through(func, args, kwargs)


def _let_through(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
    x: torch.Tensor = first_argument(args, kwargs)
    in_place = name_of(func).endswith("_") or any(kwargs.get(k) for k in _IN_PLACE)
    with torch.no_grad():
        rectified = func(x.detach().clone(), *args[1:], **{k: v for k, v in kwargs.items() if k != "input"})
    if not in_place:
        through: torch.Tensor = _Through.apply(x, rectified)
        return through
    # The statement form, whose answer nobody takes: x itself must hold what the rectifier answers.
    # Adding a constant leaves its gradient as it is.
    return x.add_((rectified - x).detach())
