"""Bringing a unit to life that no gradient reaches: starting from the real picture that drives it most.

The user's own pictures come first, then those that installed packages ship.
Signals, volumes, sequences and vectors, of which no package ships any, start from the random one that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from nn_lens.engine.maximizing.inputs import in_unit_range, mean_and_deviation, place_dims, random, rest
from nn_lens.engine.maximizing.own import first_pictures, pictures_at_hand
from nn_lens.engine.maximizing.plan import Plan
from nn_lens.engine.network.network import Network, receptive_field
from nn_lens.engine.pictures.samples import sample_pictures
from nn_lens.units import Unit

_PLACES = 3  # a picture's strongest places that are tried as a start
_RANDOM = 64  # random inputs
_OWN = 128  # pictures of a dataset of the user's


@dataclass(frozen=True)
class Start:
    """A canvas, the `value` of its unit there, and the most that the unit `reached` at any place of any picture."""

    canvas: torch.Tensor
    value: float
    reached: float


class Revival:
    """Starts for the dead units of a plan, looked for in views of real pictures.

    The pictures are `own`, whatever a dataset may be, or the network's, as they are; and its samples, or those that
    installed packages ship, whole and enlarged.
    """

    called = "views of real pictures"

    def __init__(self, net: Network, own: Sequence[Any] = ()) -> None:
        self.net, self.own = net, own
        self._views: torch.Tensor | None = None

    @property
    def tried(self) -> int:
        """How many views were looked at so far."""
        return 0 if self._views is None else len(self._views)

    def starts(self, rows: Sequence[int], plan: Plan) -> dict[int, Start]:
        """By row of a plan, the (C,H,W) canvas cut from a real picture that drives its unit most; only where above 0."""
        if self._views is None:
            self._views = _views(self.net, self.own)
        return self._starts(rows, plan, self._views)

    def bars(self, rows: Sequence[int], plan: Plan) -> dict[int, Start]:
        """The same from pictures that the network was made for, else from those that installed packages ship, whole."""
        found = pictures_at_hand(self.net, self.own)
        return self._starts(rows, plan, None if found is None else found.pictures)

    def _starts(self, rows: Sequence[int], plan: Plan, pictures: torch.Tensor | None) -> dict[int, Start]:
        layer = plan.layer
        if pictures is None or layer is None:
            return {}
        with self.net.evaluation(), torch.no_grad():
            batches = pictures.split(self.net.batch_size())
            maps = torch.cat([self.net.outputs(views, [layer])[layer] for views in batches])
            units = {row: unit for row in rows if (unit := plan.unit(row)) is not None}
            canvases = {row: self._best(unit, plan, pictures, maps) for row, unit in units.items()}
        return {row: canvas for row, canvas in canvases.items() if canvas is not None}

    def _best(self, unit: Unit, plan: Plan, views: torch.Tensor, maps: torch.Tensor) -> Start | None:
        own, field = maps[:, unit.channel], receptive_field(self.net, unit.layer)
        values, where = own.flatten().topk(min(_PLACES, own.numel()))
        canvases = []
        # Beyond the border the network itself goes on with zeros.
        padded = mean_and_deviation(self.net)[0].clamp(0, 1)[:, None, None]
        for value, index in zip(values.tolist(), where.tolist(), strict=True):
            if value > 0:
                view, place = divmod(index, own[0].numel())
                where_seen = np.unravel_index(place, own.shape[1:])
                at = [int(i) for i in where_seen]
                canvases += [
                    field.cut(views[view], at, plan.shape, centre=plan.centres.get(unit.layer, ()), outside=outside)
                    for outside in (None, padded)
                ]
        if not canvases:
            return None
        stack = torch.stack(canvases)
        scores = _values(unit, plan, self.net.outputs(stack, [unit.layer])[unit.layer])
        best = int(scores.argmax())
        return Start(stack[best], float(scores[best]), float(values[0])) if float(scores[best]) > 0 else None


class RandomRevival:
    """As `Revival`, looked for in random inputs of the canvas' size: half of them noise, half of them smooth."""

    called = "random inputs"

    def __init__(self, net: Network) -> None:
        self.net, self.tried = net, 0

    def starts(self, rows: Sequence[int], plan: Plan) -> dict[int, Start]:
        """By row of a plan, the canvas of `_RANDOM` that drives the row's unit most; only where above 0."""
        layer, best = plan.layer, dict[int, Start]()
        if layer is None:
            return best
        canvases = _random(self.net, plan.shape)
        self.tried = len(canvases)
        with self.net.evaluation(), torch.no_grad():
            batches = canvases.split(self.net.batch_size())
            maps = torch.cat([self.net.outputs(batch, [layer])[layer] for batch in batches])
        for row in rows:
            unit = plan.unit(row)
            values = None if unit is None else _values(unit, plan, maps)
            if values is not None and float(values.max()) > 0:
                most = float(values.max())
                best[row] = Start(canvases[int(values.argmax())], most, most)
        return best

    def bars(self, rows: Sequence[int], plan: Plan) -> dict[int, Start]:
        """None: no inputs are known that the network was made for."""
        return {}


def revival_for(net: Network, own: Sequence[Any] = ()) -> Revival | RandomRevival:
    """What looks for starts for dead units, by the kind of input. own: pictures or datasets of the user's."""
    return Revival(net, own) if net.kind == "picture" else RandomRevival(net)


def _values(unit: Unit, plan: Plan, maps: torch.Tensor) -> torch.Tensor:
    """(N,) the unit's own values in (N,C,*grid) maps of its layer."""
    place = unit.place or plan.centres.get(unit.layer) or (0,) * (maps.ndim - 2)
    where: tuple[Any, ...] = (slice(None), unit.channel, *place)
    return maps[where]


def _random(net: Network, shape: tuple[int, ...]) -> torch.Tensor:
    """(n,*shape) random inputs of the same contrast."""
    noise = random(net, _RANDOM, shape, torch.Generator().manual_seed(0))
    smooth, middle = noise[_RANDOM // 2 :], rest(net, 1, shape)
    for dim in place_dims(net.kind):
        # The mean of three independent neighbours deviates less by the root of 3.
        smooth = middle + (sum(smooth.roll(i, dim) for i in range(3)) / 3 - middle) * 3**0.5
    smooth = smooth.clamp(0, 1) if in_unit_range(net.kind) else smooth
    return torch.cat([noise[: _RANDOM // 2], smooth])


def _views(net: Network, own: Sequence[Any]) -> torch.Tensor | None:
    """(N,C,H,W): the first pictures of each of the user's sources; each sample whole, its middle and its four corners at
    twice the size; None without pictures.
    """
    height, width = net.input_shape[1:]
    views = []
    for source in (*own, net.dataset):
        if source is not None:
            views += first_pictures(net, source, _OWN)
    for sample in (net.samples or sample_pictures(net.input_shape)).values():
        whole = net.picture(sample).float()
        large = F.interpolate(whole[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
        corners = [(0, 0), (0, width), (height, 0), (height, width), (height // 2, width // 2)]
        views += [whole, *(large[:, top : top + height, left : left + width] for top, left in corners)]
    return torch.stack(views) if views else None
