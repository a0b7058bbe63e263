"""Indices out of range, found before a GPU meets them.

A model that looks its places up in a table may be asked for places beyond it, on an input of another size than its own. On
the processor that is an IndexError, by which the size is known to be refused. On a GPU it ends the whole process's use of
the device, and on others it may go unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_SAFE = ("cpu", "meta")  # devices that find such an index themselves, or look nothing up
_OF_SEVERAL = {"index", "index_put", "_unsafe_index", "_unsafe_index_put"}  # (x, indices), of each dimension or None
_ALONG_ONE = {
    "gather",
    "index_select",
    "index_add",
    "index_copy",
    "index_fill",
    "index_reduce",
    "scatter",
    "scatter_add",
    "scatter_reduce",
}  # (x, dim, index)
_ALONG_FIRST = {"embedding"}  # (table, index)
_OF_ALL = {"take", "put"}  # (x, index), counted through all dimensions


def checked(device: torch.device) -> AbstractContextManager[Any]:
    """Inside, an index out of range is an IndexError on every device; for a trial, as each look waits for the device."""
    return nullcontext() if device.type in _SAFE else Checked()


class Checked(TorchDispatchMode):
    """Compares the indices of each function that looks up with what there is, before it is called."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for index, size, negative in _looked_up(func, args):
            _check(index, size, negative)
        return func(*args, **(kwargs or {}))


def _looked_up(func: Any, args: Sequence[Any]) -> Iterator[tuple[torch.Tensor, int, bool]]:
    """The indices of a call, how many entries there are for each, and whether they may count from the end."""
    name = func._schema.name.removeprefix("aten::").removesuffix("_")
    if name in _OF_SEVERAL:
        yield from _of_each_dimension(args[0], args[1])
    elif name in _ALONG_ONE and args[0].ndim:
        yield args[2], args[0].shape[args[1]], False
    elif name in _ALONG_FIRST:
        yield args[1], args[0].shape[0], False
    elif name in _OF_ALL:
        yield args[1], args[0].numel(), True


def _of_each_dimension(
    x: torch.Tensor, indices: Sequence[torch.Tensor | None]
) -> Iterator[tuple[torch.Tensor, int, bool]]:
    dim = 0
    for index in indices:
        if index is None:
            dim += 1
        elif index.dtype in (torch.bool, torch.uint8):  # a mask, of as many dimensions as it has
            dim += index.ndim
        else:
            yield index, x.shape[dim], True
            dim += 1


def _check(index: torch.Tensor, size: int, negative: bool) -> None:
    if not index.numel():
        return
    low, high = (int(n) for n in index.cpu().aminmax())  # not every device compares whole numbers
    if high >= size or low < (-size if negative else 0):
        raise IndexError(f"index {high if high >= size else low} is out of range for {size} entries")
