"""What the outputs of a network are called, and which output is meant by a name or a number."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nn_lens.errors import LensError, nearest


def labels_of(given: Any, carried: Any, classes: int | None) -> tuple[str, ...] | None:
    """The names of a model's outputs: those given, else those that it carries; None if there are none.

    given, carried: names in order, or a dictionary index -> name, or "imagenet". classes: how many outputs there are,
    None where they are no classes.

    Raises:
        LensError: not one name per output.
    """
    if given is None:
        own = None if carried is None else _names(carried)
        # What a model carries may be of another task than its answer: a new head, features.
        return own if own is not None and len(own) == classes else None
    labels = _names(given)
    if classes is not None and len(labels) != classes:
        raise LensError(f"The model answers with {classes} classes, got {len(labels)} labels.")
    return labels


def _names(given: Any) -> tuple[str, ...]:
    if isinstance(given, str):
        if given.lower() != "imagenet":
            raise LensError(
                f'labels are a sequence of names, a dictionary index -> name, or "imagenet"; got {given!r}.'
            )
        import torchvision

        return tuple(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])
    if isinstance(given, Mapping):
        return _by_index(given)
    if not isinstance(given, Iterable):
        raise LensError(f"labels are a sequence of names or a dictionary index -> name, got {given!r}.")
    return tuple(map(str, given))


def _by_index(given: Mapping[Any, Any]) -> tuple[str, ...]:
    """The names of a dictionary index -> name, or name -> index, whose indices may be text."""
    for names in (given, {v: k for k, v in given.items() if isinstance(v, int) and not isinstance(v, bool)}):
        try:
            by_index = {int(k): str(v) for k, v in names.items()}
        except (TypeError, ValueError):
            continue
        if len(by_index) != len(given):
            continue
        missing = [i for i in range(len(by_index)) if i not in by_index]
        if missing:
            raise LensError(
                f"labels has {len(by_index)} names, but none for index {missing[0]}; give each index a name."
            )
        return tuple(by_index[i] for i in range(len(by_index)))
    raise LensError(f"labels as a dictionary are index -> name, such as {{0: 'cat', 1: 'dog'}}; got {dict(given)!r}.")


def this_and_that(target: Any) -> tuple[Any, Any]:
    """The two of a pair, (this, that): this rather than that. Of one target (target, None).

    Raises:
        LensError: a tuple or list of another length.
    """
    if not isinstance(target, (tuple, list)):
        return target, None
    if len(target) != 2 or any(one is None or isinstance(one, (tuple, list)) for one in target):
        raise LensError(
            f"A target is one class or unit, or a pair (this, that) of them: this rather than that; got {target!r}."
        )
    return target[0], target[1]


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
