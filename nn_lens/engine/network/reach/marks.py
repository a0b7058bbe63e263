"""Marks: for each element of a tensor, how far along one axis of the input it reaches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch

MOST = (
    1 << 26
)  # elements, 256 MB: asked for before they are made; of a tensor of marks; a network that needs more is left


class TooLarge(Exception):
    """The marks of a tensor, or the work of finding them, would be too much."""


@dataclass(frozen=True, eq=False)
class Marks:
    """0 for what no input place reaches, else 1 more than the last place that does; of a tensor of `shape`.

    `core` has as many dimensions, 1 long where all marks along a dimension are alike. It is never written on.
    """

    core: torch.Tensor
    shape: tuple[int, ...]

    @classmethod
    def of(cls, full: torch.Tensor) -> Marks:
        """Those in a tensor; along dimensions that it is expanded along, they are alike."""
        core = full
        for dim, (size, stride) in enumerate(zip(full.shape, full.stride(), strict=True)):
            if stride == 0 and size > 1:
                core = core.narrow(dim, 0, 1)
        return cls(core, tuple(full.shape))

    @classmethod
    def none(cls, shape: Sequence[int], like: torch.Tensor) -> Marks:
        """Those of a tensor that no input place reaches."""
        return cls(like.new_zeros([1 if n else 0 for n in shape]), tuple(shape))

    def full(self) -> torch.Tensor:
        """All of them, a view."""
        return self.core.expand(self.shape)

    def spread(self, dims: Sequence[int]) -> torch.Tensor:
        """The core, with one mark for each element along some dimensions; a view."""
        return self.core.expand(
            [n if d in dims else c for d, (n, c) in enumerate(zip(self.shape, self.core.shape, strict=True))]
        )

    def expand(self, shape: tuple[int, ...]) -> Marks:
        """Those of the tensor expanded to a shape, whose dimensions may be more."""
        if shape == self.shape:
            return self
        return Marks(self.core.reshape([1] * (len(shape) - len(self.shape)) + list(self.core.shape)), shape)

    def most(self, dims: Sequence[int] | int | None = None, keepdim: bool = False) -> Marks:
        """The largest along dimensions, None: of all."""
        if dims is None or (not isinstance(dims, int) and len(dims) == 0):
            dims = range(len(self.shape))
        rank = max(1, len(self.shape))
        reduced = sorted({d % rank for d in ((dims,) if isinstance(dims, int) else dims)})
        if not self.shape:
            return self
        core = self.core.amax(reduced, keepdim=True)
        shape = tuple(1 if d in reduced else n for d, n in enumerate(self.shape))
        if keepdim:
            return Marks(core, shape)
        kept = [d for d in range(len(shape)) if d not in reduced]
        return Marks(core.reshape([core.shape[d] for d in kept]), tuple(shape[d] for d in kept))

    def as_most(self, dims: Sequence[int] | int) -> Marks:
        """Those of a tensor of the same shape whose elements read all of those along dimensions."""
        return Marks(self.most(dims, keepdim=True).core, self.shape)

    def along(self, dim: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Marks:
        """Windows along a dimension; `change` makes (B,1,n) -> (B,1,m) marks, each the largest of a window or 0."""
        dim %= len(self.shape)
        n, core = self.shape[dim], self.core
        if core.shape[dim] == 1:
            reached = change(core.new_ones(1, 1, n))
            shape = (*self.shape[:dim], reached.shape[2], *self.shape[dim + 1 :])
            if bool(reached.all()):
                return Marks(core, shape)
            require(core.numel() * n)
            core = core.expand([n if d == dim else c for d, c in enumerate(core.shape)])
        moved = core.movedim(dim, -1)
        changed = change(moved.reshape(-1, 1, n))
        m = changed.shape[2]
        require(changed.numel())
        back = changed.reshape(*moved.shape[:-1], m).movedim(-1, dim)
        return Marks(back, (*self.shape[:dim], m, *self.shape[dim + 1 :]))

    def pick(self, dim: int, index: torch.Tensor) -> Marks:
        """Those at some places along a dimension, in the order of `index` (m,)."""
        dim %= len(self.shape)
        shape = (*self.shape[:dim], len(index), *self.shape[dim + 1 :])
        return Marks(self.core if self.core.shape[dim] == 1 else self.core.index_select(dim, index), shape)

    def tidy(self) -> Marks:
        """The same; kept once along dimensions where they are alike."""
        core = self.core
        for dim, n in enumerate(core.shape):
            if n > 1 and torch.equal(core.select(dim, 0), core.select(dim, n - 1)):
                first = core.narrow(dim, 0, 1)
                core = first if torch.equal(first.expand_as(core), core) else core
        return Marks(core, self.shape)

    def reshape(self, shape: Sequence[int]) -> Marks:
        """Those of the tensor in another shape, one entry of which may be -1."""
        numbers = math.prod(self.shape)
        known = math.prod(n for n in shape if n != -1)
        new = tuple(numbers // max(1, known) if n == -1 else int(n) for n in shape)
        if numbers == 0:
            return Marks.of(self.full().reshape(new))
        spread, cores = list(self.core.shape), [1] * len(new)
        for old_dims, new_dims in _groups(self.shape, new):
            if any(self.core.shape[d] > 1 for d in old_dims):
                for d in old_dims:
                    spread[d] = self.shape[d]
                for d in new_dims:
                    cores[d] = new[d]
        require(math.prod(cores))
        return Marks(self.core.expand(spread).reshape(cores), new)

    def same(self, other: Marks) -> bool:
        """Whether they are those of the other."""
        if self.core is other.core:
            return self.shape == other.shape
        if self.shape != other.shape:
            return False
        same_size = self.core.shape == other.core.shape
        return torch.equal(self.core, other.core) if same_size else torch.equal(self.full(), other.full())


def join(several: Sequence[Marks], shapes: Sequence[Sequence[int]] = ()) -> Marks:
    """Those of what reads all of several, element by element, broadcast to one another and to other `shapes`."""
    shape = broadcast([*(m.shape for m in several), *shapes])
    require(math.prod(broadcast([m.core.shape for m in several])))
    core = reduce(torch.maximum, (m.core for m in several))
    return Marks(core.reshape([1] * (len(shape) - core.dim()) + list(core.shape)), shape)


def broadcast(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """As torch.broadcast_shapes, which takes seconds to get ready when it is first called."""
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(next((n for n in sizes if n != 1), 1) for sizes in zip(*padded, strict=True))


def as_marks(value: Any, like: torch.Tensor) -> Marks:
    """Marks as they are; of a tensor or number that has none, those of nothing."""
    if isinstance(value, Marks):
        return value
    return Marks.none(value.shape if isinstance(value, torch.Tensor) else (), like)


def require(elements: int) -> None:
    """Nothing, where that many elements are not too many.

    Raises:
        TooLarge: they are.
    """
    if elements > MOST:
        raise TooLarge


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The shortest runs of dimensions of one shape that make up runs of those of another; without those of 1."""
    groups = []
    left, right = ([d for d, n in enumerate(shape) if n != 1] for shape in (old, new))
    while left:
        a, b = [left.pop(0)], [right.pop(0)]
        while (more := math.prod(old[d] for d in a) - math.prod(new[d] for d in b)) != 0:
            (a if more < 0 else b).append((left if more < 0 else right).pop(0))
        groups.append((a, b))
    return groups
