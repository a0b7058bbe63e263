"""Incoming connections: which units of the layer before feed a unit, with sign and strength.

Reference: Olah et al., 2020, "Zoom in: an introduction to circuits", who read features off the weights between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.images import BLUE, ORANGE
from nn_lens.engine.pictures.results import Result
from nn_lens.engine.reading.filters import filter_shape
from nn_lens.engine.reading.flow import Flow, flow_to
from nn_lens.engine.reading.tracing import TOO_MANY, Lost, Source, Trace
from nn_lens.errors import LensError
from nn_lens.units import Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Incoming(Result):
    """The units that feed a unit, strongest first: a sequence of (Unit, weight).

    A weight is the sum of the kernel between the two units: what the unit gains where the other answers 1 all over its
    kernel. BatchNorm and constant factors on the way are folded in. A unit that is added as it is, by a skip
    connection, has the weight 1. Behind attention, the weight is that of the values times that of the output: what the
    unit gains where the other answers 1 at all tokens. A kernel whose parts cancel, as that of an edge detector, has a
    small weight; `norms` tells it from a connection that is not there.

    `units`, `weights` (k,) float32; `norms` (k,) float32: root of the sum of the kernel's squares, with all that is
    folded in; of a skip and of attention the size of the weight. `places`: where a linear layer reads a whole map, the
    place with the largest weight, (row, column) in pictures, else None, and the weight is the sum over places.
    `through`: the layer whose weights these are; several joined by " and ", one behind another by " after ".
    `count`: how many units feed it in all.

    `share`, 0 to 1: how much of the unit, before its rectifier, these units account for. Where it is a sum, each
    summand has the share that its mean absolute value has among all summands', on one picture of even noise, and of a
    sum in a sum likewise; the share is that of the summands that were followed to units. What the picture has no part
    in, such as a bias, does not count. 1 where there is no sum, or all of it was followed.
    `notes`: what was not followed, with its share, and what is not in the weights.
    """

    unit: Unit
    units: tuple[Unit, ...]
    weights: np.ndarray
    norms: np.ndarray
    places: tuple[tuple[int, ...] | None, ...]
    through: str
    count: int
    share: float = 1.0
    notes: tuple[str, ...] = ()

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
        part = f"; {self.share:.0%} of it could be followed" if self.share < 1 else ""
        return f"{what}, strongest {unit} ({weight:+.3g}){part}"

    def figure(self) -> Figure:
        """A bar per unit, with its sign (blue negative, orange positive)."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 1.2 + 0.3 * len(self)), layout="constrained")
        axes = figure.add_subplot()
        y = np.arange(len(self))[::-1]
        axes.barh(y, self.weights, 0.7, color=[ORANGE if w > 0 else BLUE for w in self.weights])
        axes.axvline(0, color="0.3", linewidth=0.8)
        names = [
            str(u) + (f" (most at {','.join(map(str, p))})" if p else "")
            for u, p in zip(self.units, self.places, strict=True)
        ]
        axes.set_yticks(y, names, fontsize=8)
        axes.set_xlabel("weight, sum of the kernel")
        figure.suptitle(f"feeds {self.unit}\nthrough {self.through}", fontsize=9)
        return figure


