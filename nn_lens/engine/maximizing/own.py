"""The pictures that a network was made for, as far as they are at hand: a few of them say what its pictures are like."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch

from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures.datasets import Source
from nn_lens.errors import LensError, PictureError

_MOST, _LEAST = 128, 8  # pictures; fewer of large ones, whose files take long to read
_PIXELS = 64 * 64 * 64  # in all


@dataclass(frozen=True)
class OwnPictures:
    """(N,C,H,W) `pictures` in [0,1], and a `digest` of them."""

    pictures: torch.Tensor
    digest: str


_known: WeakKeyDictionary[Network, tuple[list[Any], OwnPictures | None]] = WeakKeyDictionary()


def own_pictures(net: Network, sources: Sequence[Any] = ()) -> OwnPictures | None:
    """The first pictures of the first of `sources` and the network's dataset that has any, else its samples.

    None where there are none, and for other kinds of input. They are read once for each network.
    """
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


def _read(net: Network, sources: Sequence[Any]) -> OwnPictures | None:
    height, width = net.input_shape[1:]
    most = max(_LEAST, min(_MOST, _PIXELS // (height * width)))
    for source in (*sources, net.dataset, list(net.samples.values()) or None):
        found = first_pictures(net, source, most) if source is not None else []
        if found:
            pictures = torch.stack(found)
            return OwnPictures(pictures, hashlib.blake2b(pictures.numpy().tobytes(), digest_size=8).hexdigest())
    return None
