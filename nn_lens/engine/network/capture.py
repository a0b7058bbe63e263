"""Reading and changing the outputs of layers; the only file that registers a hook.

The forward pass stops as soon as the last wanted layer has answered. Only the first call of a module counts, as in
the order of the layer table.

Hooks act in the thread that asked for them only: a forward pass that somebody else's thread has under way on the same
model, where it cannot be copied, is neither stopped nor changed. What hooks cannot keep apart is the model itself:
while `Network.evaluation` lasts, it is in eval mode with frozen weights for every thread, so that a training step
taken meanwhile computes no gradients for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


class _Enough(BaseException):
    """Thrown through a model's forward once every wanted layer has answered.

    A BaseException, so that a model's own `except Exception` does not swallow it.
    """


@dataclass(frozen=True)
class Seen:
    """One module's first call: its name and the shape that it answered with, None if no tensor."""

    name: str
    module: nn.Module
    output_shape: tuple[int, ...] | None


def outputs(model: nn.Module, x: torch.Tensor, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Outputs of the named modules for one forward pass of `x`, as the model gives them.

    Values keep their graph. A layer that is not the last to answer is copied, since a later
    in-place rectifier would overwrite it. Names that were not reached are missing;
    the name "" stands for the model's own answer.
    """
    modules = {name: model.get_submodule(name) for name in names}
    answers: dict[str, torch.Tensor] = {}
    wanted = set(names)

    def remember(name: str, _module: nn.Module, output: Any) -> None:
        output = output if name else first_tensor(output)
        if name in answers or not isinstance(output, torch.Tensor):
            return
        wanted.discard(name)
        answers[name] = output.clone() if wanted else output
        if not wanted:
            raise _Enough

    with _hooks(modules.items(), remember):
        _run_until_enough(model, x)
    return answers


def input_of(model: nn.Module, x: torch.Tensor, name: str) -> torch.Tensor:
    """What the named module reads at its first call, for one forward pass of `x`."""
    read: list[torch.Tensor] = []

    def remember(_name: str, _module: nn.Module, inputs: Any) -> None:
        read.append(inputs[0].clone())
        raise _Enough

    with _hooks([(name, model.get_submodule(name))], remember, before=True):
        _run_until_enough(model, x)
    return read[0]


def trace(model: nn.Module, x: torch.Tensor) -> tuple[list[Seen], Any]:
    """Every module that one whole forward pass of `x` calls, as they first answer, and the model's output.

    A layer comes before the container that ends with it: the list runs from the input to the output.
    """
    seen: dict[str, Seen] = {}

    def remember(name: str, module: nn.Module, output: Any) -> None:
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else None
        seen.setdefault(name, Seen(name, module, shape))

    modules = [(name, module) for name, module in model.named_modules() if name]
    with _hooks(modules, remember):
        answer = model(x)
    return list(seen.values()), answer


def first_tensor(answer: Any) -> torch.Tensor | None:
    """The tensor of a model's answer: itself, or the first of a tuple, list or dictionary."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    if isinstance(answer, (tuple, list)):
        answer = next((a for a in answer if isinstance(a, torch.Tensor)), None)
    return answer if isinstance(answer, torch.Tensor) else None


def follow(model: nn.Module, x: torch.Tensor, until: str, answered: Callable[[str, torch.Tensor], None]) -> None:
    """Calls `answered(name, output)` with each module's first tensor, in order, until the layer `until` has answered."""
    seen: set[str] = set()

    def remember(name: str, _module: nn.Module, output: Any) -> None:
        if name in seen or not isinstance(output, torch.Tensor):
            return
        seen.add(name)
        answered(name, output)
        if name == until:
            raise _Enough

    with _hooks([(name, module) for name, module in model.named_modules() if name], remember):
        _run_until_enough(model, x)


@contextmanager
def replace_outputs(
    model: nn.Module, changes: Mapping[str, Callable[[torch.Tensor], torch.Tensor]]
) -> Iterator[set[str]]:
    """For one forward pass inside the block, the named modules answer with what their functions make of their output.

    Functions return another tensor than they get. Only the first call of a module is changed. Yields the names that
    have answered so far.
    """
    done: set[str] = set()

    def answered(name: str, module: nn.Module, output: Any) -> torch.Tensor | None:
        if name in done or not isinstance(output, torch.Tensor):
            return None
        done.add(name)
        new = changes[name](output)
        if not getattr(module, "inplace", False):
            return new
        # It has written on what it read, and a model may go on with that rather than with its answer.
        return output.copy_(new)

    with _hooks([(name, model.get_submodule(name)) for name in changes], answered):
        yield done


def _run_until_enough(model: nn.Module, x: torch.Tensor) -> None:
    try:
        model(x)
    except _Enough:
        pass


@contextmanager
def _hooks(
    modules: Iterable[tuple[str, nn.Module]], call: Callable[[str, nn.Module, Any], Any], before: bool = False
) -> Iterator[None]:
    """Calls `call(name, module, output)` after each named module, or `before` it with its inputs, until the block is left.

    What it returns, unless None, replaces the output, or the inputs. Modules that other threads run are left alone.
    """
    own = threading.get_ident()

    def hook(name: str) -> Callable[..., Any]:
        def called(module: nn.Module, *inputs_and_output: Any) -> Any:
            return call(name, module, inputs_and_output[-1]) if threading.get_ident() == own else None

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
