"""Directions over a layer's channels: is a single unit special, or is any mixture of units as telling?

Reference: Szegedy et al., 2014, "Intriguing properties of neural networks", who found random directions as telling as
units; Bau et al., 2017, "Network dissection", who did not; Kim et al., 2018, "Interpretability beyond feature
attribution" (concept activation vectors).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.datasets import source_of
from nn_lens.errors import LensError
from nn_lens.units import Direction, Unit

_PLACES = 16  # of a picture's map that are looked at
_MOST = 20_000  # codes that a factorization is made of


def random(net: Network, layer: str, n: int = 1, seed: int = 0) -> list[Direction]:
    """`n` random directions of length 1, even over the sphere: a unit is one too, and as long.

    >>> [str(direction) for direction in nl.directions.random(nl.demo(), "relu2", 2)]
    ['relu2:direction of 96 channels', 'relu2:direction of 96 channels']
    """
    channels = as_network(net)[layer].layout.channels
    vectors = np.random.default_rng(seed).standard_normal((_at_least_1("n", n), channels))
    return _directions(layer, vectors)


def pca(net: Network, layer: str, pictures: Any = None, n: int = 8, seed: int = 0) -> list[Direction]:
    """The `n` directions along which a layer's answers to pictures differ most, of length 1, the first most.

    pictures: as for `nl.dataset_examples`. Answers are taken at 16 places of each picture.

    Raises:
        LensError: more directions than the layer has channels, or than there are answers.

    >>> net = nl.demo()
    >>> len(nl.directions.pca(net, "relu2", net.samples, 2))
    2
    """
    from sklearn.decomposition import PCA

    codes = _codes(as_network(net), layer, pictures, seed, _at_least_1("n", n))
    return _directions(layer, PCA(n, random_state=seed).fit(codes).components_)


def nmf(net: Network, layer: str, pictures: Any = None, n: int = 8, seed: int = 0) -> list[Direction]:
    """`n` directions of which a rectified layer's answers to pictures are sums (non-negative factors), of length 1.

    pictures: as for `pca`.

    Raises:
        LensError: a layer with negative answers.

    >>> net = nl.demo()
    >>> first, *_ = nl.directions.nmf(net, "relu2", net.samples, 2)
    >>> min(first.vector) >= 0
    True
    """
    from sklearn.decomposition import NMF

    codes = _codes(as_network(net), layer, pictures, seed, _at_least_1("n", n))
    if codes.min() < 0:
        raise LensError(f"Layer {layer!r} has negative answers, which have no non-negative factors; use pca.")
    return _directions(layer, NMF(n, init="nndsvda", random_state=seed, max_iter=400).fit(codes).components_)


def between(net: Network, a: Unit | str, b: Unit | str, n: int = 5) -> list[Direction]:
    """`n` directions of length 1 from one unit to another of the same layer, 2 or more, ends included.

    Raises:
        LensError: units of different layers, or the same unit twice.

    >>> halfway = nl.directions.between(nl.demo(), "relu2:1", "relu2:5", 3)[1]
    >>> [round(halfway.vector[channel], 3) for channel in (1, 2, 5)]
    [0.707, 0.0, 0.707]
    """
    net = as_network(net)
    first, second = net.unit(a), net.unit(b)
    if first.layer != second.layer or first.channel == second.channel:
        raise LensError(f"between takes two channels of one layer, got {first} and {second}.")
    channels = net[first.layer].layout.channels
    ends = [Direction.of(unit, channels).vector for unit in (first, second)]
    weights = np.linspace(0, 1, max(2, _at_least_1("n", n)))
    return _directions(first.layer, np.outer(1 - weights, ends[0]) + np.outer(weights, ends[1]))


def concept(net: Network, layer: str, pictures: Any, rest: Any = None) -> Direction:
    """From what a layer answers to the `rest` of pictures to what it answers to those of a concept, of length 1.

    The difference of the two means over pictures and places. rest: as for `nl.dataset_examples`; None: the network's
    own pictures.

    >>> net = nl.demo()
    >>> str(nl.directions.concept(net, "relu2", net.samples["cat"], net.samples))
    'relu2:direction of 96 channels'
    """
    net = as_network(net)
    difference = _mean(net, layer, pictures) - _mean(net, layer, rest)
    return _directions(layer, difference[None])[0]


def _mean(net: Network, layer: str, pictures: Any) -> np.ndarray:
    total, count = np.zeros(net[layer].layout.channels), 0
    for batch in source_of(net, pictures).batches():
        with net.evaluation(), torch.no_grad():
            maps = net.outputs(batch.pictures, [layer])[layer]
        total += maps.flatten(2).mean(2).double().sum(0).cpu().numpy()
        count += len(maps)
    return total / count


def _codes(net: Network, layer: str, pictures: Any, seed: int, n: int) -> np.ndarray:
    """(answers, C) of the layer at some places of pictures."""
    channels = net[layer].layout.channels
    if n > channels:
        raise LensError(f"Layer {layer!r} has {channels} channels, so at most {channels} directions; got n={n}.")
    generator = torch.Generator().manual_seed(seed)
    codes: list[torch.Tensor] = []
    for batch in source_of(net, pictures).batches():
        with net.evaluation(), torch.no_grad():
            maps = net.outputs(batch.pictures, [layer])[layer].float().cpu().flatten(2)
        places = torch.randperm(maps.shape[2], generator=generator)[:_PLACES]
        codes.append(maps[:, :, places].transpose(1, 2).flatten(0, 1))
        if sum(map(len, codes)) >= _MOST:
            break
    rows = torch.cat(codes)[:_MOST].numpy()
    if len(rows) < n:
        raise LensError(f"{len(rows)} answers of {layer!r} give at most {len(rows)} directions; got n={n}.")
    return np.asarray(rows)


def _directions(layer: str, vectors: np.ndarray) -> list[Direction]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise LensError(f"Two sets of pictures that layer {layer!r} answers alike give no direction.")
    return [Direction(layer, [float(x) for x in v]) for v in vectors / lengths]


def _at_least_1(name: str, value: Any) -> int:
    if not isinstance(value, int) or value < 1:
        raise LensError(f"{name} is a whole number, 1 or more, got {value!r}.")
    return value
