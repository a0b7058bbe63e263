"""How what a step read has part in what it answered: gains, carried back through one function call.

A gain is what a unit grows by where a number grows by 1: float64, in the shape of the tensor that holds the number.
The gains of a channel add up to what the unit gains where the whole channel grows by 1. Functions that act on the
numbers of one channel only, such as a rectifier or a pooling, pass the gains of a channel on as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from nn_lens.engine.network.functions import ELEMENTWISE
from nn_lens.engine.network.sound_gradients import SoundGradients
from nn_lens.engine.reading.flow import Flow, Key, Step

Gains = torch.Tensor
Parts = list[tuple[Key, Gains]]


@dataclass(frozen=True)
class Kernels:
    """Of a weighted step, for each number that it read: the gains, and the kernel's squares, that add up likewise.

    `reach`: above 0 where there is a weight at all, be it 0.
    """

    key: Key
    gains: Gains
    squares: torch.Tensor
    reach: torch.Tensor


def moved(step: Step) -> Callable[[Gains], Parts] | None:
    """Of a function that only moves numbers: where each came from. It is called again, on the numbers of the places."""
    starts: list[int] = []
    shapes: list[torch.Size] = []
    keys: list[Key] = []

    def numbered(index: int, tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point():
            return tensor.cpu()  # an index
        starts.append(starts[-1] + shapes[-1].numel() if starts else 1)  # 0 is what a padding adds
        shapes.append(tensor.shape)
        keys.append(step.read[index])
        return torch.arange(starts[-1], starts[-1] + tensor.numel(), dtype=torch.float64).view(tensor.shape)

    if step.name == "pad" and step.argument(3, "value"):
        step = Step(
            step.function, step.args[:3], {k: v for k, v in step.kwargs.items() if k != "value"}, step.read, None
        )
    answer = step.again(numbered)
    if not isinstance(answer, torch.Tensor) or answer.dtype != torch.float64 or not starts:
        return None
    where, total = answer.long().flatten(), starts[-1] + shapes[-1].numel()

    def back(gains: Gains) -> Parts:
        flat = torch.zeros(total, dtype=torch.float64).index_add_(0, where, gains.flatten())
        parts = flat[1:].split([shape.numel() for shape in shapes])
        return [(key, part.view(shape)) for key, part, shape in zip(keys, parts, shapes, strict=True)]

    return back


def within_channels(step: Step, gains: Gains) -> Parts | None:
    """Of a function that mixes no channels: an elementwise one, a pooling, a mean or a sum over dimensions."""
    first = step.tensors[0] if step.read else None
    if first is None:
        return None
    back: Gains | None = None
    if step.kind in ELEMENTWISE:
        back = gains if first.shape == gains.shape else None
    elif step.kind in ("pool", "resize"):
        back = _over_places(gains, first.shape)
    elif step.kind == "reduction":
        back = _reduced(step, gains, first.shape)
    return None if back is None else [(step.read[0], back)]


def _over_places(gains: Gains, shape: torch.Size) -> Gains | None:
    """(N,C,...) both: what a channel gains in all, evenly over its places."""
    if gains.ndim < 3 or gains.ndim != len(shape) or gains.shape[:2] != shape[:2]:
        return None
    return _evenly(gains.flatten(2).sum(2), shape, 1)


def _evenly(totals: torch.Tensor, shape: torch.Size, axis: int) -> Gains:
    """(N,C) totals, divided by the places of a tensor of `shape` with its channels at `axis`."""
    places = math.prod(shape) // (totals.numel() or 1)
    inner = [1] * len(shape)
    inner[0], inner[axis] = totals.shape
    return (totals / max(1, places)).view(inner).expand(shape).clone()


def _reduced(step: Step, gains: Gains, shape: torch.Size) -> Gains | None:
    dims = step.argument(1, "dim", step.kwargs.get("axis"))
    if dims is None or isinstance(dims, torch.dtype):
        return None
    dims = sorted(d % len(shape) for d in (dims if isinstance(dims, (tuple, list)) else (dims,)))
    if gains.ndim < len(shape):
        for dim in dims:
            gains = gains.unsqueeze(dim)
    if gains.ndim != len(shape):
        return None
    count = 1 if step.name == "sum" else math.prod(shape[d] for d in dims)
    return (gains / count).expand(shape)


# ---- sums and scales ----


def summands(step: Step) -> list[tuple[int, float]]:
    """Of a sum: the numbers of its tensors among those it read, and their signs."""
    alpha = float(step.argument(2, "alpha", 1))
    first, second = step.argument(0, "input"), step.argument(1, "other")
    minus = "sub" in step.name
    signs = [1.0, -alpha if minus else alpha]
    if step.name in ("rsub", "__rsub__"):
        signs = [-alpha, 1.0]
    tensors = [(sign, value) for sign, value in zip(signs, (first, second), strict=True) if torch.is_tensor(value)]
    return [(index, sign) for index, (sign, _) in enumerate(tensors)]


def factor(step: Step, flow: Flow) -> tuple[int, Any] | None:
    """Of a product: the number of the tensor that is made from the picture, and what it is multiplied by.

    None: it is multiplied by something that is made from the picture, too, unless that normalizes it; or it divides.
    """
    if step.name.startswith("neg"):
        return 0, -1.0
    pair = [step.argument(0, "input"), step.argument(1, "other")]
    keys = iter(step.read)
    of = [next(keys) if torch.is_tensor(value) else None for value in pair]
    depend = [key is not None and flow.depends(key) for key in of]
    divides = "div" in step.name
    if sum(depend) == 2:
        if normalizes(step, flow, divides):
            return 0, 1.0
        return None
    if sum(depend) != 1 or (divides and not depend[0]):
        return None
    mine = depend.index(True)
    other = pair[1 - mine]
    number = other.detach().double().cpu() if torch.is_tensor(other) else float(other)
    return (mine if of[0] is not None else 0), 1 / number if divides else number


def normalizes(step: Step, flow: Flow, divides: bool) -> bool:
    """Whether a product's second tensor is one over a size of the first, as of a normalization that is written out."""
    made = flow.steps.get(step.read[1])
    while made is not None and made.kind in ("sum", "shape", "rectifier") and made.read:
        made = flow.steps.get(made.read[0])
    return made is not None and made.name in (_SIZES if divides else _ONE_OVER_SIZES)


