"""Embedding: pictures laid out in the plane, so that those of which a layer says the same lie together.

References: van der Maaten and Hinton, 2008, "Visualizing data using t-SNE"; Karpathy, 2014, "t-SNE visualization of
CNN codes", who shows the pictures themselves at their points.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.datasets import source_of
from nn_lens.engine.pictures.images import rgb
from nn_lens.engine.pictures.results import Result
from nn_lens.errors import LensError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_METHODS = {"tsne": "t-SNE", "pca": "PCA"}
_SIDE = 32  # of a thumbnail
_CELLS = 24  # thumbnails across a figure
_MARGIN = 0.08  # of the axes, on each side of the points


@dataclass(frozen=True, repr=False)
class Embedding(Result):
    """Pictures as points of the plane.

    `points` (N,2) float32. `codes` (N,D) float32: the layer's activation maps, mean over places, one number per
    channel. `thumbnails` (N,h,w,3) uint8, at most 32 pixels a side; None of other inputs than
    pictures, whose kind `kind` says. `indices` (N,): the pictures' numbers in the source, of which those that could not
    be read are left out; `skipped` says why.
    """

    layer: str
    method: str
    points: np.ndarray
    codes: np.ndarray
    thumbnails: np.ndarray | None
    indices: np.ndarray
    skipped: tuple[str, ...] = ()
    kind: str = "picture"

    def select(self, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
        """Rows of `points` inside the rectangle of two opposite corners, borders included, in ascending order."""
        low, high = np.minimum((x0, y0), (x1, y1)), np.maximum((x0, y0), (x1, y1))
        return np.flatnonzero(((self.points >= low) & (self.points <= high)).all(1))

    def by(self, method: str, *, seed: int = 0, perplexity: float | None = None) -> Embedding:
        """The same pictures laid out by another method; arguments as of `nl.embedding`."""
        _check(method, perplexity)
        n = len(self.codes)
        points = _pca(self.codes, seed) if method == "pca" else _tsne(self.codes, seed, _perplexity(perplexity, n))
        return replace(self, method=method, points=points)

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        text = f"{len(self.points)} {self.kind}s laid out by {_METHODS[self.method]} of their {self.codes.shape[1]} numbers in layer {self.layer}"
        if self.thumbnails is not None and len(self._apart()) < len(self.points):
            text += f", {len(self._apart())} of them shown"
        return text + (f"; {len(self.skipped)} could not be read" if self.skipped else "")

    def figure(self) -> Figure:
        """The thumbnails at their points, but those that would hide another; these, and other inputs, are dots."""
        from matplotlib.figure import Figure
        from matplotlib.offsetbox import AnnotationBbox, OffsetImage

        figure = Figure(figsize=(7, 7), layout="constrained")
        axes = figure.add_subplot()
        x, y = self.points.T
        axes.scatter(x, y, s=6 if self.thumbnails is not None else 18, color="0.6")
        if self.thumbnails is not None:
            zoom = 0.9 * 7 * 72 / _CELLS / max(self.thumbnails.shape[1:3])
            for i in self._apart():
                picture = OffsetImage(self.thumbnails[i], zoom=zoom)
                axes.add_artist(AnnotationBbox(picture, tuple(self.points[i]), frameon=False, pad=0))
        axes.margins(_MARGIN)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"{_METHODS[self.method]} of {self.layer}", fontsize=9)
        return figure

    def _apart(self) -> np.ndarray:
        """Rows of `points` that a figure has room for: each that is not within a thumbnail of one before."""
        span = np.maximum(np.ptp(self.points, axis=0), 1e-12)
        scaled = self.points / span * _CELLS / (1 + 2 * _MARGIN)
        free, shown = np.ones(len(scaled), bool), []
        for i in range(len(scaled)):
            if free[i]:
                shown.append(i)
                free &= np.abs(scaled - scaled[i]).max(1) >= 1
        return np.array(shown)


def embedding(
    net: Network, pictures: Any, layer: str, method: str = "tsne", *, seed: int = 0, perplexity: float | None = None
) -> Embedding:
    """Pictures as points of the plane by a layer's codes: the mean of each channel's map, (N,D).

    Args:
        net: the network.
        pictures: three or more, as for `nl.dataset_examples`.
        layer: whose codes are taken.
        method: "tsne", which keeps neighbours together and says nothing of distances between groups; "pca", the plane
            along which the codes differ most.
        seed: the same seed gives the same points.
        perplexity: of t-SNE, about how many neighbours each picture is to have; None: 30, or (N-1)/3 if that is less.

    Raises:
        UnknownLayer: no such layer. LensError: another method, fewer than three pictures, a perplexity that does not
        fit, or codes that are not finite or all the same.

    >>> net = nl.demo()
    >>> layout = nl.embedding(net, net.samples, "relu2", "pca")
    >>> layout.points.shape, layout.codes.shape
    ((7, 2), (7, 96))
    """
    *_, found = embedding_steps(net, pictures, layer, method, seed=seed, perplexity=perplexity)
    assert isinstance(found, Embedding)
    return found


def embedding_steps(
    net: Network, pictures: Any, layer: str, method: str = "tsne", *, seed: int = 0, perplexity: float | None = None
) -> Iterator[int | Embedding]:
    """How many pictures have been read, again and again, and at the end what `embedding` gives; errors as there."""
    net = as_network(net)
    name = net[layer].name
    _check(method, perplexity)
    codes, thumbnails, indices, skipped = yield from _read(net, name, pictures)
    n = len(codes)
    if n < 3:
        raise LensError(f"An embedding needs at least 3 {net.kind}s, got {n}.")
    bad = np.flatnonzero(~np.isfinite(codes).all(1))
    if len(bad):
        raise LensError(
            f"Layer {name!r} answers NaN or infinity to {len(bad)} of {n} {net.kind}s, the first is number "
            f"{indices[bad[0]]}; look at an earlier layer, or at the network's weights."
        )
    if not np.ptp(codes, axis=0).any():
        raise LensError(f"Layer {name!r} answers the same to all {n} {net.kind}s; there is nothing to lay out.")
    read = Embedding(name, method, np.zeros((n, 2), np.float32), codes, thumbnails, indices, skipped, net.kind)
    yield read.by(method, seed=seed, perplexity=perplexity)


def _check(method: str, perplexity: float | None) -> None:
    if method not in _METHODS:
        raise LensError(f'method is "tsne" or "pca", got {method!r}.')
    if perplexity is not None and method == "pca":
        raise LensError('perplexity is of method="tsne"; leave it out for "pca".')


def _read(
    net: Network, layer: str, pictures: Any
) -> Generator[int, None, tuple[np.ndarray, np.ndarray | None, np.ndarray, tuple[str, ...]]]:
    """How many have been read; at the end codes, thumbnails, numbers in the source, and why pictures are missing."""
    source = source_of(net, pictures)
    codes, thumbnails, indices = [], [], []
    for batch in source.batches(net.batch_size()):
        with net.evaluation(), torch.no_grad():
            maps = net.outputs(batch.pictures, [layer])[layer]
        codes.append(as_numpy(maps.float().flatten(2).mean(2)))
        indices += batch.indices
        if net.kind == "picture":
            thumbnails.append(rgb(_small(batch.pictures).cpu().numpy()))
        yield len(indices)
    if not codes:
        raise LensError(f"An embedding needs at least 3 {net.kind}s, got 0.")
    small = np.concatenate(thumbnails) if thumbnails else None
    return np.concatenate(codes), small, np.array(indices), tuple(source.skipped)


def _small(pictures: torch.Tensor) -> torch.Tensor:
    """(N,C,H,W) pictures, at most 32 pixels a side."""
    height, width = pictures.shape[2:]
    factor = _SIDE / max(height, width)
    if factor >= 1:
        return pictures
    sides = max(1, round(height * factor)), max(1, round(width * factor))
    return F.interpolate(pictures, sides, mode="bilinear", antialias=True, align_corners=False)


def _perplexity(given: float | None, n: int) -> float:
    if given is None:
        return min(30.0, (n - 1) / 3)
    if not 0 < given < n:
        raise LensError(f"perplexity is above 0 and below the number of pictures, {n}; got {given!r}.")
    return float(given)


def _pca(codes: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.decomposition import PCA

    axes = min(2, *codes.shape)
    points = PCA(axes, random_state=seed).fit_transform(codes.astype(np.float64))
    return np.pad(points, ((0, 0), (0, 2 - axes))).astype(np.float32)


def _tsne(codes: np.ndarray, seed: int, perplexity: float) -> np.ndarray:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    start = "pca" if codes.shape[1] > 1 else "random"
    # Threads add up in any order, and t-SNE makes another picture of the last bit.
    with threadpool_limits(1):
        points = TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(codes)
    return np.asarray(points, np.float32)
