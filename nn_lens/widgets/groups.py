"""A network's layers in a few groups, named by the modules that hold them: the stops of the map of the network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

MOST = 24  # groups that a map of a network shows


def grouped(layers: Sequence[str], most: int = MOST) -> list[tuple[str, list[str]]]:
    """(name, layers) of each group, in the order of the layers: as deep a cut through the tree of modules as gives at most
    `most`; where the first has more, neighbours are joined, under the name of the last.
    """
    best: list[tuple[str, list[str]]] = []
    for depth in range(1, 1 + max((name.count(".") + 1 for name in layers), default=1)):
        named = [(".".join(layer.split(".")[:depth]), layer) for layer in layers]
        groups = [(name, [layer for _, layer in own]) for name, own in groupby(named, lambda pair: pair[0])]
        if best and len(groups) > most:
            break
        best = groups
    if len(best) <= most:
        return best
    size = -(-len(best) // most)
    parts = [best[i : i + size] for i in range(0, len(best), size)]
    return [(part[-1][0], [layer for _, own in part for layer in own]) for part in parts]
