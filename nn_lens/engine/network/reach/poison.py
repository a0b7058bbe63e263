"""Marks by trial, of what a function answers that has no rule."""

from __future__ import annotations

from typing import Any

import torch

from nn_lens.engine.network.arrays import widest
from nn_lens.engine.network.reach.call import EXAMPLE, Call, Seen
from nn_lens.engine.network.reach.marks import Marks, TooLarge, join

_MOST_WORK = 1 << 28  # elements, all trials together
_SMALL = 1e-9


def poison(call: Call, linear: bool = False) -> Any:
    """By trial: what an answer's element becomes when all inputs from a mark on are poisoned.

    linear: the function is, so that inputs may be 1 from a mark on, and else 0; weights of 0 then reach nothing.
    """
    clean = call.on_examples()
    several = list(clean) if isinstance(clean, (tuple, list)) else [clean]
    if not all(isinstance(t, torch.Tensor) for t in several) or not any(t.is_floating_point() for t in several):
        return clean
    marks = [m.full() for m in call.marks()]
    values = torch.cat([m.core.flatten() for m in call.marks()]).unique()
    values = values[values > 0]
    if len(values) * sum(t.numel() for t in (*marks, *several)) > _MOST_WORK:
        raise TooLarge
    found = [t.new_zeros(t.shape, dtype=torch.float32) for t in several]
    for value in values:
        given = iter(marks)

        def poisoned(tensor: torch.Tensor, given: Any = given, value: Any = value) -> Any:
            if not isinstance(tensor, Seen):
                return (
                    tensor.to(widest(tensor.device)) if tensor.is_floating_point() else tensor.as_subclass(torch.Tensor)
                )
            on = next(given) >= value
            if linear:
                return on.to(widest(on.device))
            return torch.where(on, torch.nan, EXAMPLE).to(widest(on.device))

        answer = call.on(poisoned)
        for into, now in zip(found, answer if isinstance(answer, (tuple, list)) else [answer], strict=True):
            if now.is_floating_point():
                into[now.abs() > _SMALL if linear else now.isnan()] = value
    ways = [Marks.of(f).tidy() if t.is_floating_point() else t for f, t in zip(found, several, strict=True)]
    return ways[0] if not isinstance(clean, (tuple, list)) else ways


def grid_sample(call: Call) -> Marks:
    """Where the grid depends on the input, all may be read."""
    x, grid = call.a["input"], call.a["grid"]
    if not isinstance(grid, Marks):
        return poison(call, linear=True)  # type: ignore[no-any-return]
    shape = (*grid.shape[:1], x.shape[1], *grid.shape[1:-1])
    places = grid.most(-1)
    places = places.reshape([places.shape[0], 1, *places.shape[1:]])
    return join([*([x.most()] if isinstance(x, Marks) else []), places], [shape])


def linear(call: Call) -> Any:
    """A function that is linear."""
    return poison(call, linear=True)
