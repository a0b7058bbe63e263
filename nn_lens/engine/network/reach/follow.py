"""A forward pass that carries, in place of numbers, how far along one axis of the input each number reaches.

The mark of what a function answers is the largest of those that it reads: of a sum or product, of a window, of a row of
a matrix, whatever the weights are. So one pass gives the exact ends of what all neurons of all layers see along one
axis, through any graph. It needs no gradient: torch.no_grad, detach and inference_mode inside a model make no
difference.

What is watched are the functions to which torch breaks everything down, modules and TorchScript, einsum and attention
alike, in place, on views, or with out=. `rules` has what is met often; of other functions it is found out by poison.
Marks that are alike along a dimension are kept once, so that a pass costs next to nothing on an input of any width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nn_lens.engine.network import functions
from nn_lens.engine.network.reach import rules
from nn_lens.engine.network.reach.call import EXAMPLE, Call, Chosen, Seen, Signature, changed, signature_of
from nn_lens.engine.network.reach.marks import Marks


class Reach(TorchDispatchMode):
    """The pass: inside the block, what is made of what `start` gave is followed."""

    def __init__(self) -> None:
        super().__init__()
        # By memory, plain tensors that were written on, which keeps the memory theirs, and the marks of all of it.
        self._written: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def start(self, shape: tuple[int, ...], axis: int, ways: Sequence[str], like: torch.Tensor) -> Seen:
        """What stands for a batch of inputs of `shape` each, on the device and of the type of `like`.

        Places are counted along `axis` of an input, from 1 on: by the input's way "up", "down" from the other end, or
        not at all, "off".
        """
        places = torch.arange(1, shape[axis] + 1, dtype=torch.float32, device=like.device)
        several = {"up": places, "down": places.flip(0), "off": torch.zeros_like(places)}
        core = torch.stack([several[way] for way in ways])
        core = core.reshape(len(ways), *(-1 if d == axis else 1 for d in range(len(shape))))
        return stand_in(Marks(core, (len(ways), *shape)), like)

    def marks(self, tensor: torch.Tensor) -> Marks | None:
        """The marks of a tensor; None of one that is no function of the input."""
        if isinstance(tensor, Seen):
            if tensor.source is not None:
                base, again, _ = tensor.source
                of = self.marks(base)
                assert of is not None
                if of is not tensor.made_of:
                    tensor.marks, tensor.made_of = again(of), of
            return tensor.marks
        if self._written and tensor.is_floating_point() and _memory(tensor) in self._written:
            return Marks.of(_part(self._written[_memory(tensor)][1], tensor).clone())
        return None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, signature = kwargs or {}, signature_of(func)
        own = {**dict(zip(signature.names, args, strict=False)), **kwargs}
        if not signature.is_view:  # views of what was written on are plain
            args, kwargs = changed(args, self._standing), changed(kwargs, self._standing)
        given = list(functions.tensors([args, kwargs]))
        first = next((t for t in given if isinstance(t, Seen)), None)
        if first is None:
            answer = func(*args, **kwargs)
            chosen = [t for t in given if isinstance(t, Chosen)]
            return _chosen(answer, chosen) if chosen else answer
        call = Call(func, signature, args, kwargs)
        call.a = dict(zip(signature.names, changed(args, self._marked), strict=False)) | changed(kwargs, self._marked)
        found = rules.follow(call)
        return self._write_all(signature, own, found) if signature.written else self._answer(call, found, first)

    def _standing(self, tensor: torch.Tensor) -> torch.Tensor:
        """What stands for a tensor, where it is a plain one that was written on."""
        marks = None if isinstance(tensor, Seen) else self.marks(tensor)
        return tensor if marks is None else stand_in(marks, tensor)

    def _marked(self, tensor: torch.Tensor) -> Any:
        marks = self.marks(tensor)
        return tensor if marks is None else marks

    def _answer(self, call: Call, found: Any, first: torch.Tensor) -> Any:
        """What the model gets: something that stands for each tensor of which marks were found."""
        if isinstance(found, (tuple, list)):
            several = [self._one(call, value, first, i) for i, value in enumerate(found)]
            return several if isinstance(found, list) else tuple(several)
        return self._one(call, found, first, None)

    def _one(self, call: Call, found: Any, first: torch.Tensor, index: int | None) -> Any:
        if not isinstance(found, Marks):
            plain = type(found) is torch.Tensor and not found.is_floating_point()
            return _chosen(found, []) if plain else found
        dtype = call.kwargs.get("dtype")
        seen = stand_in(found, first, dtype if isinstance(dtype, torch.dtype) and dtype.is_floating_point else None)
        if call.signature.is_view and isinstance(first, Seen) and call.args[0] is first:
            seen.source = first, *_again(call, index)
            seen.made_of = self.marks(first)
        return seen

    def _write_all(self, signature: Signature, given: dict[str, Any], found: Any) -> Any:
        targets = [given[name] for name in signature.written if given.get(name) is not None]
        values = found if isinstance(found, (tuple, list)) else [found]
        for target, marks in zip(targets, values, strict=False):
            if isinstance(marks, Marks):
                self._write(target, marks.expand(tuple(target.shape)))
        return targets[0] if len(targets) == 1 else tuple(targets)

    def _write(self, target: torch.Tensor, marks: Marks) -> None:
        """Writes marks on a tensor, so that all that shares its memory has them."""
        if not isinstance(target, Seen):
            if target.is_floating_point():
                memory = target.untyped_storage()
                if _memory(target) not in self._written:
                    empty = torch.zeros(memory.nbytes() // target.element_size(), device=target.device)
                    self._written[_memory(target)] = target, empty
                _part(self._written[_memory(target)][1], target).copy_(marks.full())
            return
        own = self.marks(target)
        assert own is not None
        if marks.same(own):
            return
        if target.source is None:
            target.marks = marks
            return
        base, _, view = target.source
        whole = self.marks(base)
        assert whole is not None
        memory_of_base = whole.full().clone(memory_format=torch.contiguous_format)
        view(memory_of_base).copy_(marks.full())
        self._write(base, Marks(memory_of_base, whole.shape).tidy())


def stand_in(marks: Marks, like: torch.Tensor, dtype: torch.dtype | None = None) -> Seen:
    """What stands for a tensor with marks."""
    seen = torch.full((), EXAMPLE, dtype=dtype or like.dtype, device=like.device).expand(marks.shape).as_subclass(Seen)
    seen.marks, seen.source, seen.made_of = marks, None, None
    return seen


def _again(call: Call, index: int | None) -> tuple[Any, Any]:
    """How a view is made once more, of the marks of its base and of its base; `index`, of a function with several."""

    def marks(of: Marks) -> Any:
        found = rules.follow(
            Call(call.function, call.signature, call.args, call.kwargs, {**call.a, call.signature.names[0]: of})
        )
        return found if index is None else found[index]

    def view(of: torch.Tensor) -> Any:
        found = call.function(of, *call.args[1:], **call.kwargs)
        return found if index is None else found[index]

    return marks, view


def _chosen(answer: Any, chosen: list[Chosen]) -> Any:
    """What is made of what is chosen is chosen, too; the windows of places of maxima go on."""
    if isinstance(answer, (tuple, list)):
        return type(answer)(_chosen(a, chosen) for a in answer)
    if type(answer) is torch.Tensor:
        answer = answer.as_subclass(Chosen)
        answer.windows = next((w for t in chosen if (w := getattr(t, "windows", None))), None)
    return answer


def _memory(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _part(memory: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    return memory.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
