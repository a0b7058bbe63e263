"""Coarse to fine: a large canvas is begun on the part of it that a unit really sees, and grows while it climbs.

A unit's gradient lies in a small part of its receptive field (Luo, Li, Urtasun and Zemel, 2016, "Understanding the
effective receptive field"). Steps on a canvas of that part cost a fraction, and what they find is kept: the picture is
put on the next canvas where its neuron is, on grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from nn_lens.engine.maximizing.ascent import size_of
from nn_lens.engine.maximizing.batch import Settings
from nn_lens.engine.maximizing.gradients import Flowing
from nn_lens.engine.maximizing.graph import GraphFacts
from nn_lens.engine.maximizing.plan import Plan, read_goal
from nn_lens.engine.network.arrays import widest
from nn_lens.engine.network.inputs import places_of
from nn_lens.engine.network.network import Network, receptive_field
from nn_lens.errors import LensError

LARGE = 128  # pixels of a side from which on a canvas grows: below, a step costs little
_STEPS, _STEPS_LEAST = 96, 48  # until the pictures rest: on large canvases more are dear and add little
# Multiplications and additions of a forward pass; where it is four times as much, half as many steps are taken.
_WORK = 2e9
LOOK, _LOOK_SHARE = 8, 0.4  # the first steps, and the share of the side that their canvas has, whatever the unit sees
_SHARES = (
    (0.8, 1 / 3),
    (0.95, 1 / 3),
)  # of the gradient's energy that a canvas holds, and of the steps that are taken on it
_BEYOND = 1.1  # how much larger than that part a canvas is: pictures are shifted and turned
_WORTH = 0.9  # of the next side: a smaller canvas that is larger than that saves little
_PROBES = 2  # mixtures of channels whose gradients are looked at


@dataclass
class Known:
    """What all runs on units of a layer find out of the network, so that the next need not ask: the graph's `facts`, the
    `sides` of what units really see, and plans on smaller canvases by the side that was asked for, None where it takes none.
    """

    facts: GraphFacts
    sides: list[int] | None = None
    plans: dict[int, Plan | None] = field(default_factory=dict)

    def smaller(self, net: Network, plan: Plan, side: int) -> Plan | None:
        """A plan on a smaller canvas; None where the network does not take it."""
        if side not in self.plans:
            try:
                self.plans[side] = read_goal(net, plan.goals, [min(side, n) for n in plan.shape[1:]])  # type: ignore[arg-type]
            except LensError:
                self.plans[side] = None
        found = self.plans[side]
        return None if found is None else found.of(plan.goals)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Stage:
    """The canvas from step `first` on: its `settings`, and where its first pixel lies on the `whole` canvas."""

    first: int
    settings: Settings
    offset: tuple[int, ...]
    whole: tuple[int, ...]

    @cached_property
    def sides(self) -> tuple[int, ...]:
        """Height and width of its canvas."""
        return places_of(self.settings.plan.kind, self.settings.plan.shape)

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the canvas."""
        return self.settings.plan.shape == self.whole

    def framed(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N,*canvas) on grey, as large as the whole canvas."""
        if self.is_whole:
            return pictures
        (top, left), (height, width) = self.offset, pictures.shape[2:]
        canvas = torch.full((len(pictures), *self.whole), 0.5, device=pictures.device)
        canvas[:, :, top : top + height, left : left + width] = pictures
        return canvas

    def moved_to(self, larger: Stage, pictures: torch.Tensor) -> torch.Tensor:
        """The free variables on a larger canvas that pictures of this one go on from, at its full contrast."""
        free = larger.settings.parametrization.free
        assert free is not None
        (top, left), (height, width) = larger.offset, larger.sides
        cut = self.framed(pictures)[:, :, top : top + height, left : left + width]
        variables = free(cut)
        return variables / size_of(variables).clamp(min=1e-12)


def usual_steps(work: float) -> int:
    """Steps until pictures on a large canvas rest, where a forward pass is so much work."""
    return int(min(_STEPS, max(_STEPS_LEAST, round(_STEPS * math.sqrt(_WORK / max(work, 1.0))))))


def first_stage(whole: Settings, steps: int, settings_of: Callable[[Plan], Settings], known: Known) -> Stage:
    """The canvas of the first steps: small, so that there is something to see at once.

    settings_of: makes the settings of a plan with a smaller canvas.
    """
    plan = whole.plan
    if steps > LOOK and grows(whole.net, plan) and whole.parametrization.free is not None:
        smaller = known.smaller(whole.net, plan, int(_LOOK_SHARE * min(plan.shape[1:])))
        if smaller is not None:
            return Stage(0, settings_of(smaller), _offset(whole.net, plan, smaller), plan.shape)
    return whole_stage(whole, 0)


def whole_stage(settings: Settings, first: int) -> Stage:
    """The whole canvas, from a step on."""
    shape = settings.plan.shape
    return Stage(first, settings, (0,) * len(shape[1:]), shape)


def later_stages(whole: Settings, steps: int, settings_of: Callable[[Plan], Settings], known: Known) -> list[Stage]:
    """The canvases after the first, small one; the last is whole."""
    plan, net = whole.plan, whole.net
    found: list[Stage] = []
    known.sides = known.sides or effective_sides(whole)
    taken, sides = LOOK, known.sides
    for (_, share), side, larger in zip(_SHARES, sides, [*sides[1:], min(plan.shape[1:])], strict=True):
        smaller = known.smaller(net, plan, side) if side <= _WORTH * min(larger, *plan.shape[1:]) else None
        spent = int(share * steps)
        if smaller is not None and 0 < spent < steps - taken:  # the whole canvas has at least one step
            found.append(Stage(taken, settings_of(smaller), _offset(net, plan, smaller), plan.shape))
            taken += spent
    return [*found, whole_stage(whole, taken)]


def grows(net: Network, plan: Plan) -> bool:
    """Whether a canvas is so large that it is worth to begin smaller; and can be, as one neuron is looked at."""
    return (
        net.kind == "picture"
        and plan.layer is not None
        and plan.layer in plan.centres
        and not any(getattr(goal, "place", None) for goal in plan.goals)
        and min(plan.shape[1:]) >= LARGE
    )


@torch.inference_mode(False)
def effective_sides(whole: Settings, shares: Sequence[float] = tuple(share for share, _ in _SHARES)) -> list[int]:
    """Sides of the squares around the neuron in the middle that hold these shares of its gradient's energy, and a margin.

    The energy is that of noise, over all channels: a few random mixtures of them have it in the mean.
    """
    net, plan, drawn_as = whole.net, whole.plan, whole.parametrization
    assert plan.layer is not None
    energy = torch.zeros(plan.shape[1:])
    where: tuple[Any, ...] = (slice(None), *plan.centres[plan.layer])
    g = torch.Generator().manual_seed(0)
    with net.evaluation(), torch.enable_grad():
        with torch.no_grad():
            picture = drawn_as.picture(drawn_as.start(plan.shape, [g]), plan.shape)
        x = picture.to(net.device).requires_grad_()
        with Flowing() if whole.flowing else nullcontext():
            own = net.outputs(x, [plan.layer])[plan.layer][0][where]
        for n in range(_PROBES):
            mixture = own @ (torch.randint(0, 2, (len(own),), generator=g).to(own) * 2 - 1)
            (gradient,) = torch.autograd.grad(mixture, x, retain_graph=n + 1 < _PROBES)
            energy += gradient[0].to(widest(gradient.device)).square().sum(0).float().cpu()
    height, width = energy.shape
    middle = _middle(net, plan, plan.layer)
    far = torch.maximum(*torch.meshgrid(
        (torch.arange(height) + 0.5 - middle[0]).abs(), (torch.arange(width) + 0.5 - middle[1]).abs(), indexing="ij",
    )).flatten()  # fmt: skip
    order = far.argsort()
    held = energy.flatten().double()[order].cumsum(0)
    if not 0 < float(held[-1]) < float("inf"):
        return [min(height, width) for _ in shares]
    return [2 * int(_BEYOND * far[order[int((held < share * held[-1]).sum())]] + 1) for share in shares]


def _middle(net: Network, plan: Plan, layer: str) -> list[float]:
    """Of the receptive field of the neuron that is looked at, on the canvas."""
    field, centre = receptive_field(net, layer), plan.centres[layer]
    if len(centre) != 2 or not all(field.stride):
        return [side / 2 for side in plan.shape[1:]]
    return [field.offset[i] + field.stride[i] * centre[i] + field.size[i] / 2 for i in (0, 1)]


def _offset(net: Network, plan: Plan, smaller: Plan) -> tuple[int, ...]:
    """Where a smaller canvas lies, so that its neuron sees what the neuron of the whole one does."""
    assert plan.layer is not None
    gaps = [
        round(a - b) for a, b in zip(_middle(net, plan, plan.layer), _middle(net, smaller, plan.layer), strict=True)
    ]
    room = [n - m for n, m in zip(plan.shape[1:], smaller.shape[1:], strict=True)]
    return tuple(min(max(gap, 0), most) for gap, most in zip(gaps, room, strict=True))
