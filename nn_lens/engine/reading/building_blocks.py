"""A picture as a layer sees it: the unit that answers most at each place, and the groups of units that answer together.

Reference: Olah et al., 2018, "The building blocks of interpretability", with its semantic dictionaries and its groups of
neurons by non-negative matrix factorization (Lee and Seung, 1999).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.images import SEQUENTIAL, colour_map
from nn_lens.engine.pictures.results import Result
from nn_lens.engine.reading.activations import activations
from nn_lens.errors import LensError
from nn_lens.units import Direction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PLACES = 1600  # that a factorization is made of; of a larger map, a part of its places
_ROUNDS = 300


@dataclass(frozen=True, repr=False)
class BuildingBlocks(Result):
    """A layer's answers to one picture, place by place and in groups.

    `strongest` (h,w): the channel that answers most at a place, and `values` (h,w) how much; of other kinds of input, of
    the grid of the maps. `groups` (k,h,w) float32, 0 or more: where the units of a group answer together, the group that explains most first; `directions`: the group's mixture
    of channels, (C,) of length 1; `shares` (k,): of all that the units answer, what the group explains. `explained`: the
    share of the answers' squares that all groups explain together.
    """

    layer: str
    strongest: np.ndarray
    values: np.ndarray
    groups: np.ndarray
    directions: tuple[Direction, ...]
    shares: np.ndarray
    explained: float

    @property
    def units(self) -> list[int]:
        """The channels that are strongest somewhere, the one with most places first."""
        channels, counts = np.unique(self.strongest, return_counts=True)
        return [int(c) for c in channels[np.argsort(-counts, kind="stable")]]

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        return (
            f"{len(self.units)} units of {self.layer} are strongest at one of {' by '.join(map(str, self.values.shape))} places, unit "
            f"{self.units[0]} at most of them; {len(self.groups)} groups explain {self.explained:.0%} of what is answered"
        )

    def figure(self) -> Figure:
        """The strongest answer at each place, with the unit's number where there is room, and each group's map.

        What has one dimension is a row, of three the middle slice is drawn.
        """
        from matplotlib.figure import Figure

        maps = [_plane(self.values), *map(_plane, self.groups)]
        names = ["strongest unit", *(f"group {i + 1}, {s:.0%}" for i, s in enumerate(self.shares))]
        columns = min(4, len(maps))
        rows = -(-len(maps) // columns)
        figure = Figure(figsize=(2.4 * columns, 2.6 * rows))
        for i, (values, name) in enumerate(zip(maps, names, strict=True)):
            axes = figure.add_subplot(rows, columns, i + 1)
            axes.imshow(values, cmap=colour_map(SEQUENTIAL), vmin=0, aspect="auto" if len(values) == 1 else "equal")
            axes.set_title(name, fontsize=7)
            axes.set_axis_off()
            if i == 0 and max(values.shape) <= 16:
                for (row, column), unit in np.ndenumerate(_plane(self.strongest)):
                    axes.text(column, row, str(unit), color="white", fontsize=4, ha="center", va="center")
        figure.suptitle(f"{self.layer}: {len(self.groups)} groups explain {self.explained:.0%}", fontsize=8)
        return figure


def building_blocks(net: Network, picture: Any, layer: str, groups: int = 6, seed: int = 0) -> BuildingBlocks:
    """The strongest unit at each place of a picture, and the groups of units that answer together.

    Groups are non-negative factors of the answers above 0; what is below 0 is not looked at.

    Args:
        net: the network.
        picture: any that `nl.activations` takes.
        layer: a layer that can be shown.
        groups: how many at most; fewer where the layer has fewer places or channels, or nothing more to explain.
        seed: of the factorization.

    Raises:
        LensError: groups below 1, or a layer of which no unit answers anywhere, or some no number. UnknownLayer: no such layer.

    >>> net = nl.demo()
    >>> blocks = nl.building_blocks(net, net.samples["cat"], "relu3", groups=3)
    >>> blocks.strongest.shape, blocks.groups.shape
    ((16, 16), (3, 16, 16))
    """
    if not isinstance(groups, int) or groups < 1:
        raise LensError(f"groups is how many groups of units are looked for, 1 or more; got {groups!r}.")
    maps = activations(as_network(net), picture, layer).maps
    channels, *grid = maps.shape
    positive = np.maximum(maps, 0).reshape(channels, -1).T.astype(np.float64)
    odd = np.flatnonzero(~np.isfinite(positive).all(0))
    if len(odd):
        raise LensError(
            f"{len(odd)} of {channels} units of {layer!r} answer NaN or infinity to this picture, the first is {odd[0]}; look at "
            "an earlier layer, or at the network's weights."
        )
    if not positive.any():
        raise LensError(f"No unit of {layer!r} answers above 0 to this picture.")
    codes, mixtures = _factors(positive, min(groups, *positive.shape), seed)
    lengths = np.linalg.norm(mixtures, axis=1)
    codes, mixtures = (codes * lengths)[:, lengths > 0], mixtures[lengths > 0] / lengths[lengths > 0, None]
    amounts = codes.sum(0) * mixtures.sum(1)
    order = np.argsort(-amounts, kind="stable")
    order = order[amounts[order] > 0]
    left = positive - codes @ mixtures
    flat = maps.reshape(channels, -1)
    return BuildingBlocks(
        layer, flat.argmax(0).reshape(grid), flat.max(0).reshape(grid),
        np.ascontiguousarray(codes[:, order].T, np.float32).reshape(-1, *grid),
        tuple(Direction(layer, mixtures[i]) for i in order), amounts[order] / positive.sum(),
        float(1 - (left**2).sum() / (positive**2).sum()),
    )  # fmt: skip


def _plane(values: np.ndarray) -> np.ndarray:
    """(rows, columns) of a grid's values."""
    return values[None] if values.ndim == 1 else values[len(values) // 2] if values.ndim == 3 else values


def _factors(answers: np.ndarray, groups: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(places, k) and (k, C), whose product comes near (places, C) answers."""
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    some = answers[answers.any(1)]  # where nothing answers there is nothing to learn from
    if len(some) > _PLACES:
        some = some[np.random.default_rng(seed).choice(len(some), _PLACES, replace=False)]
    model = NMF(min(groups, len(some)), init="nndsvda", random_state=seed, max_iter=_ROUNDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what is left over is in `explained`
        model.fit(some)
        return model.transform(answers), model.components_
