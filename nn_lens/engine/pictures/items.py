"""What an item of a dataset is made of: a picture, or what else the network reads, and what class it is of."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nn_lens.errors import PictureError

FILES = frozenset(".jpg .jpeg .png .gif .webp .bmp .tif .tiff".split())
"""Suffixes of picture files."""

_PICTURES = (
    "image img picture pixel_values jpg jpeg png webp x input inputs input_values signal volume sequence audio data features"
).split()
_TARGETS = "label labels target targets class cls y".split()
_CONTENTS = ("array", "bytes", "path")  # of a picture or a recording that a data set keeps undecoded


@dataclass(frozen=True)
class Unreadable:
    """An item that the dataset could not give, and why."""

    why: str


def parts(item: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """(picture, target) of an item, the target as it is and None where there is none.

    item: a picture, or a tuple or list that begins with a picture and its target, or a dictionary with both; for a
    network of another kind than pictures what it reads, `shape` being the shape of that.

    Raises:
        PictureError: nothing in it is known to be the picture.
    """
    if isinstance(item, Unreadable):
        raise PictureError(item.why)
    if isinstance(item, Mapping):
        return _by_key(item)
    if not isinstance(item, (tuple, list)) or is_values(item, shape):
        return item, None
    if not item:
        raise PictureError(f"An empty {type(item).__name__} is no picture.")
    if isinstance(item, list) and len(item) > 1 and _alike(item[0], item[1]):
        raise PictureError(
            f"A list of {len(item)} pictures is no (picture, target) pair; let the dataset give one picture at a time."
        )
    picture = _by_key(item[0])[0] if isinstance(item[0], Mapping) else item[0]
    return picture, item[1] if len(item) > 1 else None


def class_of(target: Any, indices: Mapping[str, int]) -> int | None:
    """The class index that a target is, None where it is none.

    A whole number is one, also as an array of that one number; a text is one where `indices` has it. Floats, bools,
    masks, boxes and vectors are none.
    """
    if isinstance(target, str):
        return indices.get(target)
    if isinstance(target, (torch.Tensor, np.ndarray)):
        if tuple(target.shape) not in ((), (1,)):
            return None
        target = target.item()
    if target is None or isinstance(target, (bool, np.bool_)):
        return None
    try:
        return operator.index(target)
    except TypeError:
        return None


def is_values(item: Any, shape: tuple[int, ...]) -> bool:
    """Whether a tuple or list is itself one input of a network that reads other things than pictures."""
    if len(shape) == 3 or not isinstance(item, (tuple, list)) or not item:
        return False
    if isinstance(item[0], (int, float, np.number)):
        return True
    return _nested_shape(item) in (shape, shape[1:] if shape[0] == 1 else shape)


def entries(batch: Any, shape: tuple[int, ...], surely: bool) -> list[Any] | None:
    """The items of a batch that a loader put together; None: it is one item.

    surely: whether it is a batch, which is else seen by the dimension that it has more than `shape`.
    """
    if isinstance(batch, Mapping):
        pictures = next((v for k, v in _found(batch, _PICTURES)), None)
        if not _stacked(pictures, shape, surely) and not (surely and isinstance(pictures, (list, tuple))):
            return None
        assert pictures is not None
        return [{key: _entry(value, i) for key, value in batch.items()} for i in range(len(pictures))]
    if isinstance(batch, (tuple, list)) and not is_values(batch, shape):
        if _in_columns(batch, shape, surely):
            return [tuple(_entry(column, i) for column in batch) for i in range(len(batch[0]))]
        return list(batch) if surely else None
    return list(batch) if _stacked(batch, shape, surely) else None


def items_of_array(a: Any, shape: tuple[int, ...]) -> Any:
    """An array or tensor by its first dimension, which counts inputs of `shape`; one input gets that dimension."""
    own = tuple(a.shape)
    if own == shape or len(own) < len(shape):
        return a[None]
    if len(own) > len(shape):
        return a
    if len(shape) != 3:
        without = {shape[1:]} if shape[0] == 1 else set()
        without |= {shape[:1]} if len(shape) == 2 and shape[1] == 1 else set()
        return a if own[1:] in without else a[None]
    if isinstance(a, torch.Tensor):
        grey = shape[0] in (1, 3) and own[0] > 4
    else:
        grey = shape[0] in (1, 3) and own[2] not in (1, 3, 4)
    return a if grey else a[None]


def _by_key(item: Mapping[Any, Any]) -> tuple[Any, Any]:
    pictures = [value for _, value in _found(item, _PICTURES) if value is not None]
    if not pictures:
        raise PictureError(
            f"A dictionary of {', '.join(map(repr, item)) or 'nothing'} has no picture under a known name ({', '.join(_PICTURES)}); "
            "let the dataset give (picture, target) pairs."
        )
    picture = pictures[0]
    if isinstance(picture, Mapping):
        picture = next((picture[k] for k in _CONTENTS if picture.get(k) is not None), picture)
    return picture, next((value for _, value in _found(item, _TARGETS)), None)


def _found(item: Mapping[Any, Any], names: list[str]) -> list[tuple[Any, Any]]:
    """The entries that are called by one of the names, in the order of these."""
    keys = {str(key).lower(): key for key in item}
    return [(keys[name], item[keys[name]]) for name in names if name in keys]


def _alike(a: Any, b: Any) -> bool:
    """Whether two things look like two pictures of a kind, rather than like a picture and its target."""
    if isinstance(a, (torch.Tensor, np.ndarray)):
        return type(a) is type(b) and a.shape == b.shape and a.ndim >= 2
    if isinstance(a, Image.Image):
        return isinstance(b, Image.Image) and a.mode == b.mode
    if isinstance(a, (str, os.PathLike)):
        return isinstance(b, (str, os.PathLike)) and Path(b).suffix.lower() in FILES
    return isinstance(a, bytes) and isinstance(b, bytes)


def _stacked(a: Any, shape: tuple[int, ...], surely: bool) -> bool:
    return isinstance(a, (torch.Tensor, np.ndarray)) and a.ndim > 0 and (surely or a.ndim == len(shape) + 1)


def _in_columns(batch: Any, shape: tuple[int, ...], surely: bool) -> bool:
    """Whether a batch holds its pictures, then its targets; else it holds items."""
    first, second = batch[0] if batch else None, batch[1] if len(batch) > 1 else None
    if isinstance(first, (torch.Tensor, np.ndarray)):
        if first.ndim == len(shape) + 1:
            return True
        # Of grey pictures and the like the dimension that counts them is as many as the first of one picture.
        one_each = hasattr(second, "__len__") and getattr(second, "ndim", 1) > 0 and len(second) == len(first)  # type: ignore[arg-type]
        return surely and one_each and not _alike(first, second)
    if surely and isinstance(first, (tuple, list)) and first and not is_values(first, shape):
        return _alike(first[0], first[1]) if len(first) > 1 else len(batch) == 2
    return False


def _entry(column: Any, i: int) -> Any:
    if isinstance(column, Mapping):
        return {key: _entry(value, i) for key, value in column.items()}
    try:
        return column[i]
    except (TypeError, IndexError, KeyError):
        return None


def _nested_shape(item: Any) -> tuple[int, ...]:
    if isinstance(item, (tuple, list)):
        return (len(item), *_nested_shape(item[0])) if item else (0,)
    return tuple(getattr(item, "shape", ()))
