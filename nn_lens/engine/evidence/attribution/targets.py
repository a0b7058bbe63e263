"""What evidence is looked for: the answer of a class or of a neuron, as a function of one picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from nn_lens.engine.network.network import Network
from nn_lens.errors import LensError, UnknownUnit
from nn_lens.units import Unit


@dataclass(frozen=True)
class Target:
    """One number that a network answers with: `channel` of `layer` at `place`; of the classes, layer "".

    `text` is what people call it.
    """

    layer: str
    channel: int
    place: tuple[int, int]
    text: str


@dataclass(frozen=True)
class Subject:
    """What is to be explained: the `value` that `net` answers at `target` to `picture`, (1,C,H,W) in [0,1] or (1,F)."""

    net: Network
    picture: torch.Tensor
    target: Target
    value: float

    @property
    def shape(self) -> tuple[int, ...]:
        """(C,H,W) or (F,)."""
        return tuple(self.picture.shape[1:])

    def to(self, net: Network) -> Subject:
        """The same target and picture of another network of the same layers."""
        with net.evaluation(), torch.no_grad():
            value = float(TargetOutput(net, self.target)(self.picture))
        return replace(self, net=net, value=value)


class TargetOutput(nn.Module):
    """(N,C,H,W) pictures in [0,1] -> (N,) outputs at a target, on their device; differentiable, normalization included."""

    def __init__(self, net: Network, target: Target) -> None:
        super().__init__()
        self.net, self.target = net, target
        self.model = net.model  # where Captum looks for the modules that it hooks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) -> (N,)."""
        t = self.target
        # A copy, since a model may write on what it reads.
        maps = self.net.outputs(x.clone(), [t.layer])[t.layer]
        return maps[:, t.channel, t.place[0], t.place[1]].float().to(x.device)


def subject_of(net: Network, picture: Any, target: Any) -> Subject:
    """A picture, and what a network answers to it at `target`: a class index, a label, a unit or its text.

    Raises:
        LensError: no such class or label. UnknownLayer, UnknownUnit: no such unit. PictureError: no picture.
    """
    x = net.picture(picture)[None].clone()
    unit = _unit(net, target)
    layer = unit.layer if unit else ""
    with net.evaluation(), torch.no_grad():
        maps = net.outputs(x.clone(), [layer])[layer]
    if unit is None:
        index = _class_index(net, target)
        meant = Target("", index, (0, 0), net.label(index))
    else:
        meant = _neuron(unit, maps[0, unit.channel])
    return Subject(net, x, meant, float(maps[0, meant.channel, meant.place[0], meant.place[1]]))


def _unit(net: Network, target: Any) -> Unit | None:
    """The unit that a target is, None if it is a class."""
    if isinstance(target, str):
        if target in (net.labels or ()):
            return None
        try:
            target = Unit.parse(target)
        except UnknownUnit:
            return None
    return net.unit(target) if isinstance(target, Unit) else None


def _class_index(net: Network, target: Any) -> int:
    if not isinstance(target, str) and not hasattr(target, "__index__"):
        raise LensError(
            f'A target is a class index, a label, or a unit like "features.3:12"; got a {type(target).__name__}.'
        )
    return net.class_index(target)


def _neuron(unit: Unit, map_: torch.Tensor) -> Target:
    """The neuron that a unit is; of a channel, the strongest."""
    if unit.place is not None:
        return Target(unit.layer, unit.channel, unit.place, str(unit))
    if map_.numel() == 1:
        return Target(unit.layer, unit.channel, (0, 0), str(unit))
    row, column = divmod(int(map_.float().nan_to_num(-torch.inf).argmax()), map_.shape[1])
    neuron = Unit(unit.layer, unit.channel, row, column)
    return Target(unit.layer, unit.channel, (row, column), f"{neuron} (its strongest place)")
