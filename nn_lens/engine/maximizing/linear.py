"""What a unit would look for if its network were linear: the instant first look at it.

Rectifiers become the identity and max pooling the mean; what is left of the network is linear, and one gradient
is the sum of the filters on every path to the unit. For units of a first layer nothing is left out, and the
maximizers below are exact.

Reference: Erhan, Bengio, Courville and Vincent, 2009, section "linear combination of previous layers' filters",
after Lee, Ekanadham and Ng, 2008.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from nn_lens.engine.maximizing.figure import inputs_figure
from nn_lens.engine.maximizing.gradients import Flowing
from nn_lens.engine.maximizing.graph import graph_facts
from nn_lens.engine.maximizing.inputs import in_unit_range, mean_and_deviation, random, rest
from nn_lens.engine.maximizing.objective import Answers
from nn_lens.engine.maximizing.parametrizations import CONTRAST
from nn_lens.engine.maximizing.plan import Goal, Plan, read_goal
from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.functions import (
    NONLINEAR,
    adaptive_mean_pool2d,
    first_argument,
    kind_of,
    mean_pool2d,
    name_of,
    pooled_by_mean,
    tensors,
)
from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.results import Result
from nn_lens.errors import LensError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BOUNDS = ("ball", "box")


@dataclass(frozen=True, repr=False)
class LinearMaximizers(Result):
    """Maximizers of the linearized network.

    `images` (N,C,H,W) in [0,1], signals, sequences and volumes likewise (N,*canvas); `activations` (N,) of the true
    network on them; `weights` (N,*canvas) signed, the linear network's own, in activation per pixel value; `exact` (N,)
    whether the true network is linear here, so that nothing within the bound drives the unit further. `kind` of input.
    """

    goals: tuple[str, ...]
    images: np.ndarray
    activations: np.ndarray
    weights: np.ndarray
    exact: np.ndarray
    bound: str
    kind: str = "picture"

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        how = "exact" if self.exact.all() else "linearized"
        return f"Linear maximizers ({how}, {self.bound}) of {', '.join(self.goals[:3])}{'...' * (len(self.goals) > 3)}"

    def figure(self) -> Figure:
        """A tile or panel per unit."""
        titles = [f"{g}  {a:.3g}" for g, a in zip(self.goals, self.activations, strict=True)]
        return inputs_figure(self.kind, self.images, titles)


def linear_maximizers(
    net: Network, goal: Goal, *, bound: str = "ball", radius: float | None = None, size: Any = None
) -> LinearMaximizers:
    """The picture that drives a unit furthest if the network were linear; one backward pass, no optimization.

    Args:
        net: the network, of pictures, signals, volumes or sequences.
        goal: as for `maximize`.
        bound: "ball", pictures no farther than `radius` from grey: the filter itself; "box", pixels in [0,1]:
            the filter's sign. Signals and sequences are real numbers, with a ball around their mean and no box.
        radius: of the ball, root of the sum of squares over all pixels; None: a contrast of .2, of signals and
            sequences one deviation.
        size: as for `maximize`.

    It is linear around grey, or around a picture with contrast where a network has no gradient at grey, as one that
    brings each picture to the same contrast.

    Raises:
        LensError: another bound, a radius of 0 or less, a network of vectors, one whose layer has no gradient or no
            finite one, or a goal that `maximize` refuses too.

    >>> found = nl.linear_maximizers(nl.demo(), "conv1:7")
    >>> found.images.shape, found.exact
    ((1, 3, 25, 25), array([ True]))
    """
    net = as_network(net)
    if bound not in _BOUNDS:
        raise LensError(f'bound is "ball" or "box", got {bound!r}.')
    if radius is not None and not radius > 0:
        raise LensError(f"radius is above 0, got {radius}.")
    if net.kind == "vector":
        raise LensError(
            "linear_maximizers makes pictures, signals, volumes and sequences; this network reads vectors: nl.maximize "
            "takes those."
        )
    if bound == "box" and not in_unit_range(net.kind):
        raise LensError(f'A {net.kind} has no box, as its numbers have no ends; use bound="ball".')
    plan = read_goal(net, goal, size)
    facts = graph_facts(net, plan)
    if facts.cut is not None:
        raise LensError(
            f"No gradient comes through to {plan.names[0]}: the model runs it under torch.inference_mode or torch.no_grad, "
            "on detached or on quantized numbers."
        )
    found = maximizers_of(net, plan, bound, radius, facts.flowing)
    if not np.isfinite(found.weights).all():
        raise LensError(f"{plan.names[0]} has no finite gradient; do the network's weights hold NaN?")
    return found


def maximizers_of(
    net: Network, plan: Plan, bound: str = "ball", radius: float | None = None, flowing: bool = False
) -> LinearMaximizers:
    """As `linear_maximizers`, of a goal that is read. flowing: whether the gradient is let through where the model cuts it."""
    n = len(plan.names)
    weights, linear = _gradient(net, plan, rest(net, n, plan.shape), flowing)
    if not torch.isfinite(weights).all():
        contrasting = random(net, 1, plan.shape, _seeded()).expand(n, *plan.shape)
        weights, linear = _gradient(net, plan, contrasting, flowing)
    pictures = _within(net, weights, bound, radius)
    objective = plan.objective(range(n))
    with net.evaluation(), torch.no_grad():
        reached = objective.value(_answers(net, plan, net.outputs(pictures, objective.layers), pictures))
    exact = np.full(n, linear and plan.single is None and _affine(net, plan))
    return LinearMaximizers(
        plan.names, pictures.numpy(), as_numpy(reached), weights.numpy(), exact, bound, net.kind
    )  # fmt: skip


def _gradient(net: Network, plan: Plan, at: torch.Tensor, flowing: bool) -> tuple[torch.Tensor, bool]:
    """(N,*canvas) gradient of the linearized network, and whether it was linear before."""
    objective = plan.objective(range(len(at)))
    with net.evaluation(), torch.inference_mode(False), torch.enable_grad():
        x = at.clone().requires_grad_()
        with Linearized() as seen, Flowing() if flowing else nullcontext():
            scores = objective.value(_answers(net, plan, net.outputs(x, objective.layers), x))
        gradient = torch.autograd.grad(scores.sum(), x, allow_unused=True)[0] if scores.requires_grad else None
    return torch.zeros_like(at) if gradient is None else gradient.float().cpu(), seen.linear


def _answers(net: Network, plan: Plan, maps: Mapping[str, torch.Tensor], pictures: torch.Tensor) -> Answers:
    return Answers(maps, pictures, plan.centres, net.labels, net.kind, net.output_kind)


def in_first_layer(net: Network, layer: str) -> bool:
    """Whether at most one layer with weights stands between the pictures and `layer`, its own included."""
    names = [x.name for x in net.layers]
    before = names[: names.index(net[layer].name) + 1]
    weighted = [n for n in before if any(p.ndim > 1 for p in net.module(n).parameters(recurse=False))]
    return len(weighted) <= 1


def _affine(net: Network, plan: Plan) -> bool:
    """Whether what is linearized is linear indeed: the middle of two pictures drives a unit as their mean does."""
    g = _seeded()
    a, b = (torch.rand(1, *plan.shape, generator=g) for _ in range(2))
    objective = plan.objective([0])
    x = torch.cat([a, b, (a + b) / 2])
    with net.evaluation(), torch.no_grad(), Linearized():
        maps = net.outputs(x, objective.layers)
        rows = [{name: m[i : i + 1] for name, m in maps.items()} for i in range(3)]
        first, second, middle = (objective.value(_answers(net, plan, m, x[:1])) for m in rows)
    if not bool(torch.isfinite(first + second + middle)):
        return False
    return bool(torch.allclose(middle, (first + second) / 2, rtol=1e-3, atol=1e-4 * float(first.abs() + 1)))


def _within(net: Network, weights: torch.Tensor, bound: str, radius: float | None) -> torch.Tensor:
    """(N,*canvas) weights -> the input within the bound that they answer to most."""
    if bound == "box":
        return 0.5 + weights.sign() / 2
    flat, unit = weights.flatten(1), in_unit_range(net.kind)
    # Without a radius, the contrast is that of the part that the unit sees.
    contrast = CONTRAST if unit else float(mean_and_deviation(net)[1].mean())
    length = contrast * (flat != 0).sum(1).sqrt() if radius is None else radius
    scale = length / flat.norm(dim=1).clamp(min=1e-12)
    away = weights * scale.view(-1, *[1] * (weights.ndim - 1))
    around: torch.Tensor = (0.5 + away).clamp(0, 1) if unit else rest(net, len(away), away.shape[1:]) + away
    return around


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Linearized(TorchFunctionMode):
    """Runs a network with its rectifiers as identities and its max pooling as the mean.

    `linear`: whether nothing had to be replaced but a rectifier that is the last to act, which only cuts what a
    maximizer does not reach.
    """

    def __init__(self) -> None:
        super().__init__()
        self._replaced = 0
        self._since = 0

    @property
    def linear(self) -> bool:
        """Whether the network up to here is linear, but for a last rectifier."""
        return self._replaced == 0 or (self._replaced == 1 and self._since == 0)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = name_of(func), kwargs or {}
        kind = kind_of(name)
        if kind in NONLINEAR:
            self._replaced += 1
            return first_argument(args, kwargs)
        if name in _POOLS:
            self._replaced += 2
            return pooled_by_mean(func, _POOLS[name], args, kwargs)
        answer = func(*args, **kwargs)
        if self._replaced and kind not in _MOVING and any(t.requires_grad for t in tensors(answer)):
            self._since += 1
        return answer


def _mean_pool(n: int) -> Callable[..., torch.Tensor]:
    """The mean over the windows of `max_pool1d` or `max_pool3d`."""
    mean, convolve = (F.avg_pool1d, F.conv1d) if n == 1 else (F.avg_pool3d, F.conv3d)

    def pool(
        x: torch.Tensor, size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
        **_indices: Any,
    ) -> torch.Tensor:  # fmt: skip
        if dilation in (1, (1,) * n, [1] * n):
            return mean(x, size, stride or size, padding, ceil_mode)
        sides = (size,) * n if isinstance(size, int) else tuple(size)
        even = torch.full((1, 1, *sides), 1 / math.prod(sides), dtype=x.dtype, device=x.device)
        planes = x.reshape(-1, 1, *x.shape[-n:])
        pooled = convolve(planes, even, None, stride or sides, padding, dilation)
        return pooled.view(*x.shape[:-n], *pooled.shape[-n:])

    return pool


def _adaptive(n: int) -> Callable[..., torch.Tensor]:
    mean = F.adaptive_avg_pool1d if n == 1 else F.adaptive_avg_pool3d
    return lambda x, size, *_indices, **_more: mean(x, size)


_POOLS: dict[str, Callable[..., torch.Tensor]] = {
    "max_pool2d": mean_pool2d, "max_pool2d_with_indices": mean_pool2d,
    "adaptive_max_pool2d": adaptive_mean_pool2d, "adaptive_max_pool2d_with_indices": adaptive_mean_pool2d,
    **{f"max_pool{n}d{w}": _mean_pool(n) for n in (1, 3) for w in ("", "_with_indices")},
    **{f"adaptive_max_pool{n}d{w}": _adaptive(n) for n in (1, 3) for w in ("", "_with_indices")},
}  # fmt: skip
_MOVING = frozenset({"shape", "dropout", "cast"})  # after a last rectifier, they leave it the last to act
