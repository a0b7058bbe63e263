"""Incoming connections: which units of the layer before feed a unit, with sign and strength.

Reference: Olah et al., 2020, "Zoom in: an introduction to circuits", who read features off the weights between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nn_lens.engine.network.functions import WITHIN_CHANNELS
from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.images import BLUE, ORANGE
from nn_lens.engine.pictures.results import Result
from nn_lens.engine.reading.filters import filter_shape
from nn_lens.engine.reading.flow import Flow, Key, Step, flow_to
from nn_lens.errors import LensError
from nn_lens.units import Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Incoming(Result):
    """The units that feed a unit, strongest first: a sequence of (Unit, weight).

    A weight is the sum of the kernel between the two units: what the unit gains where the other answers 1 all over its
    kernel. A BatchNorm on the way is folded in. A kernel whose parts cancel, as that of an edge detector, has a small
    weight; `norms` tells it from a connection that is not there.

    `units`, `weights` (k,) float32; `norms` (k,) float32: root of the sum of the kernel's squares, BatchNorm folded in;
    `places`: where a linear layer reads a whole map, the (row, column) with the largest weight, else None, and the
    weight is the sum over places. `through`: the layer whose weights these are. `count`: how many units feed it in all.
    """

    unit: Unit
    units: tuple[Unit, ...]
    weights: np.ndarray
    norms: np.ndarray
    places: tuple[tuple[int, int] | None, ...]
    through: str
    count: int

    def __len__(self) -> int:
        return len(self.units)

    def __iter__(self) -> Iterator[tuple[Unit, float]]:
        return iter([self[i] for i in range(len(self))])

    def __getitem__(self, index: int) -> tuple[Unit, float]:
        return self.units[index], float(self.weights[index])

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        unit, weight = self[0]
        what = f"{len(self)} of {self.count} units that feed {self.unit} through {self.through}"
        return f"{what}, strongest {unit} ({weight:+.3g})"

    def figure(self) -> Figure:
        """A bar per unit, with its sign (blue negative, orange positive)."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 1.2 + 0.3 * len(self)), layout="constrained")
        axes = figure.add_subplot()
        y = np.arange(len(self))[::-1]
        axes.barh(y, self.weights, 0.7, color=[ORANGE if w > 0 else BLUE for w in self.weights])
        axes.axvline(0, color="0.3", linewidth=0.8)
        names = [
            str(u) + (f" (most at {p[0]},{p[1]})" if p else "") for u, p in zip(self.units, self.places, strict=True)
        ]
        axes.set_yticks(y, names, fontsize=8)
        axes.set_xlabel("weight, sum of the kernel")
        figure.suptitle(f"feeds {self.unit}\nthrough {self.through}", fontsize=9)
        return figure


def incoming(net: Network, unit: Unit | str, k: int = 9) -> Incoming:
    """The `k` units of the layer before that feed `unit` most, by the size of their weight, ties by channel.

    The weights are those of the convolution or linear layer whose answer reaches the unit's layer through nothing but
    BatchNorm, rectifiers, pooling, dropout, reshaping and concatenation. The layer before is the one that answers what
    those weights read; of a concatenation, the layers that are concatenated. A place of the unit is left out of
    account: a convolution has the same weights everywhere.

    Raises:
        LensError: the unit reads the picture itself, or is no weighted sum of other units' answers (attention, sums of
        layers); says what can be asked instead. UnknownUnit: the network does not have it.
    """
    net = as_network(net)
    unit = net.unit(unit)
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise LensError(f"k is a whole number of units, 1 or more, got {k!r}.")
    flow = flow_to(net, unit.layer)
    made = _weighted(net, flow, unit)
    sources = _located(net, flow, made.step.key_of(0, "input"), _features(flow, made), exact=False)
    if sources is None:
        raise _unfound(net, flow, unit, made)
    weights, energy, places = _by_unit(sources, *_kernels(made))
    order = sorted(weights, key=lambda u: -abs(weights[u]))[:k]
    return Incoming(
        unit, tuple(order), np.array([weights[u] for u in order], np.float32),
        np.sqrt([energy[u] for u in order]).astype(np.float32), tuple(places[u] for u in order),
        _through(flow, made), len(weights),
    )  # fmt: skip


@dataclass(frozen=True)
class _Made:
    """A unit is output `channel` of a weighted step, times `factor`; `key` is what the step answered."""

    step: Step
    key: Key
    channel: int
    factor: float


@dataclass(frozen=True)
class _Source:
    """Features of what a weighted step reads: each is a channel of a layer, at (row, column) or, -1, everywhere."""

    layer: str
    features: np.ndarray
    channels: np.ndarray
    places: np.ndarray


