"""What a unit would look for if its network were linear: the instant first look at it.

Rectifiers become the identity and max pooling the mean; what is left of the network is linear, and one gradient
is the sum of the filters on every path to the unit. For units of a first layer nothing is left out, and the
maximizers below are exact.

Reference: Erhan, Bengio, Courville and Vincent, 2009, section "linear combination of previous layers' filters",
after Lee, Ekanadham and Ng, 2008.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

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
from nn_lens.engine.pictures.images import rgb
from nn_lens.engine.pictures.results import Result, tile_figure
from nn_lens.errors import LensError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BOUNDS = ("ball", "box")


@dataclass(frozen=True, repr=False)
class LinearMaximizers(Result):
    """Maximizers of the linearized network.

    `images` (N,C,H,W) in [0,1]; `activations` (N,) of the true network on them; `weights` (N,C,H,W) signed, the
    linear network's own, in activation per pixel value; `exact` (N,) whether the true network is linear here,
    so that nothing within the bound drives the unit further.
    """

    goals: tuple[str, ...]
    images: np.ndarray
    activations: np.ndarray
    weights: np.ndarray
    exact: np.ndarray
    bound: str

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        how = "exact" if self.exact.all() else "linearized"
        return f"Linear maximizers ({how}, {self.bound}) of {', '.join(self.goals[:3])}{'...' * (len(self.goals) > 3)}"

    def figure(self) -> Figure:
        """A tile per unit."""
        titles = [f"{g}  {a:.3g}" for g, a in zip(self.goals, self.activations, strict=True)]
        return tile_figure(rgb(self.images), titles, side=2.0 if len(titles) < 6 else 1.2)


def linear_maximizers(
    net: Network, goal: Goal, *, bound: str = "ball", radius: float | None = None, size: Any = None
) -> LinearMaximizers:
    """The picture that drives a unit furthest if the network were linear; one backward pass, no optimization.

    Args:
        net: the network, of pictures.
        goal: as for `maximize`.
        bound: "ball", pictures no farther than `radius` from grey: the filter itself; "box", pixels in [0,1]:
            the filter's sign.
        radius: of the ball, root of the sum of squares over all pixels; None: a contrast of .2.
        size: as for `maximize`.

    Raises:
        LensError: another bound, a radius of 0 or less, or a goal that `maximize` refuses too.

    >>> found = nl.linear_maximizers(nl.demo(), "conv1:7")
    >>> found.images.shape, found.exact
    ((1, 3, 25, 25), array([ True]))
    """
    net = as_network(net)
    if bound not in _BOUNDS:
        raise LensError(f'bound is "ball" or "box", got {bound!r}.')
    if radius is not None and not radius > 0:
        raise LensError(f"radius is above 0, got {radius}.")
    if len(net.input_shape) != 3:
        raise LensError("linear_maximizers makes pictures; this network reads vectors.")
    return maximizers_of(net, read_goal(net, goal, size), bound, radius)


def maximizers_of(net: Network, plan: Plan, bound: str = "ball", radius: float | None = None) -> LinearMaximizers:
    """As `linear_maximizers`, of a goal that is read."""
    n = len(plan.names)
    objective = plan.objective(range(n))
    grey = torch.full((n, *plan.shape), 0.5)
    with net.evaluation(), torch.inference_mode(False), torch.enable_grad():
        x = grey.clone().requires_grad_()
        with Linearized() as seen:
            maps = net.outputs(x, objective.layers)
            scores = objective.value(Answers(maps, x, plan.centres, net.labels))
        gradient = torch.autograd.grad(scores.sum(), x, allow_unused=True)[0] if scores.requires_grad else None
    weights = torch.zeros_like(grey) if gradient is None else gradient.float().cpu()
    pictures = _within(weights, bound, radius)
    with net.evaluation(), torch.no_grad():
        reached = objective.value(Answers(net.outputs(pictures, objective.layers), pictures, plan.centres, net.labels))
    exact = np.full(n, seen.linear and plan.single is None and _affine(net, plan))
    return LinearMaximizers(plan.names, pictures.numpy(), as_numpy(reached), weights.numpy(), exact, bound)


def in_first_layer(net: Network, layer: str) -> bool:
    """Whether at most one layer with weights stands between the pictures and `layer`, its own included."""
    names = [x.name for x in net.layers]
    before = names[: names.index(net[layer].name) + 1]
    weighted = [n for n in before if any(p.ndim > 1 for p in net.module(n).parameters(recurse=False))]
    return len(weighted) <= 1


def _affine(net: Network, plan: Plan) -> bool:
    """Whether what is linearized is linear indeed: the middle of two pictures drives a unit as their mean does."""
    g = torch.Generator().manual_seed(0)
    a, b = (torch.rand(1, *plan.shape, generator=g) for _ in range(2))
    objective = plan.objective([0])
    x = torch.cat([a, b, (a + b) / 2])
    with net.evaluation(), torch.no_grad(), Linearized():
        maps = net.outputs(x, objective.layers)
        rows = [{name: m[i : i + 1] for name, m in maps.items()} for i in range(3)]
        first, second, middle = (objective.value(Answers(m, x[:1], plan.centres, net.labels)) for m in rows)
    return bool(torch.allclose(middle, (first + second) / 2, rtol=1e-3, atol=1e-4 * float(first.abs() + 1)))


def _within(weights: torch.Tensor, bound: str, radius: float | None) -> torch.Tensor:
    """(N,C,H,W) weights -> the picture within the bound that they answer to most."""
    if bound == "box":
        return 0.5 + weights.sign() / 2
    flat = weights.flatten(1)
    # Without a radius, the contrast is that of the part that the unit sees.
    length = CONTRAST * (flat != 0).sum(1).sqrt() if radius is None else radius
    scale = length / flat.norm(dim=1).clamp(min=1e-12)
    pictures: torch.Tensor = 0.5 + weights * scale.view(-1, 1, 1, 1)
    return pictures.clamp(0, 1)


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


_POOLS: dict[str, Callable[..., torch.Tensor]] = {
    "max_pool2d": mean_pool2d, "max_pool2d_with_indices": mean_pool2d,
    "adaptive_max_pool2d": adaptive_mean_pool2d, "adaptive_max_pool2d_with_indices": adaptive_mean_pool2d,
}  # fmt: skip
_MOVING = frozenset({"shape", "dropout", "cast"})  # after a last rectifier, they leave it the last to act
