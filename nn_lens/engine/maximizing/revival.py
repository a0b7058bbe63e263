"""Bringing a unit to life that no gradient reaches: starting from the real picture that drives it most."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F

from nn_lens.engine.maximizing.plan import Wanted
from nn_lens.engine.network.network import Network, receptive_field
from nn_lens.engine.pictures.samples import sample_pictures
from nn_lens.units import Unit

_PLACES = 3  # a picture's strongest places that are tried as a start
_BATCH = 8


class Revival:
    """Starts for the dead units of a plan, looked for in views of real pictures, whole and enlarged.

    The pictures are the network's samples, or those that installed packages ship. `tried`: how many views
    were looked at so far.
    """

    def __init__(self, net: Network, plan: Wanted) -> None:
        self.net, self.plan = net, plan
        self.tried = 0

    @cached_property
    def views(self) -> torch.Tensor | None:
        """(N,C,H,W)"""
        sources = list((self.net.samples or sample_pictures(self.net.input_shape)).values())
        return torch.stack(_views(self.net, sources)) if sources and len(self.net.input_shape) == 3 else None

    def starts(self, rows: Sequence[int]) -> dict[int, torch.Tensor]:
        """By row, the (C,H,W) canvas cut from a real picture that drives the row's unit most; only where above 0."""
        if self.views is None:
            return {}
        plan, self.tried = self.plan, len(self.views)
        layer = plan.goals[0].layer  # type: ignore[union-attr]
        with self.net.evaluation(), torch.no_grad():
            maps = torch.cat([self.net.outputs(v, [layer])[layer] for v in self.views.split(_BATCH)])
            found = {row: self._best(row, layer, maps) for row in rows}
        return {row: canvas for row, canvas in found.items() if canvas is not None}

    def _best(self, row: int, layer: str, maps: torch.Tensor) -> torch.Tensor | None:
        plan, unit = self.plan, self.plan.goals[row]
        assert isinstance(unit, Unit)
        assert self.views is not None
        own = maps[:, unit.channel]
        values, where = own.flatten().topk(min(_PLACES, own.numel()))
        field, canvases = receptive_field(self.net, layer), []
        for value, index in zip(values.tolist(), where.tolist(), strict=True):
            if value > 0:
                view, place = divmod(index, own[0].numel())
                canvases.append(field.cut(self.views[view], divmod(place, own.shape[2]), plan.shape))
        if not canvases:
            return None
        stack = torch.stack(canvases)
        row_, column = unit.place or plan.centres[layer]
        scores = self.net.outputs(stack, [layer])[layer][:, unit.channel, row_, column]
        best = int(scores.argmax())
        return stack[best] if float(scores[best]) > 0 else None


def _views(net: Network, sources: Sequence[Any]) -> list[torch.Tensor]:
    """Each picture whole, its middle and its four corners at twice the size."""
    height, width = net.input_shape[1:]
    found = []
    for source in sources:
        whole = net.picture(source).float()
        large = F.interpolate(whole[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
        corners = [(0, 0), (0, width), (height, 0), (height, width), (height // 2, width // 2)]
        found += [whole, *(large[:, top : top + height, left : left + width] for top, left in corners)]
    return found
