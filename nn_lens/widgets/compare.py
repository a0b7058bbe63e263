"""Which layers of two networks belong side by side."""

from __future__ import annotations

from nn_lens.engine.network import Network


def shown_layers(net: Network) -> list[str]:
    """The names of the layers that can be shown, in the order of the forward pass."""
    return [layer.name for layer in net.layers if layer.reason is None]


def counterparts(first: Network, second: Network) -> dict[str, str]:
    """For each layer of `first` that of `second`: of the same name, else the one at the nearest relative depth."""
    ours, theirs = shown_layers(first), shown_layers(second)

    def nearest(index: int) -> str:
        depth = index / max(1, len(ours) - 1)
        return theirs[round(depth * (len(theirs) - 1))]

    return {name: name if name in theirs else nearest(i) for i, name in enumerate(ours)}
