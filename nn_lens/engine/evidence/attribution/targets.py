"""What evidence is looked for: the answer of a class or of a neuron, or how much more of it there is than of another, as a
function of one input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from nn_lens.engine.network.answers import mask_of
from nn_lens.engine.network.labels import this_and_that
from nn_lens.engine.network.network import Network
from nn_lens.errors import LensError, UnknownUnit, a_type
from nn_lens.units import Unit

NO_GRADIENT = (
    "no gradient comes through from the answer to the input: the model, or a part of it, runs under torch.no_grad() or "
    "torch.inference_mode(), detaches what it read, or is quantized. occlusion and nl.ablate need no gradient"
)


@dataclass(frozen=True)
class Target:
    """What a network answers with: the sum of `channel` of `layer` over the places of `mask`; of the classes, layer "".

    `mask`: boolean, of the shape of a map; one place of a neuron, of dense answers the places where a class won in the
    input as it is, so that what is summed stays the same while the input is changed. `text` is what people call it.
    `instead`: of the same layer, what is taken off, where it is asked for "this rather than that".
    """

    layer: str
    channel: int
    mask: torch.Tensor
    text: str
    instead: Target | None = None

    def of(self, maps: torch.Tensor) -> torch.Tensor:
        """(N,C,*grid) maps of the layer -> (N,)."""
        own = maps[:, self.channel][:, self.mask.to(maps.device)].sum(1)
        return own if self.instead is None else own - self.instead.of(maps)

    def rather_than(self, other: Target) -> Target:
        """How much more of this there is than of the other.

        Raises:
            LensError: they are the same.
        """
        if other.channel == self.channel and torch.equal(other.mask, self.mask):
            raise LensError(f"{self.text} rather than itself is always 0; pass two targets that differ.")
        return replace(self, text=f"{self.text} rather than {other.text}", instead=other)


@dataclass(frozen=True)
class Subject:
    """What is to be explained: the `value` that `net` answers at `target` to `picture`, a batch of one input."""

    net: Network
    picture: torch.Tensor
    target: Target
    value: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the input, without the batch: (C,H,W) of a picture."""
        return tuple(self.picture.shape[1:])

    def to(self, net: Network) -> Subject:
        """The same target and picture of another network of the same layers."""
        with net.evaluation(), torch.no_grad():
            value = float(TargetOutput(net, self.target)(self.picture))
        return replace(self, net=net, value=value)


class TargetOutput(nn.Module):
    """(N,*input_shape) inputs -> (N,) answers at a target, on their device; differentiable, normalization included.

    Raises, where a gradient is asked for and none comes through, a LensError.
    """

    def __init__(self, net: Network, target: Target) -> None:
        super().__init__()
        self.net, self.target = net, target
        self.model = net.model  # where Captum looks for the modules that it hooks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,*input_shape) -> (N,)."""
        # A copy, since a model may write on what it reads.
        maps = self.net.outputs(x.clone(), [self.target.layer])[self.target.layer]
        answer = self.target.of(maps).float().to(x.device)
        if torch.is_grad_enabled() and x.requires_grad and not answer.requires_grad:
            raise LensError(f"{self.net.name} at {self.target.text}: {NO_GRADIENT}.")
        return answer


@torch.inference_mode(False)  # whoever calls: what is made here is read with gradients
def subject_of(net: Network, picture: Any, target: Any, at: Any = None) -> Subject:
    """A picture, and what a network answers to it at `target`: a class index, a label, a unit or its text, or a pair of
    these: this rather than that.

    at: of a class of a dense answer, a place or a boolean mask; None: the places where the class wins. The second of a
    pair is looked for where the first is.

    Raises:
        LensError: no such class or label, one that wins nowhere, or an answer that is not finite. UnknownLayer,
        UnknownUnit: no such unit. PictureError: no picture.
    """
    x = net.picture(picture)[None].clone()
    this, that = this_and_that(target)
    unit = _unit(net, this)
    other = None if that is None else _other(net, unit, that)
    if unit is not None and at is not None:
        raise LensError(f'at= says where a class is looked for; of a unit write "{unit.layer}:{unit.channel}@place".')
    layer = unit.layer if unit else ""
    with net.evaluation(), torch.no_grad():
        maps = net.outputs(x.clone(), [layer])[layer].detach().cpu()
    meant = _class(net, _class_index(net, this), maps, at) if unit is None else _neuron(unit, maps[0, unit.channel])
    if other is not None:
        meant = meant.rather_than(_beside(net, meant, other))
    value = float(meant.of(maps.float()))
    if not math.isfinite(value):
        raise LensError(
            f"{net.name} answers {value} at {meant.text}, of which there is no evidence; look at its weights."
        )
    return Subject(net, x, meant, value)


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