def _by_unit(
    sources: list[_Source], sums: np.ndarray, squares: np.ndarray
) -> tuple[dict[Unit, float], dict[Unit, float], dict[Unit, tuple[int, int] | None]]:
    """Weights and sums of squares of the units that the features are, and their place of the largest weight."""
    weights: dict[Unit, float] = {}
    energy: dict[Unit, float] = {}
    places: dict[Unit, tuple[int, int] | None] = {}
    for source in sources:
        channels, number = np.unique(source.channels, return_inverse=True)
        weight, square = (np.bincount(number, x[source.features]) for x in (sums, squares))
        order = np.lexsort((-np.abs(sums[source.features]), number))
        best = source.places[order[np.searchsorted(number[order], np.arange(len(channels)))]]
        for i, channel in enumerate(channels.tolist()):
            unit = Unit(source.layer, channel)
            weights[unit] = weights.get(unit, 0.0) + float(weight[i])
            energy[unit] = energy.get(unit, 0.0) + float(square[i])
            places[unit] = None if best[i, 0] < 0 else (int(best[i, 0]), int(best[i, 1]))
    return weights, energy, places


# ---- from the unit back to the weights ----


def _weighted(net: Network, flow: Flow, unit: Unit) -> _Made:
    """The weighted sum that the unit is.

    Raises:
        LensError: it is none.
    """
    key, factor = flow.output, 1.0
    labels = flow.labels(key)
    net[unit.layer].layout.maps(labels)[:, unit.channel] = 1
    while True:
        step = flow.steps.get(key)
        if step is None:
            if key == flow.start:
                raise LensError(f"{unit} is a part of the picture itself: no layer with weights feeds it.")
            raise _none(net, flow, unit, "it cannot be seen what makes it", [])
        if step.kind in ("weighted", "batch_norm"):
            axis = labels.ndim - 1 if step.name == "linear" else 1
            channels = labels.movedim(axis, 0).flatten(1).any(1).nonzero().flatten().tolist()
            if len(channels) != 1:
                raise _none(net, flow, unit, f"it mixes {len(channels)} outputs of {step.name}", [key])
            if step.kind == "weighted":
                if flow.depends(step.key_of(1, "weight")):
                    raise _none(net, flow, unit, f"the weights of {step.name} are made from the picture", [])
                return _Made(step, key, channels[0], factor)
            factor *= _normalizer(net, flow, unit, step, channels[0])
        parts = step.back(labels)
        parts = None if parts is None else [(k, part) for k, part in parts if part.any()]
        if parts is None or len(parts) != 1:
            why = f"it is made by {step.name}, which is no weighted sum of other units' answers"
            if step.name in _SUMS:
                why = f"it is a sum of several layers' answers ({step.name})"
            raise _none(net, flow, unit, why, list(step.read))
        key, labels = parts[0]


def _normalizer(net: Network, flow: Flow, unit: Unit, step: Step, channel: int) -> float:
    """What a channel is multiplied by, gamma / sqrt(var + eps), of a BatchNorm's channel."""
    variance, gamma = step.argument(2, "running_var"), step.argument(3, "weight")
    if variance is None or step.argument(5, "training", False):
        raise _none(net, flow, unit, "its BatchNorm has no running statistics, so its scale changes by the batch", [])
    scale = 1.0 if gamma is None else float(gamma[channel].detach())
    return scale / math.sqrt(float(variance[channel].detach()) + float(step.argument(7, "eps", 1e-5)))


# ---- the weights ----


def _kernels(made: _Made) -> tuple[np.ndarray, np.ndarray]:
    """(features,) sums and sums of squares of the kernels between what is read and the unit."""
    step, o = made.step, made.channel
    weight = step.argument(1, "weight").detach().double().cpu()
    if step.name.startswith("conv_transpose"):
        groups = int(step.argument(6, "groups", 1))
        of_group, inputs = weight.shape[1], weight.shape[0] // groups
        group, kernel = o // of_group, weight[:, o % of_group]
        kernel = kernel[group * inputs : (group + 1) * inputs]
    else:
        groups = 1 if step.name == "linear" else int(step.argument(6, "groups", 1))
        group, kernel, inputs = o // (len(weight) // groups), weight[o], weight.shape[1]
    kernel = kernel.flatten(1) if kernel.ndim > 1 else kernel[:, None]
    sums, squares = np.zeros(inputs * groups), np.zeros(inputs * groups)
    inside = slice(group * inputs, (group + 1) * inputs)
    sums[inside] = made.factor * kernel.sum(1).numpy()
    squares[inside] = made.factor**2 * (kernel**2).sum(1).numpy()
    return sums, squares


