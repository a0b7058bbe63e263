"""Grad-CAM: a layer's channels weighted by their mean gradient, on the layer's own grid and stretched over the input.

Any layer whose answer has places serves: maps of one to three dimensions, channels last, and tokens that lie on a grid,
without those that have no place, such as a class token. Reference: Selvaraju et al., 2017, "Grad-CAM"; without its last
ReLU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.graph import get_gradient_edge

from nn_lens.engine.evidence.attribution.found import Evidence, spread
from nn_lens.engine.evidence.attribution.targets import Subject, TargetOutput
from nn_lens.engine.network import capture
from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.inputs import places_of
from nn_lens.errors import LensError

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class _Seen(NamedTuple):
    """(C,*grid) maps of a layer, the gradient of the target by them, and how often the layer was called."""

    maps: torch.Tensor
    gradient: torch.Tensor
    calls: int


def grad_cam(subject: Subject, *, layer: str | None = None) -> Evidence:
    """A layer's channels weighted by their mean gradient. Selvaraju et al., 2017, "Grad-CAM"; without its last ReLU."""
    if subject.net.kind == "vector":
        raise LensError(
            "grad_cam weighs activation maps, and this network reads vectors, which have no places; valid are the "
            "methods that weigh the numbers themselves, such as integrated_gradients and occlusion."
        )
    names = [_given(subject, layer)] if layer is not None else layers_with_places(subject)
    if not names:
        raise LensError(
            f"grad_cam weighs activation maps, and no layer before {subject.target.text} has {_places_of(subject)}."
        )
    seen = _gradients(subject, names)
    if not any(name in seen for name in names):
        raise LensError(
            f"grad_cam found no way from layer {names[-1]!r} to {subject.target.text}; name an earlier layer=."
        )
    name = names[0] if layer is not None else _last(subject, [name for name in names if name in seen], seen)
    maps, gradient, calls = seen[name]
    if calls > 1:
        raise LensError(f"Layer {name!r} is called {calls} times, so it has no one map; name another layer=.")
    small = (gradient.flatten(1).mean(1).view(-1, *[1] * (maps.ndim - 1)) * maps).sum(0)
    kind, shape = subject.net.kind, subject.shape
    sides = places_of(kind, shape)
    large = F.interpolate(small[None, None].float(), sides, mode=_MODES[len(sides)], align_corners=False)[0, 0]
    return Evidence(as_numpy(small[None]), spread(kind, shape, as_numpy(large)), name)


def layers_with_places(subject: Subject) -> list[str]:
    """The layers before the target whose answers have places of the input, in order."""
    net, target = subject.net, subject.target.layer
    names = [layer.name for layer in net.layers]
    if target:
        names = [name for name in names[: names.index(target)] if not name.startswith(f"{target}.")]
    return [name for name in names if _has_places(subject, name)]


def _has_places(subject: Subject, name: str) -> bool:
    layer, sides = subject.net[name], places_of(subject.net.kind, subject.shape)
    return layer.reason is None and len(layer.layout.grid) == len(sides) and math.prod(layer.layout.grid) > 1


def _places_of(subject: Subject) -> str:
    return "rows and columns" if subject.net.kind == "picture" else "places"


def _given(subject: Subject, layer: str) -> str:
    """The layer that was asked for, if it has maps."""
    found = subject.net[layer]
    found.require_shown()
    if not _has_places(subject, found.name):
        near = ", ".join(layers_with_places(subject)[-3:]) or "none before the target"
        raise LensError(
            f"grad_cam weighs activation maps with {_places_of(subject)}; layer {found.name!r} answers with "
            f"{found.output_shape}. Layers that do: {near}."
        )
    return found.name


def _gradients(subject: Subject, names: Sequence[str]) -> dict[str, _Seen]:
    """Of the layers that the target depends on, what they answer and the gradient of the target by it."""
    net = subject.net
    maps: dict[str, torch.Tensor] = {}
    edges: dict[str, Any] = {}

    def keep(name: str, output: torch.Tensor) -> torch.Tensor:
        # The model may write on its own answers later: a copy of the numbers, and the edge, stay.
        maps[name] = net[name].layout.maps(output.detach().clone())[0]
        if output.requires_grad:
            edges[name] = get_gradient_edge(output)
        elif torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
            leaf = output.detach().clone().requires_grad_()  # behind a part that lets no gradient through
            edges[name] = get_gradient_edge(leaf)
            return leaf.clone()
        return output

    with capture.replace_outputs(net.runner, {name: partial(keep, name) for name in names}) as calls:
        answer = TargetOutput(net, subject.target)(subject.picture.clone().requires_grad_())
    gradients = torch.autograd.grad(answer[0], list(edges.values()), allow_unused=True) if edges else ()
    seen = {}
    for name, gradient in zip(edges, gradients, strict=True):
        if gradient is not None:
            seen[name] = _Seen(maps[name], net[name].layout.maps(gradient)[0], calls[name])
    return seen


def _last(subject: Subject, names: list[str], seen: dict[str, _Seen]) -> str:
    """The last layer whose places have a gradient.

    Behind the last attention of a transformer that reads its class token, no place has one. What a projection inside
    attention gives are queries, keys and values, and what has a channel for each class of a dense answer are the
    scores themselves: these are taken only where there is nothing else.
    """
    net, is_class = subject.net, not subject.target.layer
    dense = is_class and subject.target.mask.numel() > 1

    def moved(name: str) -> int:
        gradient = seen[name].gradient
        return int((gradient.flatten(1) != 0).any(0).sum())

    def good(name: str) -> bool:
        layout = net[name].layout
        if dense and net.output_shape is not None and layout.channels == net.output_shape[1]:
            return False
        if layout.kind != "tokens":
            return moved(name) > 0
        # One step alone, the last of a recurrent layer, has no map.
        return moved(name) > 1 and not isinstance(net.module(name), nn.Linear)

    for fits in (good, lambda name: moved(name) > 0):
        fitting = [name for name in names if fits(name)]
        if fitting:
            return fitting[-1]
    return names[-1]
