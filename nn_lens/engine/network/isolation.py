"""Running a model that changes itself, so that it is afterwards what it was.

Some models keep what they saw: features of the last call, the state of a spiking neuron, statistics that the first
picture sets, layers that are built when first needed. While such a model runs, its tensors are replaced by copies that
it may write on; afterwards its modules, and the plain objects that they hold, get their own contents back.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

_CONTAINERS = (dict, list, set, deque)
_OPAQUE = (torch.Tensor, type, types.FunctionType, types.MethodType, types.ModuleType, types.BuiltinFunctionType)
_MOST_OBJECTS = 20_000  # that are looked at; a model with more keeps a dataset or a graph, not a state

Where = tuple[str, Any]
"""A tensor's place: the path of what holds it, and its key there."""


@dataclass
class Changes:
    """What a model changed while it ran: `written`, where it wrote on tensors; `built`, modules that were not there.

    `any`: whether anything of it was other than before.
    """

    written: set[Where] = field(default_factory=set)
    built: list[str] = field(default_factory=list)
    any: bool = False


@contextmanager
def isolated(model: nn.Module, written: Collection[Where] | None = None) -> Iterator[Changes]:
    """Whatever the model changes inside the block is put back; says what it was.

    written: which tensors it may write on, as an earlier look has found; None: any, all of them are copied.
    """
    paths, holders = zip(*_holders(model), strict=True)
    contents = [_contents(holder) for holder in holders]
    names = {name for name, _ in model.named_modules()}
    changes = Changes()
    copies = _replace_tensors(paths, holders, written)
    replaced = [_contents(holder) for holder in holders]
    try:
        yield changes
    finally:
        changes.written = {where for where, (own, copy) in copies.items() if not _same(own, copy)}
        changes.built = [name for name, _ in model.named_modules() if name not in names]
        after = [_contents(holder) for holder in holders]
        changes.any = bool(changes.written) or any(map(_differ, replaced, after))
        for holder, content in zip(holders, contents, strict=True):
            _put_back(holder, content)


def _holders(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The model's modules, and the containers and plain objects that they hold, each once, with its path."""
    left: list[tuple[str, Any]] = [("", model)]
    seen: set[int] = set()
    while left and len(seen) < _MOST_OBJECTS:
        path, holder = left.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        yield path, holder
        for key, value in _entries(holder):
            plain = hasattr(value, "__dict__") and not isinstance(value, _OPAQUE)
            if isinstance(value, (*_CONTAINERS, tuple)) or plain:
                left.append((f"{path}/{key}", value))


def _entries(holder: Any) -> list[tuple[Any, Any]]:
    if isinstance(holder, (list, set, deque, tuple)):
        return list(enumerate(holder))
    return list((holder if isinstance(holder, dict) else vars(holder)).items())


def _contents(holder: Any) -> Any:
    """What a holder holds, as a copy of the container alone."""
    if isinstance(holder, tuple):
        return holder
    return dict(vars(holder)) if not isinstance(holder, _CONTAINERS) else holder.copy()


def _put_back(holder: Any, content: Any) -> None:
    if isinstance(holder, tuple):
        return
    own = holder if isinstance(holder, _CONTAINERS) else vars(holder)
    if own == content if isinstance(own, set) else not _differ(own, content):
        return
    own.clear()
    if isinstance(own, (list, deque)):
        own.extend(content)
    else:
        own.update(content)


def _replace_tensors(
    paths: Sequence[str], holders: Sequence[Any], written: Collection[Where] | None
) -> dict[Where, tuple[torch.Tensor, torch.Tensor]]:
    """Puts copies in the place of tensors; gives (own, copy) by place. A tensor that is held twice has one copy."""
    copies: dict[Where, tuple[torch.Tensor, torch.Tensor]] = {}
    twins: dict[int, torch.Tensor] = {}
    for path, holder in zip(paths, holders, strict=True):
        if isinstance(holder, (set, tuple)):
            continue
        own: Any = holder if isinstance(holder, _CONTAINERS) else vars(holder)
        for key, tensor in _entries(holder):
            where = path, key
            if isinstance(tensor, torch.Tensor) and (written is None or where in written):
                if id(tensor) not in twins:
                    twins[id(tensor)] = _copied(tensor)
                own[key] = twins[id(tensor)]
                copies[where] = tensor, own[key]
    return copies


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    copy = tensor.detach().clone(memory_format=torch.preserve_format)
    return nn.Parameter(copy, requires_grad=False) if isinstance(tensor, nn.Parameter) else copy


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.is_quantized:
        return torch.equal(a.int_repr(), b.int_repr())
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())


def _differ(before: Any, after: Any) -> bool:
    """Whether a container holds other things than it held; numbers and texts count by what they say."""
    if len(before) != len(after):
        return True
    if isinstance(before, set):
        return bool(before != after)
    pairs = (
        ((before[k], after.get(k, _DIFFERENT)) for k in before)
        if isinstance(before, dict)
        else zip(before, after, strict=True)
    )
    simple = (bool, int, float, str, bytes, type(None))
    return any(a is not b and not (type(a) is type(b) and isinstance(a, simple) and a == b) for a, b in pairs)


_DIFFERENT = object()