def _features(flow: Flow, made: _Made) -> torch.Tensor:
    """Labels of what the weighted step reads: 1 and up at the features of the unit's own group, 0 at others."""
    step = made.step
    labels = flow.labels(step.key_of(0, "input"))
    axis = labels.ndim - 1 if step.name == "linear" else 1
    features = labels.shape[axis]
    groups = 1
    if step.name != "linear":
        groups = int(step.argument(6, "groups", 1))
    outputs = flow.shapes[made.key][axis]
    group, inputs = made.channel // (outputs // groups), features // groups
    numbers = torch.arange(1, features + 1, dtype=torch.float64)
    numbers[: group * inputs] = 0
    numbers[(group + 1) * inputs :] = 0
    labels.movedim(axis, -1)[:] = numbers
    return labels


# ---- from the weights back to the layer before ----


def _located(net: Network, flow: Flow, key: Key, labels: torch.Tensor, exact: bool) -> list[_Source] | None:
    """The layers' channels that the labelled features are, None if they cannot be told.

    exact: the layers must answer the very features, else they may be rectified or pooled on the way.
    """
    step = flow.steps.get(key)
    names = [n for n in flow.layers.get(key, []) if net[n].reason is None]
    # A leaf says best what answers: the ReLU rather than the Sequential that ends with it.
    leaves = [n for n in names if not any(net.module(n).children())]
    found = None
    if step is not None and step.kind == "shape":
        found = _all_located(net, flow, step, labels, exact or bool(names))
    if found is None and names:
        found = _read((leaves or names)[-1], net, labels)
    if found is None and not exact and step is not None and step.kind in WITHIN_CHANNELS:
        found = _all_located(net, flow, step, labels, exact)
    return found


def _all_located(net: Network, flow: Flow, step: Step, labels: torch.Tensor, exact: bool) -> list[_Source] | None:
    sources: list[_Source] = []
    for key, part in step.back(labels) or []:
        if part.any():
            found = _located(net, flow, key, part, exact)
            if found is None:
                return None
            sources += found
    return sources or None


def _read(layer: str, net: Network, labels: torch.Tensor) -> list[_Source] | None:
    """Which channel, and where in it, each labelled feature is in a layer's output; None if one is in several."""
    layout = net[layer].layout
    maps = layout.maps(labels)[0].flatten(1).numpy()
    if layout.extra:  # tokens without a place, such as the class token, are read too
        maps = np.concatenate([maps, labels[0, : layout.extra].T.numpy()], 1)
    channels, places = np.nonzero(maps)
    features = maps[channels, places].astype(int)
    order = np.lexsort((channels, features))
    features, channels, places = features[order], channels[order], places[order]
    first = np.flatnonzero(np.diff(features, prepend=0))
    counts = np.diff(np.append(first, len(features)))
    one_channel = (np.repeat(channels[first], counts) == channels).all()
    wanted = labels.unique()
    if not one_channel or len(first) != int((wanted > 0).sum()):
        return None
    where = np.stack([places[first] // layout.grid[1], places[first] % layout.grid[1]], 1)
    where[(counts > 1) | (maps.shape[1] == 1) | (places[first] >= math.prod(layout.grid))] = -1
    return [_Source(layer, features[first] - 1, channels[first], where)]


# ---- saying what was not found ----


def _unfound(net: Network, flow: Flow, unit: Unit, made: _Made) -> LensError:
    through = _through(flow, made)
    key = made.step.key_of(0, "input")
    if not flow.mixed(key):
        what = "picture" if len(net.input_shape) == 3 else "input"
        instead = ""
        if through in {layer.name for layer in net.layers} and filter_shape(net, through) is not None:
            instead = f'; its weights are nl.filters(net, "{through}").weights[{made.channel}]'
        return LensError(f"{unit} reads the {what} itself through {through}, no other units{instead}.")
    step = flow.steps.get(key)
    source = "something that cannot be seen" if step is None else f"what {step.name} answers"
    why = f"{through}, whose weights it has, reads {source}, which no layer gives as its own answer"
    return _none(net, flow, unit, why, [] if step is None else list(step.read))


def _none(net: Network, flow: Flow, unit: Unit, why: str, keys: list[Key]) -> LensError:
    """That a unit has no incoming weights, why, and which layers can be asked."""
    names = [n for key in keys for n in flow.layers.get(key, [])[-1:] if net[n].reason is None and n != unit.layer]
    if not names:
        before = [layer.name for layer in net.layers]
        before = before[: before.index(unit.layer)]
        names = [n for n in before if any(p.ndim > 1 for p in net.module(n).parameters(recurse=False))][-1:]
    instead = f"; ask for a unit of {' or '.join(dict.fromkeys(names))}" if names else ""
    return LensError(f"No units can be said to feed {unit}: {why}{instead}.")


def _through(flow: Flow, made: _Made) -> str:
    names: list[Any] = flow.layers.get(made.key, [])
    return str(names[0]) if names else f"a {made.step.name} function"


_SUMS = frozenset("add add_ __add__ __iadd__ __radd__ sum sub sub_ __sub__".split())
