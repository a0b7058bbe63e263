"""Bringing a unit to life that no gradient reaches: starting from the real picture that drives it most."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from nn_lens.engine.maximizing.plan import Plan
from nn_lens.engine.network.network import Network, receptive_field
from nn_lens.engine.pictures.samples import sample_pictures
from nn_lens.units import Unit

_PLACES = 3  # a picture's strongest places that are tried as a start


class Revival:
    """Starts for the dead units of a plan, looked for in views of real pictures, whole and enlarged.

    The pictures are the network's samples, or those that installed packages ship.
    """

    def __init__(self, net: Network, plan: Plan) -> None:
        self.net, self.plan = net, plan
        self._views: torch.Tensor | None = None

    @property
    def tried(self) -> int:
        """How many views were looked at so far."""
        return 0 if self._views is None else len(self._views)

    def starts(self, rows: Sequence[int]) -> dict[int, torch.Tensor]:
        """By row, the (C,H,W) canvas cut from a real picture that drives the row's unit most; only where above 0."""
        if self._views is None:
            self._views = _views(self.net)
        layer = self.plan.layer
        if self._views is None or layer is None:
            return {}
        with self.net.evaluation(), torch.no_grad():
            batches = self._views.split(self.net.batch_size())
            maps = torch.cat([self.net.outputs(views, [layer])[layer] for views in batches])
            units = {row: unit for row in rows if (unit := self.plan.unit(row)) is not None}
            canvases = {row: self._best(unit, self._views, maps) for row, unit in units.items()}
        return {row: canvas for row, canvas in canvases.items() if canvas is not None}

    def _best(self, unit: Unit, views: torch.Tensor, maps: torch.Tensor) -> torch.Tensor | None:
        own, field = maps[:, unit.channel], receptive_field(self.net, unit.layer)
        values, where = own.flatten().topk(min(_PLACES, own.numel()))
        canvases = []
        for value, index in zip(values.tolist(), where.tolist(), strict=True):
            if value > 0:
                view, place = divmod(index, own[0].numel())
                canvases.append(field.cut(views[view], divmod(place, own.shape[2]), self.plan.shape))
        if not canvases:
            return None
        stack = torch.stack(canvases)
        row, column = unit.place or self.plan.centres[unit.layer]
        scores = self.net.outputs(stack, [unit.layer])[unit.layer][:, unit.channel, row, column]
        best = int(scores.argmax())
        return stack[best] if float(scores[best]) > 0 else None


def _views(net: Network) -> torch.Tensor | None:
    """(N,C,H,W): each real picture whole, its middle and its four corners at twice the size; None without pictures."""
    if len(net.input_shape) != 3:
        return None
    height, width = net.input_shape[1:]
    views = []
    for source in (net.samples or sample_pictures(net.input_shape)).values():
        whole = net.picture(source).float()
        large = F.interpolate(whole[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
        corners = [(0, 0), (0, width), (height, 0), (height, width), (height // 2, width // 2)]
        views += [whole, *(large[:, top : top + height, left : left + width] for top, left in corners)]
    return torch.stack(views) if views else None
