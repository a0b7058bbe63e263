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

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from nn_lens.engine.network import functions
from nn_lens.engine.network.reach import recurrent, rules, windows
from nn_lens.engine.network.reach.call import EXAMPLE, Call, Chosen, Seen, Signature, changed, signature_of
from nn_lens.engine.network.reach.marks import Marks, TooLarge, require

_NEW = frozenset(
    """empty zeros ones full rand randn empty_permuted empty_strided new_empty new_zeros new_ones new_full
    new_empty_strided empty_like zeros_like ones_like full_like rand_like randn_like""".split()
)


class _Whole(TorchFunctionMode):
    """Follows functions as a whole that torch would break down into too many."""

    def __init__(self, reach: Reach) -> None:
        super().__init__()
        self._reach = reach
        self._known: dict[Any, Any] = dict.fromkeys(recurrent.FUNCTIONS, self._recurrent)
        self._known |= {F.scaled_dot_product_attention: self._attention, F.pad: self._pad}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self._known and any(self._reach.marks(t) is not None for t in functions.tensors([args, kwargs])):
            answer = self._known[func](func, *args, **kwargs)
            if answer is not None:
                return answer
        return func(*args, **kwargs)

    def _recurrent(self, _func: Any, *args: Any) -> Any:
        if not recurrent.is_padded(args):
            return None
        x, states, _weights, _biases, layers, _dropout, _train, both_ways, batch_first = args
        several = states if isinstance(states, (tuple, list)) else [states]
        marks, *hidden = (self._reach.marks(t) or Marks.none(t.shape, t) for t in (x, *several))
        outputs, last = recurrent.recurrent(marks, hidden, several[0].shape[-1], layers, both_ways, batch_first)
        return (stand_in(outputs, x), *(stand_in(last, x) for _ in several))

    def _attention(
        self, _func: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0, is_causal: bool = False, **_: Any,
    ) -> Any:  # fmt: skip
        mask = None if isinstance(attn_mask, (Seen, Chosen)) else attn_mask
        q, k, v = (self._reach.marks(t) or t for t in (query, key, value))
        return stand_in(rules.attention(q, k, v, mask, is_causal), query)

    def _pad(self, _func: Any, input: torch.Tensor, pad: Any, mode: str = "constant", value: Any = None) -> Any:
        marks = self._reach.marks(input)
        return stand_in(windows.padded(marks, pad, mode), input) if marks is not None and mode == "circular" else None


class Reach(TorchDispatchMode):
    """The pass: inside the block, what is made of what `start` gave is followed."""

    def __init__(self, most: int | None = None) -> None:
        """most: functions of the input that a model may call before it is left; None: any number."""
        super().__init__()
        self.calls, self._most, self._whole = 0, most, _Whole(self)
        # By memory, plain tensors that were written on, which keeps the memory theirs, and the marks of all of it.
        self._written: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __enter__(self) -> Reach:
        super().__enter__()
        self._whole.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        self._whole.__exit__(*failure)
        super().__exit__(*failure)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Asked by torch, which else gets its compiler ready for the first pass, for seconds."""
        return False

    @property
    def is_left(self) -> bool:
        """Whether the model called too many functions."""
        return self._most is not None and self.calls > self._most

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
        if signature.name in _NEW:
            require(math.prod(own["size"] if "size" in own else own["self"].shape))
        if not signature.is_view:  # views of what was written on are plain
            args, kwargs = changed(args, self._standing), changed(kwargs, self._standing)
        given = list(functions.tensors([args, kwargs]))
        first = next((t for t in given if isinstance(t, Seen)), None)
        if first is None:
            answer = func(*args, **kwargs)
            chosen = [t for t in given if isinstance(t, Chosen)]
            return _chosen(answer, chosen) if chosen else answer
        self.calls += 1
        if self.is_left:
            raise TooLarge
        call = Call(func, signature, args, kwargs)
        call.a = dict(zip(signature.names, changed(args, self._marked), strict=False)) | changed(kwargs, self._marked)
        found = rules.follow(call)
        if signature.written and call.name in rules.TURNS and isinstance(first, Seen):
            func(*args, **kwargs)
            first.marks, first.source = found, None
            return first
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
                    require(memory.nbytes())
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
        require(math.prod(whole.shape))
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
