"""The weights inside a checkpoint: under which key they lie, and what training loops put before their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from nn_lens.errors import LensError, quoted

# Averages of the weights first: they are what is evaluated where there are some.
_AVERAGES = "model_ema state_dict_ema ema_state_dict model_ema_state_dict ema_model ema".split()
_USUAL = "state_dict model_state_dict model_state model weights net network params module".split()
_LABELS = "classes class_names labels label_names categories idx_to_class class_to_idx id2label".split()
_PREFIXES = ("module", "model", "net", "network", "_orig_mod", "backbone", "encoder")
_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})  # anywhere in a name
_DEPTH = 4  # of dictionaries in dictionaries


@dataclass(frozen=True)
class StateDict:
    """Weights by name; `said`: how they were found; `labels`: names of classes that lie beside them, None without.

    `metadata`: the versions of modules that torch keeps with a state dict.
    """

    tensors: dict[str, Any]
    said: tuple[str, ...] = ()
    labels: Any = None
    metadata: Any = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        return {name: tuple(t.shape) for name, t in self.tensors.items() if isinstance(t, torch.Tensor)}


def state_dict_in(content: Any, name: str) -> StateDict:
    """The weights in what a checkpoint holds.

    name: what to call the file in a message.

    Raises:
        LensError: it holds none, or those of several networks; names them.
    """
    found = _inside(content, name, (), _DEPTH)
    if found is None:
        raise LensError(f"{name} holds {_holds(content)}, and no weights. Save model.state_dict(), and load that.")
    return replace(found, labels=labels_in(content))


def readings(state: StateDict) -> Iterator[StateDict]:
    """`state`, and what it is once what training loops put before the names of weights is taken off."""
    unwrapped = {
        ".".join(part for part in name.split(".") if part not in _WRAPPERS): tensor
        for name, tensor in state.tensors.items()
    }
    yield state
    if len(unwrapped) == len(state.tensors) and unwrapped.keys() != state.tensors.keys():
        state = replace(state, tensors=unwrapped, said=(*state.said, "without compile's own names"), metadata=None)
        yield state
    for prefix in _PREFIXES:
        inner = {n.removeprefix(prefix + "."): t for n, t in state.tensors.items() if n.startswith(prefix + ".")}
        if len(inner) < 2:
            continue
        left = len(state.tensors) - len(inner)
        said = f"names without {prefix + '.'!r}" + (f", {left} others left out" if left else "")
        yield from readings(replace(state, tensors=inner, said=(*state.said, said), metadata=None))


def labels_in(content: Any) -> Any:
    """Names of classes that lie beside the weights, as `Network` takes them."""
    if not isinstance(content, Mapping):
        return None
    for key in _LABELS:
        names = content.get(key)
        texts = list(names.values()) + list(names) if isinstance(names, Mapping) else names
        if isinstance(texts, Sequence) and not isinstance(texts, str) and any(isinstance(n, str) for n in texts):
            return names
    return None


def _inside(content: Any, name: str, way: tuple[str, ...], depth: int) -> StateDict | None:
    """The weights in a dictionary, or in one of those in it."""
    if not isinstance(content, Mapping) or not depth:
        return None
    tensors = {n: t for n, t in content.items() if isinstance(n, str) and _is_weight(n, t)}
    inner = {n: entry for n, entry in content.items() if isinstance(n, str) and isinstance(entry, Mapping)}
    if len(tensors) > 1 or (tensors and not inner):
        said = (f"under {quoted('.'.join(way))}",) if way else ()
        return StateDict(tensors, said, metadata=getattr(content, "_metadata", None))
    for key in (*_AVERAGES, *_USUAL):
        if key in inner:
            found = _inside(inner[key], name, (*way, key), depth - 1)
            if found is not None:
                return found
    others = {n: _inside(entry, name, (*way, n), depth - 1) for n, entry in inner.items() if "optim" not in n}
    there = {n: found for n, found in others.items() if found is not None}
    if len(there) > 1:
        raise LensError(
            f"{name} holds several networks: {', '.join(map(quoted, list(there)[:6]))}. Save the weights of one, and "
            "load that."
        )
    return next(iter(there.values()), None)


def _is_weight(name: str, value: Any) -> bool:
    return isinstance(value, torch.Tensor) or name.endswith("_extra_state")


def _holds(content: Any) -> str:
    if isinstance(content, Mapping):
        keys = ", ".join(map(quoted, list(content)[:6]))
        return f"a dictionary of {keys}" if keys else "an empty dictionary"
    return f"a {type(content).__name__}"
