"""Which layers and units of two networks correspond."""

from __future__ import annotations

from collections.abc import Mapping

from nn_lens.engine.network.network import Network
from nn_lens.errors import LensError
from nn_lens.units import Unit

_REASONS = 3  # that are named, where no layer can be shown


def shown_layers(net: Network) -> list[str]:
    """The names of the layers that can be shown, in the order of the forward pass.

    Raises:
        LensError: there are none; says why.
    """
    layers = net.layers
    shown = [layer.name for layer in layers if layer.reason is None]
    if not shown:
        first = dict.fromkeys(layer.reason for layer in layers[::-1])
        named = [next(layer for layer in layers if layer.reason == reason) for reason in reversed(first)]
        why = "; ".join(f"{layer.name} ({layer.kind}): {layer.reason}" for layer in named[:_REASONS])
        raise LensError(f"{net.name} has no layer that can be shown: {why or 'no module inside it gives a tensor'}.")
    return shown


def counterparts(first: Network, second: Network) -> dict[str, str]:
    """For each layer of `first` that of `second`: of the same name, else the one at the nearest relative depth."""
    ours, theirs = shown_layers(first), shown_layers(second)

    def nearest(index: int) -> str:
        depth = index / max(1, len(ours) - 1)
        return theirs[round(depth * (len(theirs) - 1))]

    return {name: name if name in theirs else nearest(i) for i, name in enumerate(ours)}


def counterpart(unit: Unit, layers: Mapping[str, str], first: Network, second: Network) -> Unit:
    """The unit of `second`: of the layer's counterpart the same channel, or its last; the same place on the same grid."""
    layer = second[layers[unit.layer]]
    channel = min(unit.channel, layer.channels - 1)
    if first[unit.layer].layout.grid != layer.layout.grid:
        return Unit(layer.name, channel)
    return Unit(layer.name, channel, *(unit.place or ()))
