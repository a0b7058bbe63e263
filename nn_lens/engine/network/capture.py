"""Reading and changing the outputs of layers; the only file that registers a hook on a module.

The forward pass stops as soon as the last wanted layer has answered. Only the first call of a module counts, as in
the order of the layer table.

Hooks act in the thread that asked for them only: a forward pass that somebody else's thread has under way on the same
model, where it cannot be copied, is neither stopped nor changed. What hooks cannot keep apart is the model itself:
while `Network.evaluation` lasts, it is in eval mode with frozen weights for every thread, so that a training step
taken meanwhile computes no gradients for them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nn_lens.engine.network.runner import Runner


class _Enough(BaseException):
    """Thrown through a model's forward once every wanted layer has answered.

    A BaseException, so that a model's own `except Exception` does not swallow it.
    """


@dataclass(frozen=True)
class Seen:
    """One module's first call: its name, the shape that it answered with, and that of the first tensor that it read.

    Shapes are None where there was no tensor.
    """

    name: str
    module: nn.Module
    output_shape: tuple[int, ...] | None
    input_shape: tuple[int, ...] | None


def outputs(runner: Runner, x: torch.Tensor, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Outputs of the named modules for one forward pass of `x`, as the model gives them.

    Values keep their graph. A layer that is not the last to answer is copied, since a later
    in-place rectifier would overwrite it. Names that were not reached are missing;
    the name "" stands for the model's own answer, read as `runner.answer` says.
    """
    answers: dict[str, torch.Tensor] = {}
    layers = [name for name in names if name]
    wanted = set(layers)

    def remember(name: str, module: nn.Module, output: Any) -> None:
        tensor = layer_output(module, output)
        if name in answers or tensor is None:
            return
        wanted.discard(name)
        last = not wanted and "" not in names
        answers[name] = tensor if last else tensor.clone()
        if last:
            raise _Enough

    with _hooks([(name, runner.module(name)) for name in layers], remember):
        try:
            answer = runner(x)
        except _Enough:
            return answers
    if "" in names:
        own = runner.answer(answer)
        if own is not None:
            answers[""] = own
    return answers


def input_of(runner: Runner, x: torch.Tensor, name: str) -> torch.Tensor:
    """What the named module reads at its first call, for one forward pass of `x`."""
    read: list[torch.Tensor] = []

    def remember(_name: str, _module: nn.Module, inputs: Any) -> None:
        read.append(inputs[0].clone())
        raise _Enough

    with _hooks([(name, runner.module(name))], remember, before=True):
        _run_until_enough(runner, x)
    return read[0]


def trace(
    runner: Runner, x: torch.Tensor, call: Callable[[torch.Tensor], Any] | None = None
) -> tuple[list[Seen], Any, torch.Tensor | None]:
    """Every module that one whole forward pass of `x` calls, as they first answer, the model's answer, and the tensor
    that the last called module gave.

    A layer comes before the container that ends with it: the list runs from the input to the output.
    call: what runs the model, in place of `runner` itself.
    """
    seen: dict[str, Seen] = {}
    last: list[torch.Tensor | None] = [None]

    def remember(name: str, module: nn.Module, output: Any, inputs: Any) -> None:
        tensor, read = layer_output(module, output), next((i for i in inputs if isinstance(i, torch.Tensor)), None)
        shapes = (None if t is None else tuple(t.shape) for t in (tensor, read))
        seen.setdefault(name, Seen(name, module, *shapes))
        last[0] = tensor

    with _hooks(list(runner.modules()), remember, with_inputs=True):
        answer = (call or runner)(x)
    return list(seen.values()), answer, last[0]


def layer_output(module: nn.Module, output: Any) -> torch.Tensor | None:
    """The tensor that a module answers, not quantized; of a module without parts that answers a tuple, as an LSTM does,
    the first. None where it is none.
    """
    if isinstance(output, (tuple, list)) and not any(True for _ in module.children()):
        output = output[0] if output else None
    if not isinstance(output, torch.Tensor):
        return None
    return output.dequantize() if output.is_quantized else output


def follow(runner: Runner, x: torch.Tensor, until: str, answered: Callable[[str, torch.Tensor], None]) -> None:
    """Calls `answered(name, output)` with each module's first tensor, in order, until the layer `until` has answered."""
    seen: set[str] = set()

    def remember(name: str, module: nn.Module, output: Any) -> None:
        tensor = layer_output(module, output)
        if name in seen or tensor is None:
            return
        seen.add(name)
        answered(name, tensor)
        if name == until:
            raise _Enough

    with _hooks(list(runner.modules()), remember):
        _run_until_enough(runner, x)


@contextmanager
def replace_outputs(
    runner: Runner, changes: Mapping[str, Callable[[torch.Tensor], torch.Tensor]], every_pass: bool = False
) -> Iterator[Counter[str]]:
    """For one forward pass inside the block, the named modules answer with what their functions make of their output.

    every_pass: for each forward pass inside the block.

    What a function returns is another tensor than it gets, or the same, and then nothing changes. Only the first call of
    a module is changed. Yields how often each name has answered so far.
    """
    done: Counter[str] = Counter()

    def answered(name: str, module: nn.Module, output: Any) -> Any:
        tensor = layer_output(module, output)
        if tensor is None:
            return None
        done[name] += 1
        if done[name] > 1:
            return None
        new = changes[name](tensor)
        if new is tensor:
            return None
        own = output[0] if isinstance(output, (tuple, list)) else output
        if own.is_quantized:
            new = torch.quantize_per_tensor(new, own.q_scale(), own.q_zero_point(), own.dtype)
        if getattr(module, "inplace", False):
            # It has written on what it read, and a model may go on with that rather than with its answer.
            new = own.copy_(new)
        if not isinstance(output, (tuple, list)):
            return new
        rest = [new, *output[1:]]
        return type(output)(*rest) if hasattr(output, "_fields") else type(output)(rest)

    def begins(_name: str, _module: nn.Module, _inputs: Any) -> None:
        done.clear()

    passes = [("", runner.module(""))] if every_pass else []
    with _hooks(passes, begins, before=True), _hooks([(name, runner.module(name)) for name in changes], answered):
        yield done


def _run_until_enough(runner: Runner, x: torch.Tensor) -> None:
    try:
        runner(x)
    except _Enough:
        pass


@contextmanager
def _hooks(
    modules: Iterable[tuple[str, nn.Module]], call: Callable[..., Any], before: bool = False, with_inputs: bool = False
) -> Iterator[None]:
    """Calls `call(name, module, output)` after each named module, or `before` it with its inputs, until the block is left.

    with_inputs: after the output, the inputs are given, too. What it returns, unless None, replaces the output, or the
    inputs. Modules that other threads run are left alone.
    """
    own = threading.get_ident()

    def hook(name: str) -> Callable[..., Any]:
        def called(module: nn.Module, inputs: Any, *output: Any) -> Any:
            if threading.get_ident() != own:
                return None
            if before:
                return call(name, module, inputs)
            return call(name, module, output[0], inputs) if with_inputs else call(name, module, output[0])

        return called

    handles = []
    try:
        for name, module in modules:
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            handles.append(register(hook(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()
