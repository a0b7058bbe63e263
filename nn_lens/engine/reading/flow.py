"""Which tensor became which in a forward pass, and which elements of one are elements of another.

The model is untouched: a TorchFunctionMode notes every function that it calls, in modules or outside. Where elements
come from is found with labels: a float64 tensor of a tensor's shape that holds a number above 0 at the elements in
question, and 0 elsewhere. Labels are carried from an answer back to what it was made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nn_lens.engine.network import capture
from nn_lens.engine.network.functions import ELEMENTWISE, MIXING, kind_of, name_of, tensors
from nn_lens.engine.network.network import Network

Key = tuple[int, int]
"""A tensor at one time: its id, and how often it had been written on."""


@dataclass(frozen=True)
class Step:
    """One function call: what it was called with, and which of its answers, None for the only one, is meant."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    read: tuple[Key, ...]
    part: int | None

    @property
    def name(self) -> str:
        """What the function is called."""
        return name_of(self.function) or str(self.function)

    @property
    def kind(self) -> str:
        """As in the table of functions."""
        return kind_of(self.function)

    def argument(self, index: int, name: str, default: Any = None) -> Any:
        """An argument, given by its place or its name."""
        return self.args[index] if len(self.args) > index else self.kwargs.get(name, default)

    def key_of(self, index: int, name: str) -> Key:
        """Of a tensor argument, which tensor it was when the call was made."""
        asked = self.argument(index, name)
        return next(k for k, t in zip(self.read, tensors((self.args, self.kwargs)), strict=True) if t is asked)

    def back(self, labels: torch.Tensor) -> list[tuple[Key, torch.Tensor]] | None:
        """The labels of what the call read, None if they cannot be told: no such function, or elements are mixed."""
        if self.kind == "shape":
            return self._moved(labels)
        first = next(tensors(self.args), None)
        first = next(tensors(self.kwargs), None) if first is None else first
        if first is None:
            return None
        if self.kind in ELEMENTWISE | {"batch_norm"} and first.shape == labels.shape:
            return [(self.read[0], labels)]
        back = None
        if self.kind in ("pool", "resize"):
            back = _whole_channels(labels, first.shape)
        elif self.kind == "reduction":
            back = self._spread(labels, first.shape)
        return None if back is None else [(self.read[0], back)]

    def _moved(self, labels: torch.Tensor) -> list[tuple[Key, torch.Tensor]] | None:
        """Of a function that only moves elements: it is called again, on the elements' numbers."""
        if self.name == "pad" and self.argument(3, "value"):
            return None
        numbers: list[torch.Tensor] = []

        def numbered(t: torch.Tensor) -> torch.Tensor:
            if not t.is_floating_point():
                return t.cpu()  # an index
            start = 1 + sum(n.numel() for n in numbers)  # 0 is what a padding adds
            numbers.append(torch.arange(start, start + t.numel(), dtype=torch.float64).view(t.shape))
            return numbers[-1]

        args, kwargs = _replaced((self.args, self.kwargs), numbered)
        answer = self.function(*args, **kwargs)
        answer = answer if self.part is None else answer[self.part]
        if not isinstance(answer, torch.Tensor) or answer.shape != labels.shape or answer.dtype != torch.float64:
            return None
        where = answer.long().flatten()
        flat = torch.zeros(1 + sum(n.numel() for n in numbers), dtype=torch.float64)
        flat[where] = labels.flatten()
        flat[0] = 0
        if not torch.equal(flat[where], labels.flatten() * (where > 0)):
            return None  # an element that answers at several places with several labels
        parts = flat[1:].split([n.numel() for n in numbers])
        floats = [k for k, t in zip(self.read, tensors((self.args, self.kwargs)), strict=True) if t.is_floating_point()]
        return [(key, part.view(n.shape)) for key, part, n in zip(floats, parts, numbers, strict=True)]

    def _spread(self, labels: torch.Tensor, shape: torch.Size) -> torch.Tensor | None:
        """Of a mean or a maximum over dimensions: what was put together has the label of what it became."""
        dims = self.argument(1, "dim")
        if dims is None:
            return None
        dims = sorted(d % len(shape) for d in (dims if isinstance(dims, (tuple, list)) else (dims,)))
        if labels.ndim < len(shape):
            for dim in dims:
                labels = labels.unsqueeze(dim)
        return labels.expand(shape) if labels.ndim == len(shape) else None


