"""One call of a function in the pass: what its schema says, and its arguments with marks in place of tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

from nn_lens.engine.network import functions
from nn_lens.engine.network.reach.marks import Marks, require

EXAMPLE = 0.5  # what numbers are, where a model asks


class Seen(torch.Tensor):
    """What stands for a tensor in the pass: of its shape, without its numbers, with `marks`.

    Of a view, `source` is of what, and how its marks, and the view itself, are made again; `made_of` the marks that its
    own were made of.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    marks: Marks
    source: tuple[Seen, Callable[[Marks], Marks], Callable[[torch.Tensor], torch.Tensor]] | None
    made_of: Marks | None


class Chosen(torch.Tensor):
    """Integers and answers to questions: they depend on the input, but no gradient comes through them.

    `windows`: of the places of maxima, the (size, stride, padding, dilation) of the pooling along each dimension.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    windows: list[tuple[int, int, int, int]] | None


@dataclass(frozen=True)
class Signature:
    """What a schema says: `written` are the arguments that it writes its answers on, `answers` counts those."""

    name: str
    names: tuple[str, ...]
    written: tuple[str, ...]
    is_view: bool
    answers: int
    is_elementwise: bool


@cache
def signature_of(function: Any) -> Signature:
    """The signature of a function of torch; in-place forms and those with out= have the name of the plain one."""
    schema = function._schema
    space, _, name = schema.name.rpartition("::")
    answers = {
        s for r in schema.returns if r.alias_info is not None and r.alias_info.is_write for s in r.alias_info.before_set
    }
    written = tuple(
        a.name
        for a in schema.arguments
        if a.alias_info is not None
        and a.alias_info.is_write
        and (answers & a.alias_info.before_set or not schema.returns)
    )
    if written and name.endswith("_") and not name.endswith("__"):
        name = name[:-1]
    is_view = not written and any(r.alias_info is not None for r in schema.returns)
    elementwise = torch.Tag.pointwise in function.tags or functions.kind_of(name) in functions.ELEMENTWISE
    names = tuple(a.name for a in schema.arguments)
    full = name if space == "aten" else f"{space}::{name}"
    return Signature(full, names, written, is_view, len(schema.returns), elementwise)


@dataclass
class Call:
    """`a`: the arguments by name, with marks in place of the tensors that have some."""

    function: Any
    signature: Signature
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    a: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the function is called."""
        return self.signature.name

    def get(self, name: str, default: Any = None) -> Any:
        """An argument; the default where it was not given."""
        return self.a.get(name, default)

    def marks(self) -> list[Marks]:
        """Those of all arguments, in order."""
        found: list[Marks] = []

        def look(value: Any) -> None:
            if isinstance(value, Marks):
                found.append(value)
            elif isinstance(value, (tuple, list)):
                for entry in value:
                    look(entry)

        for name, value in self.a.items():
            if name != "out":
                look(value)
        return found

    def on(self, change: Callable[[torch.Tensor], Any]) -> Any:
        """What the function answers, its tensors changed first; where it would write on one, it does not."""
        function, written = self.function, self.signature.written
        if written:
            function = getattr(torch.ops.aten, self.name)
        kwargs = {k: v for k, v in self.kwargs.items() if k not in written or k == "self"}
        return function(*changed(self.args, change), **changed(kwargs, change))

    def on_examples(self) -> Any:
        """What the function answers to some numbers."""
        require(max(t.numel() for t in functions.tensors([self.args, self.kwargs])))
        return self.on(example)


def example(tensor: torch.Tensor) -> torch.Tensor:
    """Some numbers in the place of what stands for a tensor; another tensor as it is."""
    if isinstance(tensor, Seen):
        return torch.full((), EXAMPLE, dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)
    return tensor.as_subclass(torch.Tensor) if isinstance(tensor, Chosen) else tensor


def changed(value: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """Nested tuples, lists and dictionaries with the tensors in them changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return (
            [changed(v, change) for v in value] if isinstance(value, list) else tuple(changed(v, change) for v in value)
        )
    if isinstance(value, dict):
        return {k: changed(v, change) for k, v in value.items()}
    return value
