"""Which tensor became which in a forward pass.

The model is untouched: a TorchFunctionMode notes every function that it calls, in modules or outside, with what it was
called with and which layers answered which tensors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from nn_lens.engine.network import capture
from nn_lens.engine.network.functions import MIXING, kind_of, name_of, tensors
from nn_lens.engine.network.network import Network

Key = tuple[int, int]
"""A tensor at one time: its id, and how often it had been written on."""


@dataclass(frozen=True)
class Step:
    """One function call: what it was called with, and which of its answers, None for the only one, is meant.

    `values`: of a sum, what its tensors held when it was called; a model may write on them afterwards.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    read: tuple[Key, ...]
    part: int | None
    values: tuple[torch.Tensor, ...] = ()

    @property
    def name(self) -> str:
        """What the function is called."""
        return name_of(self.function) or str(self.function)

    @property
    def kind(self) -> str:
        """As in the table of functions."""
        return kind_of(self.function)

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The tensors that it was called with, in the order of `read`."""
        return list(tensors((self.args, self.kwargs)))

    def argument(self, index: int, name: str, default: Any = None) -> Any:
        """An argument, given by its place or its name."""
        return self.args[index] if len(self.args) > index else self.kwargs.get(name, default)

    def key_of(self, index: int, name: str) -> Key:
        """Of a tensor argument, which tensor it was when the call was made."""
        asked = self.argument(index, name)
        return next(k for k, t in zip(self.read, self.tensors, strict=True) if t is asked)

    def again(self, new: Callable[[int, torch.Tensor], torch.Tensor]) -> Any:
        """What the function answers with other tensors: `new` is given the number of each, in order, and the tensor."""
        count = -1

        def replaced(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal count
            count += 1
            return new(count, tensor)

        args, kwargs = _replaced((self.args, self.kwargs), replaced)
        answer = self.function(*args, **kwargs)
        return answer if self.part is None else answer[self.part]


class Flow(TorchFunctionMode):
    """The function calls of a forward pass up to a layer, and which layers answered which tensors.

    `steps`: how each tensor was made. `layers`: names of the layers that answered it, in order. `start`: what the
    model was fed. `output`: what the layer answered. `readers`: how many calls read each tensor.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: dict[Key, Step] = {}
        self.layers: dict[Key, list[str]] = {}
        self.start: Key = (0, 0)
        self.output: Key = (0, 0)
        self.shapes: dict[Key, torch.Size] = {}
        self.readers: Counter[Key] = Counter()
        self._kept: list[torch.Tensor] = []  # so that no id is given to another tensor while we look
        self._dependent: set[int] = set()  # ids of tensors that are made from what the model was fed

    def feed(self, x: torch.Tensor) -> None:
        """Says what the model is fed."""
        self.start = self.key(x)
        self._dependent.add(id(x))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = list(tensors((args, kwargs)))
        read = tuple(self.key(t) for t in given)  # before it may be written on
        values = tuple(t.detach().clone() for t in given) if kind_of(func) == "sum" else ()
        answer = func(*args, **kwargs)
        several = isinstance(answer, (tuple, list))
        depends = any(self.depends(key) for key in read)
        made = [(i, t) for i, t in enumerate(answer if several else [answer]) if isinstance(t, torch.Tensor)]
        new = False
        for part, tensor in made:
            key = self.key(tensor)
            new |= key not in read
            if depends:
                self._dependent.add(id(tensor))
            if key not in read:
                self.steps.setdefault(key, Step(func, args, kwargs, read, part if several else None, values))
        if new:  # a dropout that is off answers what it read, and makes nothing of it
            self.readers.update(set(read))
        elif depends and answer is None and given:
            self._dependent.add(id(given[0]))  # `y[...] = x` writes on its first
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
        return key[0] in self._dependent

    def mixed(self, key: Key) -> bool:
        """Whether a function that mixes channels, such as a convolution, has a part in a tensor."""
        left, seen = [key], {key}
        while left:
            step = self.steps.get(left.pop())
            if step is not None and step.kind in MIXING:
                return True
            new = {k for k in step.read if k not in seen} if step is not None else set()
            seen |= new
            left += new
        return False


def flow_to(net: Network, layer: str) -> Flow:
    """The flow of one picture of even noise through the network, up to a layer."""
    flow = Flow()

    def answered(name: str, output: torch.Tensor) -> None:
        flow.layers.setdefault(flow.key(output), []).append(name)
        if name == layer:
            flow.output = flow.key(output)

    noise = torch.rand(1, *net.input_shape, generator=torch.Generator().manual_seed(0))
    with net.evaluation(), torch.inference_mode(False), torch.no_grad():
        x = net.normalized(noise).clone()
        flow.feed(x)
        with flow:
            net.run(lambda: capture.follow(net.runner, x, layer, answered))
    return flow


def is_leaf(module: nn.Module) -> bool:
    """Whether a module has no modules inside but what works on its weights, as a weight normalization."""
    return all(name == "parametrizations" for name, _ in module.named_children())


def _replaced(value: Any, new: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`value` with each of its tensors replaced, in the order of `tensors`."""
    if isinstance(value, torch.Tensor):
        return new(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_replaced(v, new) for v in value) if type(value) in (tuple, list) else value
    if isinstance(value, dict):
        return {k: _replaced(v, new) for k, v in value.items()}
    return value