def _other(net: Network, unit: Unit | None, that: Any) -> Unit | int:
    """The second of a pair of targets, of which the first is `unit` or a class."""
    other = _unit(net, that)
    if unit is None and other is None:
        return _class_index(net, that)
    if unit is None or other is None or unit.layer != other.layer:
        raise LensError(
            "A pair of targets is two classes or two units of one layer, whose answers can be compared; got "
            f"{'a class' if unit is None else unit} and {'a class' if other is None else other}."
        )
    return other


def _beside(net: Network, first: Target, other: Unit | int) -> Target:
    """The second of a pair: where the first is looked for, unless it is a unit with a place of its own."""
    if not isinstance(other, Unit):
        return replace(first, channel=other, text=net.label(other))
    if other.place is None:
        return replace(first, channel=other.channel, text=str(other))
    mask = torch.zeros_like(first.mask)
    mask[other.place] = True
    return replace(first, channel=other.channel, mask=mask, text=str(other))


def _class_index(net: Network, target: Any) -> int:
    if not isinstance(target, str) and not hasattr(target, "__index__"):
        raise LensError(f'A target is a class index, a label, or a unit like "features.3:12"; got {a_type(target)}.')
    return net.class_index(target)


def _class(net: Network, index: int, maps: torch.Tensor, at: Any) -> Target:
    """A class; of (1,C,*grid) dense answers its sum over places."""
    grid, name = tuple(maps.shape[2:]), net.label(index)
    if at is not None:
        mask = mask_of(grid, at)
        places = [tuple(int(i) for i in place) for place in mask.nonzero()]
        where = ",".join(map(str, places[0])) if len(places) == 1 else f"{len(places)} places"
        return Target("", index, mask, f"{name} at {where}")
    if grid == (1, 1):
        return Target("", index, torch.ones(grid, dtype=torch.bool), name)
    winners = maps[0].argmax(0)
    mask = winners == index
    if not mask.any():
        counts = torch.bincount(winners.flatten(), minlength=len(maps[0]))
        most = ", ".join(
            f"{net.label(int(i))} at {int(counts[i])}" for i in counts.argsort(descending=True)[:3] if counts[i]
        )
        example = tuple(n // 2 for n in grid)
        raise LensError(
            f"{name} wins at no place of this {net.kind} ({most} of {mask.numel()} places), so there is nothing that it "
            f"answers; say where it is looked for: at={example}, or at= a boolean mask of {'x'.join(map(str, grid))}."
        )
    return Target("", index, mask, f"{name} where it wins ({int(mask.sum())} of {mask.numel()} places)")


def _neuron(unit: Unit, map_: torch.Tensor) -> Target:
    """The neuron that a unit is; of a channel, the strongest."""
    mask = torch.zeros(map_.shape, dtype=torch.bool)
    if unit.place is not None or map_.numel() == 1:
        mask[unit.place or (0,) * map_.ndim] = True
        return Target(unit.layer, unit.channel, mask, str(unit))
    flat = map_.float().nan_to_num(-torch.inf).argmax()
    place = tuple(int(i) for i in torch.unravel_index(flat, map_.shape))
    mask[place] = True
    return Target(unit.layer, unit.channel, mask, f"{Unit(unit.layer, unit.channel, *place)} (its strongest place)")