_SIZES = frozenset("sqrt sqrt_ std norm vector_norm linalg_norm linalg_vector_norm".split())
_ONE_OVER_SIZES = frozenset("rsqrt rsqrt_ __rdiv__ reciprocal".split())


def scaled(gains: Gains, by: Any, shape: torch.Size) -> Gains:
    """The gains of what was multiplied by a number, or by a tensor that it may have been broadcast with."""
    return torch.as_tensor((gains * by).sum_to_size(shape))


def gamma(step: Step) -> torch.Tensor | None:
    """What a normalization by the picture's own statistics multiplies each channel with, to be broadcast; None for 1."""
    place = {"layer_norm": 2, "rms_norm": 2, "group_norm": 2, "instance_norm": 3}.get(step.name)
    weight = None if place is None else step.argument(place, "weight")
    if weight is None:
        return None
    weight = weight.detach().double().cpu()
    if step.name in ("group_norm", "instance_norm"):
        weight = weight.view(-1, *[1] * (step.tensors[0].ndim - 2))
    return torch.as_tensor(weight)


def kept_scale(step: Step) -> torch.Tensor | None:
    """Gamma / sqrt(var + eps) of a normalization by statistics that it has kept, None if it takes the picture's own."""
    mean_of_own = step.argument(5, "use_input_stats" if step.name == "instance_norm" else "training", False)
    variance, weight = step.argument(2, "running_var"), step.argument(3, "weight")
    if variance is None or mean_of_own:
        return None
    variance = variance.detach().double().cpu()
    scale = (variance + float(step.argument(7, "eps", 1e-5))).rsqrt()
    scale = scale if weight is None else scale * weight.detach().double().cpu()
    return torch.as_tensor(scale.view(-1, *[1] * (step.tensors[0].ndim - 2)))


