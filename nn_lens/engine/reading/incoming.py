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
    those weights read; of a concatenation, the layers that are concatenated. A place of the unit is ignored: a
    convolution has the same weights everywhere.

    Raises:
        LensError: the unit reads the picture itself, or is no weighted sum of other units' answers (attention, sums of
        layers); says what can be asked instead. UnknownUnit: the network does not have it.

    >>> feeds = nl.incoming(nl.demo(), "relu2:3", k=2)
    >>> [str(unit) for unit, _ in feeds], feeds.count, feeds.through
    (['relu1:26', 'relu1:29'], 48, 'conv2')
    """
    net = as_network(net)
    unit = net.unit(unit)
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise LensError(f"k is a whole number of units, 1 or more, got {k!r}.")
    flow = flow_to(net, unit.layer)
    total = _weighted_sum(net, flow, unit)
    origins = _origins(net, flow, total.step.key_of(0, "input"), _features(flow, total), exact=False)
    if origins is None:
        raise _no_origin(net, flow, unit, total)
    weights, squares, places = _by_unit(origins, *_kernels(total))
    order = sorted(weights, key=lambda u: -abs(weights[u]))[:k]
    return Incoming(
        unit, tuple(order), np.array([weights[u] for u in order], np.float32),
        np.sqrt([squares[u] for u in order]).astype(np.float32), tuple(places[u] for u in order),
        _through(flow, total), len(weights),
    )  # fmt: skip


@dataclass(frozen=True)
class _WeightedSum:
    """A unit is output `channel` of a weighted step, times `factor`; `key` is what the step answered."""

    step: Step
    key: Key
    channel: int
    factor: float


@dataclass(frozen=True)
class _Origin:
    """Features of what a weighted step reads: each is a channel of a layer, at (row, column) or, -1, everywhere."""

    layer: str
    features: np.ndarray
    channels: np.ndarray
    places: np.ndarray


def _by_unit(
    origins: list[_Origin], sums: np.ndarray, squares: np.ndarray
) -> tuple[dict[Unit, float], dict[Unit, float], dict[Unit, tuple[int, int] | None]]:
    """Weights and sums of squares of the units that the features are, and their place of the largest weight."""
    weights: dict[Unit, float] = {}
    energies: dict[Unit, float] = {}
    places: dict[Unit, tuple[int, int] | None] = {}
    for origin in origins:
        channels, number = np.unique(origin.channels, return_inverse=True)
        own = sums[origin.features]
        weight, energy = np.bincount(number, own), np.bincount(number, squares[origin.features])
        # The last key of lexsort counts first: channel by channel, and in each the largest weight first. So the
        # entry where a channel begins is its strongest feature.
        order = np.lexsort((-np.abs(own), number))
        begins = np.searchsorted(number[order], np.arange(len(channels)))
        best = origin.places[order[begins]]
        for i, channel in enumerate(channels.tolist()):
            unit = Unit(origin.layer, channel)
            weights[unit] = weights.get(unit, 0.0) + float(weight[i])
            energies[unit] = energies.get(unit, 0.0) + float(energy[i])
            places[unit] = None if best[i, 0] < 0 else (int(best[i, 0]), int(best[i, 1]))
    return weights, energies, places


# ---- from the unit back to the weights ----


def _weighted_sum(net: Network, flow: Flow, unit: Unit) -> _WeightedSum:
    """The weighted sum that the unit is, of what is read by the last step with weights before it.

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
            raise _no_weights(net, flow, unit, "it cannot be seen what makes it", [])
        if step.kind in ("weighted", "batch_norm"):
            channel = _channel(net, flow, unit, step, key, labels)
            if step.kind == "weighted":
                return _WeightedSum(step, key, channel, factor)
            factor *= _normalizer(net, flow, unit, step, channel)
        key, labels = _input(net, flow, unit, step, labels)