def incoming(net: Network, unit: Unit | str, k: int = 9) -> Incoming:
    """The `k` units that feed `unit` most, by the size of their weight, ties by layer and channel.

    From the unit back through rectifiers, pooling, normalization and constant factors to the weights that make it, and
    from what these read on to the layer that answers it; of a concatenation, the layers that are concatenated. Where the
    unit is a sum, as behind a skip connection, each summand is followed to weights of its own, or to the layer that is
    added as it is. Through attention, to what the values are made of. A place of the unit is ignored: a convolution has
    the same weights everywhere. The scale of a normalization by the picture's own statistics (LayerNorm, GroupNorm)
    cannot be told, nor what is multiplied by something made from the picture (gates); see `share` and `notes`.

    Raises:
        LensError: the unit reads the picture itself, or nothing that makes it can be followed; says what can be asked
        instead. UnknownUnit: the network does not have it.

    >>> feeds = nl.incoming(nl.demo(), "relu2:3", k=2)
    >>> [str(unit) for unit, _ in feeds], feeds.count, feeds.through, feeds.share
    (['relu1:26', 'relu1:29'], 48, 'conv2', 1.0)
    """
    net = as_network(net)
    unit = net.unit(unit)
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise LensError(f"k is a whole number of units, 1 or more, got {k!r}.")
    flow = flow_to(net, unit.layer)
    trace = Trace(net, flow)
    found = trace.of(unit)
    sources = [part for part in found if isinstance(part, Source)]
    lost = [part for part in found if isinstance(part, Lost)]
    weights, squares, places = _by_unit(net, sources)
    if not weights or any(part.why == TOO_MANY for part in lost):  # a part of the ways would give other weights
        raise _nothing(net, flow, unit, lost)
    order = sorted(weights, key=lambda u: -abs(weights[u]))[:k]
    share = sum(part.pull.share for part in sources)
    return Incoming(
        unit, tuple(order), np.array([weights[u] for u in order], np.float32),
        np.sqrt([squares[u] for u in order]).astype(np.float32), tuple(places[u] for u in order), _through(sources),
        len(weights), 1.0 if not lost else min(1.0, share),
        (*(f"not followed, {part.pull.share:.0%}: {part.why}" for part in lost), *trace.notes),
    )  # fmt: skip


def _by_unit(
    net: Network, sources: list[Source]
) -> tuple[dict[Unit, float], dict[Unit, float], dict[Unit, tuple[int, ...] | None]]:
    """Weights and sums of squares of the units that feed, and their places of the largest weight."""
    weights: dict[Unit, float] = {}
    energies: dict[Unit, float] = {}
    places: dict[Unit, tuple[int, ...] | None] = {}
    for source in sources:
        sums, squares, reached, where = source.channels(net)
        for channel in np.flatnonzero(reached).tolist():
            unit = Unit(source.layer, channel)
            weights[unit] = weights.get(unit, 0.0) + float(sums[channel])
            energies[unit] = energies.get(unit, 0.0) + float(squares[channel])
            places[unit] = where[channel]
    return weights, energies, places


def _through(sources: list[Source]) -> str:
    chains = [" after ".join(source.pull.through) for source in sources if source.pull.through]
    return " and ".join(dict.fromkeys(chains)) or "a sum"


def _nothing(net: Network, flow: Flow, unit: Unit, lost: list[Lost]) -> LensError:
    """That a unit has no incoming weights, why, and which layers can be asked."""
    if not lost:
        return LensError(f"No units can be said to feed {unit}: the {_what(net)} has no part in it.")
    if all(part.picture for part in lost):
        return _reads_the_picture(net, unit, lost[0])
    # Only what is no picture needs another way.
    part = next((part for part in lost if part.why == TOO_MANY), None) or next(p for p in lost if not p.picture)
    before = list(net.layers)[: [layer.name for layer in net.layers].index(unit.layer)]
    why = part.why
    if why == TOO_MANY:
        hidden = [layer for layer in before if layer.reason is not None]
        why += "".join(f" ({layer.name}: {layer.reason})" for layer in hidden[-1:])
    names = [n for key in part.read for n in flow.layers.get(key, [])[-1:] if net[n].reason is None and n != unit.layer]
    if not names:
        shown = [layer.name for layer in before if layer.reason is None]
        names = [n for n in shown if any(p.ndim > 1 for p in net.module(n).parameters(recurse=False))][-1:]
    instead = f"; ask for a unit of {' or '.join(dict.fromkeys(names))}" if names else ""
    return LensError(f"No units can be said to feed {unit}: {why}{instead}.")


def _reads_the_picture(net: Network, unit: Unit, part: Lost) -> LensError:
    what = _what(net)
    if not part.pull.through:
        return LensError(f"{unit} is a part of the {what} itself: no layer with weights feeds it.")
    through, channel = part.pull.through[0], part.pull.channel
    instead = ""
    known = through in {layer.name for layer in net.layers}
    if known and channel is not None and len(part.pull.through) == 1 and filter_shape(net, through) is not None:
        instead = f'; its weights are nl.filters(net, "{through}").weights[{channel}]'
    return LensError(f"{unit} reads the {what} itself through {through}, no other units{instead}.")


def _what(net: Network) -> str:
    return "picture" if net.kind == "picture" else "input"
