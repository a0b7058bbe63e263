"""What the outputs of a network are called, and which output is meant by a name or a number."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from torch import nn

from nn_lens.errors import LensError, nearest


def labels_of(
    model: nn.Module, given: Sequence[str] | None, output_shape: tuple[int, ...] | None
) -> tuple[str, ...] | None:
    """The names of a model's outputs: those given, else those of its torchvision weights; None if there are none.

    Raises:
        LensError: not one name per output.
    """
    if given is None:
        meta = getattr(getattr(model, "weights", None), "meta", None) or {}
        given = meta.get("categories")
    if given is None:
        return None
    labels = tuple(str(label) for label in given)
    if output_shape is not None and len(output_shape) == 2 and len(labels) != output_shape[1]:
        raise LensError(f"The model answers with {output_shape[1]} classes, got {len(labels)} labels.")
    return labels


def class_index(target: Any, labels: Sequence[str] | None, classes: int) -> int:
    """The index of the class that `target`, an index or a label, is; there are `classes` of them.

    Raises:
        LensError: there is no such class; names the nearest.
    """
    if isinstance(target, str):
        names = list(labels or ())
        if target in names:
            return names.index(target)
        near = nearest(target, names)
        hint = f"did you mean {', '.join(near)}?" if near else "pass its index, or one of `network.labels`."
        raise LensError(f"There is no class {target!r}; {hint}")
    try:
        index = operator.index(target.item() if hasattr(target, "item") else target)
    except (TypeError, ValueError, RuntimeError):
        raise LensError(f"A class is an index or a label, got {target!r}.") from None
    if not 0 <= index < classes:
        raise LensError(f"The network has classes 0 to {classes - 1}, not {index}.")
    return index