def _channel(net: Network, flow: Flow, unit: Unit, step: Step, key: Key, labels: torch.Tensor) -> int:
    """The one output of a step that the labels lie on."""
    axis = labels.ndim - 1 if step.name == "linear" else 1
    channels = labels.movedim(axis, 0).flatten(1).any(1).nonzero().flatten().tolist()
    if len(channels) != 1:
        raise _no_weights(net, flow, unit, f"it mixes {len(channels)} outputs of {step.name}", [key])
    if step.kind == "weighted" and flow.depends(step.key_of(1, "weight")):
        raise _no_weights(net, flow, unit, f"the weights of {step.name} are made from the picture", [])
    return int(channels[0])


def _input(net: Network, flow: Flow, unit: Unit, step: Step, labels: torch.Tensor) -> tuple[Key, torch.Tensor]:
    """The one tensor that a step made the labelled elements of, and their labels in it."""
    parts = step.back(labels)
    parts = None if parts is None else [(key, part) for key, part in parts if part.any()]
    if parts is not None and len(parts) == 1:
        return parts[0]
    why = f"it is made by {step.name}, which is no weighted sum of other units' answers"
    if step.name in _SUMS:
        why = f"it is a sum of several layers' answers ({step.name})"
    raise _no_weights(net, flow, unit, why, list(step.read))


def _normalizer(net: Network, flow: Flow, unit: Unit, step: Step, channel: int) -> float:
    """What a channel is multiplied by, gamma / sqrt(var + eps), of a BatchNorm's channel."""
    variance, gamma = step.argument(2, "running_var"), step.argument(3, "weight")
    if variance is None or step.argument(5, "training", False):
        raise _no_weights(
            net, flow, unit, "its BatchNorm has no running statistics, so its scale changes by the batch", []
        )
    scale = 1.0 if gamma is None else float(gamma[channel].detach())
    return scale / math.sqrt(float(variance[channel].detach()) + float(step.argument(7, "eps", 1e-5)))


# ---- the weights ----


def _kernels(total: _WeightedSum) -> tuple[np.ndarray, np.ndarray]:
    """(features,) sums and sums of squares of the kernels between what is read and the unit."""
    step, o = total.step, total.channel
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
    sums[inside] = total.factor * kernel.sum(1).numpy()
    squares[inside] = total.factor**2 * (kernel**2).sum(1).numpy()
    return sums, squares


def _features(flow: Flow, total: _WeightedSum) -> torch.Tensor:
    """Labels of what the weighted step reads: 1 and up at the features of the unit's own group, 0 at others."""
    step = total.step
    labels = flow.labels(step.key_of(0, "input"))
    axis = labels.ndim - 1 if step.name == "linear" else 1
    features = labels.shape[axis]
    groups = 1
    if step.name != "linear":
        groups = int(step.argument(6, "groups", 1))
    outputs = flow.shapes[total.key][axis]
    group, inputs = total.channel // (outputs // groups), features // groups
    numbers = torch.arange(1, features + 1, dtype=torch.float64)
    numbers[: group * inputs] = 0
    numbers[(group + 1) * inputs :] = 0
    labels.movedim(axis, -1)[:] = numbers
    return labels


# ---- from the weights back to the layer before ----


def _origins(net: Network, flow: Flow, key: Key, labels: torch.Tensor, exact: bool) -> list[_Origin] | None:
    """The layers' channels that the labelled features are, None if they cannot be told.

    exact: the layers must answer the very features, else they may be rectified or pooled on the way.
    """
    step = flow.steps.get(key)
    names = [n for n in flow.layers.get(key, []) if net[n].reason is None]
    # A leaf says best what answers: the ReLU rather than the Sequential that ends with it.
    leaves = [n for n in names if not any(net.module(n).children())]
    origins = None
    if step is not None and step.kind == "shape":
        origins = _origins_of_parts(net, flow, step, labels, exact or bool(names))
    if origins is None and names:
        origins = _channels_of((leaves or names)[-1], net, labels)
    if origins is None and not exact and step is not None and step.kind in WITHIN_CHANNELS:
        origins = _origins_of_parts(net, flow, step, labels, exact)
    return origins