class Flow(TorchFunctionMode):
    """The function calls of a forward pass up to a layer, and which layers answered which tensors.

    `steps`: how each tensor was made. `layers`: names of the layers that answered it, in order. `start`: what the
    model was fed. `output`: what the layer answered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: dict[Key, Step] = {}
        self.layers: dict[Key, list[str]] = {}
        self.start: Key = (0, 0)
        self.output: Key = (0, 0)
        self.shapes: dict[Key, torch.Size] = {}
        self._kept: list[torch.Tensor] = []  # so that no id is given to another tensor while we look

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        read = tuple(self.key(t) for t in tensors((args, kwargs)))  # before it may be written on
        answer = func(*args, **kwargs)
        several = isinstance(answer, (tuple, list))
        for part, tensor in enumerate(answer if several else [answer]):
            if isinstance(tensor, torch.Tensor):
                key = self.key(tensor)
                if key not in read:
                    self.steps.setdefault(key, Step(func, args, kwargs, read, part if several else None))
        return answer

    def key(self, tensor: torch.Tensor) -> Key:
        """The tensor as it is now."""
        key = id(tensor), -1 if tensor.is_inference() else int(tensor._version)
        if key not in self.shapes:
            self.shapes[key] = tensor.shape
            self._kept.append(tensor)
        return key

    def depends(self, key: Key) -> bool:
        """Whether a tensor is made from what the model was fed."""
        return self.start in self._before(key)

    def mixed(self, key: Key) -> bool:
        """Whether a function that mixes channels, such as a convolution, has a part in a tensor."""
        steps = (self.steps.get(k) for k in self._before(key))
        return any(s is not None and s.kind in MIXING for s in steps)

    def _before(self, key: Key) -> set[Key]:
        """What a tensor is made from, itself included."""
        left, seen = [key], {key}
        while left:
            step = self.steps.get(left.pop())
            new = {k for k in step.read if k not in seen} if step is not None else set()
            seen |= new
            left += new
        return seen

    def labels(self, key: Key) -> torch.Tensor:
        """No labels, in the shape of a tensor."""
        return torch.zeros(self.shapes[key], dtype=torch.float64)


def flow_to(net: Network, layer: str) -> Flow:
    """The flow of one grey picture through the network, up to a layer."""
    flow = Flow()

    def answered(name: str, output: torch.Tensor) -> None:
        flow.layers.setdefault(flow.key(output), []).append(name)
        if name == layer:
            flow.output = flow.key(output)

    with net.evaluation(), torch.inference_mode(False), torch.no_grad():
        x = net.normalized(torch.full((1, *net.input_shape), 0.5)).clone()
        flow.start = flow.key(x)
        with flow:
            net.run(lambda: capture.follow(net.model, x, layer, answered))
    return flow


def _whole_channels(labels: torch.Tensor, shape: torch.Size) -> torch.Tensor | None:
    """Of a function within channels, (N,C,...) both: a channel has the one label that its answer has anywhere."""
    if labels.ndim < 3 or labels.ndim != len(shape) or labels.shape[:2] != shape[:2]:
        return None
    flat = labels.flatten(2)
    whole = flat.amax(2, keepdim=True)
    if not bool(((flat == whole) | (flat == 0)).all()):
        return None
    return whole.view(*shape[:2], *[1] * (len(shape) - 2)).expand(shape)


def _replaced(value: Any, new: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`value` with each of its tensors replaced, in the order of `tensors`."""
    if isinstance(value, torch.Tensor):
        return new(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_replaced(v, new) for v in value) if type(value) in (tuple, list) else value
    if isinstance(value, dict):
        return {k: _replaced(v, new) for k, v in value.items()}
    return value
