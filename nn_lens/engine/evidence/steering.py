"""Steering: what the network answers when units, or what lies along a direction, are set, raised or multiplied by hand.

References: Bau et al., 2020, "Understanding the role of individual units in a deep neural network", who set units inside a
region; Turner et al., 2023, "Activation addition", who add a direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nn_lens.engine.evidence.changes import Edit, changes_of
from nn_lens.engine.evidence.effect_pass import effect_of
from nn_lens.engine.evidence.effects import Effect
from nn_lens.engine.network import capture
from nn_lens.engine.network.network import Network, as_network
from nn_lens.errors import LensError, a_type
from nn_lens.units import Direction, Unit

_WORDS = {"times": "times", "to": "set to", "by": "raised by"}


@dataclass(frozen=True, repr=False, kw_only=True)
class Steering(Effect):
    """Class scores with `what`, units and directions, changed: `how` is "times", "to" or "by", and `values` by how much, one
    for each. `place` says where in words, "everywhere" or the place. What else it has, `Effect` says.
    """

    what: tuple[Unit | Direction, ...]
    how: str
    values: tuple[float, ...]
    place: str

    def _said(self) -> str:
        said = [f"{one} {_WORDS[self.how]} {value:g}" for one, value in zip(self.what, self.values, strict=True)]
        more = f" and {len(said) - 3} more" if len(said) > 3 else ""
        return f"{', '.join(said[:3])}{more}" + ("" if self.place == "everywhere" else f" {self.place}")


def steer(
    net: Network,
    pictures: Any,
    what: Any,
    *,
    times: Any = None,
    to: Any = None,
    by: Any = None,
    place: Any = None,
    targets: Any = None,
    at: Any = None,
    seed: int = 0,
    controls: int = 5,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Steering:
    """The network's class scores on pictures with some answers inside it changed by hand, and as they are.

    Exactly one of `times`, `to` and `by` is given: a number, or one for each of `what`. No parameter is touched. Beside
    it stands the same change of as many random other units, or random directions. `times=0` is `nl.ablate`.

    Args:
        net: the network.
        pictures: one picture, or as for `nl.dataset_examples`.
        what: a unit or its text, a direction, or a list of such, also of several layers. Of a direction, taken at length
            1, what the layer answers along it is changed, and what is across it stays.
        times: answers are multiplied: 0 switches off, 1 changes nothing.
        to: answers are set to this value, whatever they are: what wakes a unit that is silent.
        by: this is added to them.
        place: None: everywhere, in tokens that have no place too, and of a unit with a place there. A place of the layer's
            maps, such as (row, column), a list of places, or a boolean mask of the grid.
        targets: the right class of each picture, as for `nl.ablate`.
        at: of dense answers, over which places scores are summed, as for `nl.ablate`.
        seed: of the random others.
        controls: how often random others are drawn; each costs another pass over the pictures.
        on_progress: called after each batch with how many pictures are done, and of how many (None: unknown).

    The result's `change(("this", "that"))` reads off how far one class moved ahead of another.

    Raises:
        LensError: not exactly one of times, to and by; numbers that are not finite, or too few; places that do not fit.
        UnknownUnit, UnknownLayer: what the network does not have. NetworkError: the model fails, or does not answer with
        one score per class.

    >>> net = nl.demo()
    >>> louder = nl.steer(net, net.samples["coffee"], "relu2:3", to=5.0, place=(4, 7), controls=2)
    >>> louder.delta.shape, louder.change(("tabby cat", "lion")).shape, len(louder.control.units)
    ((1, 20), (1,), 2)
    """
    net = as_network(net)
    edits, how, values, where = _asked(net, what, times, to, by, place)
    found = effect_of(
        net, pictures, edits, targets=targets, at=at, seed=seed, controls=controls, on_progress=on_progress
    )
    return Steering(what=tuple(edit.what for edit in edits), how=how, values=values, place=where, **found)


@contextmanager
def steered(
    net: Network, what: Any, *, times: Any = None, to: Any = None, by: Any = None, place: Any = None
) -> Iterator[None]:
    """While the block lasts, forward passes of `net` in this thread are changed as by `steer`; arguments and errors so too."""
    edits, *_ = _asked(net, what, times, to, by, place)
    with capture.replace_outputs(net.runner, changes_of(net, edits), every_pass=True):
        yield


def _asked(
    net: Network, what: Any, times: Any, to: Any, by: Any, place: Any
) -> tuple[list[Edit], str, tuple[float, ...], str]:
    """The edits, how, by how much, and where in words."""
    given = {name: value for name, value in (("times", times), ("to", to), ("by", by)) if value is not None}
    if len(given) != 1:
        raise LensError(
            "steer takes exactly one of times=, to= and by=: times=2 doubles answers, to=3 sets them, by=1 raises them; got "
            f"{' and '.join(given) or 'none'}."
        )
    ((how, value),) = given.items()
    several = tuple(dict.fromkeys(net.units_and_directions(what)))
    values = _numbers(how, value, several)
    masks = {one.layer: None if place is None else _mask(net, one.layer, place) for one in several}
    if place is not None:
        for one in several:
            if isinstance(one, Unit) and one.place is not None:
                raise LensError(f"{one} names its place; leave place= out, or write {one.layer}:{one.channel}.")
    edits = [Edit(one, how, v, masks[one.layer]) for one, v in zip(several, values, strict=True)]
    return edits, how, values, _where(masks)


def _numbers(how: str, value: Any, several: Sequence[Any]) -> tuple[float, ...]:
    single = isinstance(value, str) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0
    try:
        values = tuple(float(v) for v in ([value] * len(several) if single else value))
    except (TypeError, ValueError):
        values = (math.nan,)
    if not all(map(math.isfinite, values)):
        raise LensError(f"{how} is a finite number, or one for each that is steered; got {value!r}.")
    if len(values) != len(several):
        raise LensError(
            f"{how} has {len(values)} numbers for {len(several)} that are steered; give one, or one for each."
        )
    return values


def _mask(net: Network, layer: str, place: Any) -> torch.Tensor:
    """The boolean mask of a layer's grid that a place, a list of places or a mask is."""
    grid = net[layer].layout.grid
    example = tuple(n // 2 for n in grid)
    if grid == (1, 1):
        raise LensError(f"Layer {layer!r} answers at no place; leave place= out.")
    values = np.asarray(place.detach().cpu() if isinstance(place, torch.Tensor) else place)
    if values.dtype == np.bool_ and values.shape == grid and values.any():
        return torch.from_numpy(values.copy())
    places = (
        values.reshape(-1, 1) if values.ndim == 0 or (values.ndim == 1 and len(grid) == 1) else np.atleast_2d(values)
    )
    fits = places.ndim == 2 and places.shape[1:] == (len(grid),) and np.issubdtype(places.dtype, np.integer)
    if not fits or not len(places) or not ((places >= 0) & (places < np.array(grid))).all():
        said = repr(place) if values.size < 9 and values.dtype != object else a_type(place)
        raise LensError(
            f"place is one of the {'x'.join(map(str, grid))} places of {layer!r}, such as {example}, a list of them, or a "
            f"boolean mask of that shape with a place in it; got {said}."
        )
    mask = torch.zeros(grid, dtype=torch.bool)
    mask[tuple(torch.from_numpy(places.T.astype(np.int64)))] = True
    return mask


def _where(masks: dict[str, torch.Tensor | None]) -> str:
    mask = next(iter(masks.values()))
    if mask is None:
        return "everywhere"
    places = [tuple(map(int, p)) for p in mask.nonzero()]
    return f"at {','.join(map(str, places[0]))}" if len(places) == 1 else f"at {len(places)} places"