def _origins_of_parts(net: Network, flow: Flow, step: Step, labels: torch.Tensor, exact: bool) -> list[_Origin] | None:
    """The layers' channels of everything that a step read, None if one of these cannot be told."""
    origins: list[_Origin] = []
    for key, part in step.back(labels) or []:
        if part.any():
            own = _origins(net, flow, key, part, exact)
            if own is None:
                return None
            origins += own
    return origins or None


def _channels_of(layer: str, net: Network, labels: torch.Tensor) -> list[_Origin] | None:
    """Which channel, and where in it, each labelled feature is in a layer's output; None if one is in several."""
    layout = net[layer].layout
    maps = layout.maps(labels)[0].flatten(1).numpy()
    if layout.extra:  # tokens without a place, such as the class token, are read too
        maps = np.concatenate([maps, labels[0, : layout.extra].T.numpy()], 1)
    channels, places = np.nonzero(maps)
    features = maps[channels, places].astype(int)
    # Feature by feature, so that the entries of one stand side by side; they begin where the number changes (they
    # count from 1, so that the first begins at 0), and end where the next one begins.
    order = np.lexsort((channels, features))
    features, channels, places = features[order], channels[order], places[order]
    begins = np.flatnonzero(np.diff(features, prepend=0))
    counts = np.diff(np.append(begins, len(features)))
    one_channel = (np.repeat(channels[begins], counts) == channels).all()
    wanted = labels.unique()
    if not one_channel or len(begins) != int((wanted > 0).sum()):
        return None
    where = np.stack([places[begins] // layout.grid[1], places[begins] % layout.grid[1]], 1)
    where[(counts > 1) | (maps.shape[1] == 1) | (places[begins] >= math.prod(layout.grid))] = -1
    return [_Origin(layer, features[begins] - 1, channels[begins], where)]


# ---- saying what was not found ----


def _no_origin(net: Network, flow: Flow, unit: Unit, total: _WeightedSum) -> LensError:
    through = _through(flow, total)
    key = total.step.key_of(0, "input")
    if not flow.mixed(key):
        what = "picture" if len(net.input_shape) == 3 else "input"
        instead = ""
        if through in {layer.name for layer in net.layers} and filter_shape(net, through) is not None:
            instead = f'; its weights are nl.filters(net, "{through}").weights[{total.channel}]'
        return LensError(f"{unit} reads the {what} itself through {through}, no other units{instead}.")
    step = flow.steps.get(key)
    source = "something that cannot be seen" if step is None else f"what {step.name} answers"
    why = f"{through}, whose weights it has, reads {source}, which no layer gives as its own answer"
    return _no_weights(net, flow, unit, why, [] if step is None else list(step.read))


def _no_weights(net: Network, flow: Flow, unit: Unit, why: str, keys: list[Key]) -> LensError:
    """That a unit has no incoming weights, why, and which layers can be asked."""
    names = [n for key in keys for n in flow.layers.get(key, [])[-1:] if net[n].reason is None and n != unit.layer]
    if not names:
        before = [layer.name for layer in net.layers]
        before = before[: before.index(unit.layer)]
        names = [n for n in before if any(p.ndim > 1 for p in net.module(n).parameters(recurse=False))][-1:]
    instead = f"; ask for a unit of {' or '.join(dict.fromkeys(names))}" if names else ""
    return LensError(f"No units can be said to feed {unit}: {why}{instead}.")


def _through(flow: Flow, total: _WeightedSum) -> str:
    names: list[Any] = flow.layers.get(total.key, [])
    return str(names[0]) if names else f"a {total.step.name} function"


_SUMS = frozenset("add add_ __add__ __iadd__ __radd__ sum sub sub_ __sub__".split())
