"""A text that changes with everything that a model's answers depend on: what was kept of another is not to be trusted.

Weights and the printed architecture are not enough: two models of the same weights may differ in the code of forward,
in the functions that it calls, and in plain attributes, such as a factor or the name of an activation.
"""

from __future__ import annotations

import hashlib
import types
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

_DEPTH = 6  # of containers in containers
_OWN = frozenset("_parameters _buffers _modules training call_super_init".split())


def fingerprint(model: nn.Module, *more: Any) -> str:
    """32 hexadecimal digits of a model and of what goes with it: numbers, texts, functions."""
    digest = hashlib.blake2b(f"{model}".encode(), digest_size=16)
    look = _Look(digest)
    look.value(more)
    for name, module in model.named_modules():
        digest.update(name.encode())
        look.type(type(module))
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            look.value((key, tensor))
        for key in sorted(vars(module)):
            if key not in _OWN and not key.startswith("_forward") and not key.startswith("_backward"):
                look.value((key, vars(module)[key]))
    return digest.hexdigest()


class _Look:
    """Adds values to a digest; functions with the code that they call, each once."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest
        self._seen: set[Any] = set()

    def value(self, value: Any, depth: int = _DEPTH) -> None:
        """Adds a value: numbers, texts and arrays by what they are, functions by their code, others by their type."""
        if isinstance(value, torch.Tensor):
            self._tensor(value)
        elif isinstance(value, np.ndarray) and value.dtype != object:
            self._digest.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
        elif isinstance(
            value, (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
        ):
            self._digest.update(f"{type(value).__name__}{value!r}".encode())
        elif isinstance(value, dict) and depth:
            self._digest.update(f"dict{len(value)}".encode())
            for key, entry in value.items():
                self.value(key, depth - 1)
                self.value(entry, depth - 1)
        elif isinstance(value, (set, frozenset)) and depth:
            self.value(sorted(map(repr, value)), depth - 1)
        elif isinstance(value, (list, tuple)) and depth:
            self._digest.update(f"{type(value).__name__}{len(value)}".encode())
            for entry in value:
                self.value(entry, depth - 1)
        else:
            self._object(value, depth)

    def type(self, cls: type) -> None:
        """Adds the code of a class's methods, and of those that it inherits, up to torch's own."""
        for base in cls.__mro__:
            if base in self._seen or base is object:
                continue
            self._seen.add(base)
            self._digest.update(f"{base.__module__}.{base.__qualname__}".encode())
            if not _of_torch(base.__module__):
                for name in sorted(vars(base)):
                    entry = vars(base)[name]
                    entry = getattr(entry, "fget", None) or getattr(entry, "__func__", None) or entry
                    if not name.startswith("__") or callable(entry):
                        self.value((name, entry), 2)

    def _tensor(self, tensor: torch.Tensor) -> None:
        if nn.parameter.is_lazy(tensor):
            self._digest.update(b"uninitialized")
            return
        value = tensor.detach().cpu()
        value = value.int_repr() if value.is_quantized else value.to_dense() if value.layout != torch.strided else value
        self._digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        self._digest.update(value.contiguous().flatten().view(torch.uint8).numpy().data)

    def _object(self, value: Any, depth: int) -> None:
        if isinstance(value, partial):
            self.value((value.func, value.args, value.keywords), depth)
        elif isinstance(value, types.MethodType):
            self._object(value.__func__, depth)
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, type):
            if not _of_torch(value.__module__):
                self.type(value)
            self._digest.update(f"{value.__module__}.{value.__qualname__}".encode())
        elif isinstance(value, nn.Module):
            self.type(type(value))
        else:
            name = getattr(value, "__qualname__", type(value).__qualname__)
            self._digest.update(f"{type(value).__module__}.{name}".encode())
            if (
                depth
                and hasattr(value, "__dict__")
                and not isinstance(value, types.ModuleType)
                and id(value) not in self._seen
            ):
                self._seen.add(id(value))
                self.value(dict(sorted(vars(value).items(), key=lambda item: str(item[0]))), depth - 1)

    def _function(self, function: types.FunctionType) -> None:
        function = getattr(function, "__wrapped__", function)
        if not isinstance(function, types.FunctionType) or function in self._seen:
            return
        self._seen.add(function)
        self._digest.update(f"{function.__module__}.{function.__qualname__}".encode())
        if _of_torch(function.__module__ or ""):
            return
        self.value((function.__defaults__, function.__kwdefaults__))
        for code in _codes(function.__code__):
            self._digest.update(code.co_code + repr(code.co_names).encode())
            self.value([c for c in code.co_consts if not isinstance(c, types.CodeType)])
            for name in code.co_names:
                if name in function.__globals__:
                    self.value((name, function.__globals__[name]), 2)
        for cell in function.__closure__ or ():
            try:
                self.value(cell.cell_contents, 2)
            except ValueError:  # not filled yet
                continue


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code, and that of the functions and comprehensions inside."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _of_torch(module: str) -> bool:
    """Whether a module's code goes with the version of an installed package, which is not read line by line."""
    return module.split(".")[0] in (
        "torch",
        "torchvision",
        "numpy",
        "builtins",
        "timm",
        "transformers",
        "typing",
        "abc",
    )
