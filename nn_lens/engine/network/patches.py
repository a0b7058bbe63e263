"""The grid that tokens lie on where no convolution made them: patches that the model cut out itself, as by a reshape.

A row of tokens says nothing of rows and columns, and a number of them may be cut in several ways. So one patch of the
input is changed at a time: if it is just the token of that patch that answers otherwise, the grid is known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from nn_lens.engine.network import capture
from nn_lens.engine.network.layouts import EXTRA
from nn_lens.engine.network.runner import Runner


def grid_of_patches(
    runner: Runner, x: torch.Tensor, places: Sequence[int], seen: Sequence[capture.Seen]
) -> tuple[int, ...] | None:
    """The grid of the first tokens that are patches of the inputs `x`; None where there are none.

    places: (height, width) of pictures, (depth, height, width) of volumes. seen: the layers of one pass of `x`.
    """
    tried: set[int] = set()
    for layer in seen:
        shape = layer.output_shape or ()
        if len(shape) != 3 or shape[0] != len(x) or shape[1] in tried:
            continue
        tried.add(shape[1])
        for extra, grid in _cuts(shape[1], places):
            if _holds(runner, x, layer.name, extra, grid):
                return grid
    return None


def _cuts(tokens: int, places: Sequence[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """How many tokens may stand before those of patches, and into how many patches each side may be cut."""
    divisors = [[n for n in range(1, side + 1) if side % n == 0] for side in places]
    for extra in EXTRA:
        for grid in itertools.product(*divisors):
            if math.prod(grid) == tokens - extra and min(grid) > 1:
                yield extra, grid


def _holds(runner: Runner, x: torch.Tensor, name: str, extra: int, grid: tuple[int, ...]) -> bool:
    """Whether the second patch along each side is the token that it should be, and no other."""
    before = capture.outputs(runner, x, [name]).get(name)
    if before is None:
        return False
    for d in range(len(grid)):
        sides = [side // n for side, n in zip(x.shape[2:], grid, strict=True)]
        at: Any = [slice(sides[i], 2 * sides[i]) if i == d else slice(0, sides[i]) for i in range(len(grid))]
        other = x.clone()
        other[(..., *at)] += 1
        after = capture.outputs(runner, other, [name]).get(name)
        if after is None or after.shape != before.shape:
            return False
        moved = (after - before).abs().amax((0, 2)) > 1e-6 * before.abs().max()
        if moved.nonzero().flatten().tolist() != [extra + math.prod(grid[d + 1 :])]:
            return False
    return True
