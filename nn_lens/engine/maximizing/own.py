"""Pictures at hand, those that a network was made for where there are some: what its pictures are like, and a bar to pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F

from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures.datasets import Source
from nn_lens.engine.pictures.samples import sample_pictures
from nn_lens.errors import LensError, PictureError

_MOST, _LEAST = 128, 8  # pictures; fewer of large ones, whose files take long to read
_PIXELS = 64 * 64 * 64  # in all


@dataclass(frozen=True, eq=False)
class AtHand:
    """(N,C,H,W) `pictures` in [0,1]; a `digest` of those that the network was made for, "" of those that packages ship."""

    pictures: torch.Tensor
    digest: str
    _contrasts: dict[tuple[int, ...], float] = field(default_factory=dict)

    def contrast(self, window: Sequence[int]) -> float:
        """Root mean square around grey of the part of (height, width) `window` with most; the median over pictures."""
        size = tuple(min(side, n) for side, n in zip(window, self.pictures.shape[2:], strict=True))
        if size not in self._contrasts:
            energy = (self.pictures - 0.5).square().mean(1, keepdim=True)
            self._contrasts[size] = float(F.avg_pool2d(energy, size, 1).flatten(1).amax(1).sqrt().median())
        return self._contrasts[size]


_known: WeakKeyDictionary[Network, tuple[list[Any], AtHand | None]] = WeakKeyDictionary()


def own_pictures(net: Network, sources: Sequence[Any] = ()) -> AtHand | None:
    """The first pictures of the first of `sources` and the network's dataset that has any, else its samples.

    None where there are none, and for other kinds of input.
    """
    found = pictures_at_hand(net, sources)
    return found if found is not None and found.digest else None


def pictures_at_hand(net: Network, sources: Sequence[Any] = ()) -> AtHand | None:
    """As `own_pictures`; where there are none, those that installed packages ship. They are read once for each network."""
    if net.kind != "picture":
        return None
    asked = [*sources, net.dataset, *net.samples.values()]
    kept = _known.get(net)
    if kept is None or len(kept[0]) != len(asked) or any(a is not b for a, b in zip(kept[0], asked, strict=True)):
        kept = _known[net] = asked, _read(net, sources)
    return kept[1]


def first_pictures(net: Network, source: Any, most: int) -> list[torch.Tensor]:
    """The first of a dataset that can be read, (C,H,W) each, in its own order; none of a stream, which is not to be used up."""
    if isinstance(source, Iterator):
        return []
    try:
        opened = Source(net, source)
    except LensError:  # is told of where the dataset is asked for
        return []
    if opened.one_by_one:
        return []
    pictures = []
    with torch.random.fork_rng(devices=[]):  # a dataset may move its pictures at random
        for index in range(min(most, opened.total or 0)):
            try:
                pictures.append(opened[index].float())
            except PictureError:
                continue
    return pictures


def _read(net: Network, sources: Sequence[Any]) -> AtHand | None:
    height, width = net.input_shape[1:]
    most = max(_LEAST, min(_MOST, _PIXELS // (height * width)))
    for source in (*sources, net.dataset, list(net.samples.values()) or None):
        found = first_pictures(net, source, most) if source is not None else []
        if found:
            pictures = torch.stack(found)
            return AtHand(pictures, hashlib.blake2b(pictures.numpy().tobytes(), digest_size=8).hexdigest())
    shipped = [net.picture(sample).float() for sample in sample_pictures(net.input_shape).values()]
    return AtHand(torch.stack(shipped), "") if shipped else None