# ---- weights ----


def convolved(step: Step, gains: Gains, reach: torch.Tensor) -> Kernels:
    """Of a convolution, transposed or not: the kernels of the outputs that are reached, put together."""
    weight = step.argument(1, "weight").detach().double().cpu()
    shape = step.argument(0, "input").shape
    batch = len(shape) == weight.ndim
    totals, reached = ((t if batch else t[None]).flatten(2).sum(2) for t in (gains, reach))  # (N,O)
    groups = int(step.argument(6, "groups", 1))
    per_group = totals.shape[1] // groups
    if step.name.startswith("conv_transpose"):  # (I,O/groups,...), the inputs group by group
        weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    inputs = weight.shape[1]  # (O,I/groups,...)
    sums, squares, there = (torch.zeros(len(totals), inputs * groups, dtype=torch.float64) for _ in range(3))
    outputs = reached.any(0).nonzero().flatten()
    for group in (outputs // per_group).unique().tolist():
        own = outputs[outputs // per_group == group]
        kernel = torch.einsum("no,oik->nik", totals[:, own], weight[own].flatten(2))
        inside = slice(group * inputs, (group + 1) * inputs)
        sums[:, inside], squares[:, inside] = kernel.sum(2), (kernel**2).sum(2)
        there[:, inside] = reached[:, own].amax(1, keepdim=True)
    full = shape if batch else torch.Size((1, *shape))
    return Kernels(step.key_of(0, "input"), *(_evenly(t, full, 1).view(shape) for t in (sums, squares, there)))


def multiplied(step: Step, gains: Gains, reach: torch.Tensor) -> Kernels:
    """Of a linear layer: exactly, place by place."""
    back = gains @ step.argument(1, "weight").detach().double().cpu()
    return _kernels(step.key_of(0, "input"), back, reach.amax(-1, keepdim=True).expand(back.shape), -1)


def differentiated(step: Step, index: int, gains: Gains) -> Kernels:
    """Of any function that is linear in the tensor of that number, the others held as they were."""
    _, back = _answer_and_gains(step, index, gains, 0.0)
    second = step.name in ("matmul", "__matmul__", "mm", "bmm") and index == 1
    return _kernels(step.read[index], back, torch.ones_like(back), -2 if second and back.ndim > 1 else -1)


def averaged(step: Step, index: int, gains: Gains) -> Gains | None:
    """Of a function whose answer is a mean of rows of one tensor, as attention is of values; None if it is no mean."""
    try:
        answer, back = _answer_and_gains(step, index, gains, 1.0)
    except (RuntimeError, TypeError, ValueError):
        return None
    return back if bool(((answer - 1).abs() < _MEAN).all()) else None


_MEAN = 5e-3  # how far from 1 the pattern of an attention may add up: half precision has three digits


def _answer_and_gains(step: Step, index: int, gains: Gains, fill: float) -> tuple[torch.Tensor, Gains]:
    leaf = torch.full(step.tensors[index].shape, fill, dtype=torch.float64, requires_grad=True)

    def exact(i: int, tensor: torch.Tensor) -> torch.Tensor:
        tensor = leaf if i == index else tensor.detach().cpu()
        return tensor.double() if tensor.is_floating_point() else tensor

    with torch.inference_mode(False), torch.enable_grad(), SoundGradients():
        answer = step.again(exact)
        (back,) = torch.autograd.grad(answer, leaf, gains)
    return answer.detach(), back


def _kernels(key: Key, gains: Gains, reach: torch.Tensor, axis: int) -> Kernels:
    """The square of a channel's sum, shared out as the gains are."""
    if gains.ndim == 1:
        return Kernels(key, gains, gains**2, reach)
    along = [d for d in range(gains.ndim) if d != axis % gains.ndim]
    return Kernels(key, gains, (gains * gains.sum(along, keepdim=True)).abs(), reach)
