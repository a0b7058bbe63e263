"""Many pictures, wherever they come from, as batches of tensors: folders, lists, Datasets and DataLoaders."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset

from nn_lens.engine.pictures.picture import read_picture
from nn_lens.engine.pictures.samples import sample_pictures
from nn_lens.errors import LensError, PictureError


class Reader(Protocol):
    """What is to be known of a network to read pictures for it."""

    input_shape: tuple[int, ...]
    dataset: Any
    samples: dict[str, Any]

    @property
    def name(self) -> str:
        """What it is called."""

    def picture(self, source: Any) -> torch.Tensor:
        """One picture as a (C,H,W) tensor in [0,1]."""


_FILES = frozenset(".jpg .jpeg .png .gif .webp .bmp .tif .tiff".split())


@dataclass(frozen=True)
class PictureBatch:
    """`pictures` (N,C,H,W) in [0,1], their `indices` in the source, and their `targets`, None where it has none.

    `read`: how many pictures of the source were read up to here, with those that could not be.
    """

    pictures: torch.Tensor
    indices: list[int]
    targets: list[int] | None
    read: int


class Source:
    """Pictures for a network, in order, from any source.

    source: a Dataset or DataLoader of pictures or (picture, target) pairs, a folder (its picture files, also those of
    folders in it, by name), a list of pictures, a dictionary of them, an (N,C,H,W) tensor or array in [0,1], or one
    picture file.

    Raises:
        LensError: what cannot be a source of pictures, or an empty one.
    """

    def __init__(self, net: Reader, source: Any) -> None:
        self.net = net
        self._skipped: dict[int, str] = {}
        self.items: Any = self._open(source)
        self.loader: Any = self.items if isinstance(self.items, DataLoader) else None
        if self.loader is not None:
            self.items = self.loader.dataset
        self.one_by_one = isinstance(self.items, IterableDataset)  # no picture can be asked for again
        if self.total == 0:
            raise LensError(f"{_describe(source)} holds no pictures.")

    @property
    def total(self) -> int | None:
        """How many pictures; None where the source does not know."""
        try:
            if self.loader is not None and not self.one_by_one and self.loader.batch_sampler is not None:
                sampler: Any = self.loader.batch_sampler
                return len(sampler.sampler)
            return len(self.items)
        except TypeError:
            return None

    @property
    def skipped(self) -> list[str]:
        """Why each picture that could not be read so far could not."""
        return list(self._skipped.values())

    def __getitem__(self, index: int) -> torch.Tensor:
        """One picture, as the network sees it."""
        items: Any = self.items
        return self._read(items[index])[0]

    def target(self, index: int) -> int | None:
        """The target of one picture, None where the source has none, or cannot be asked."""
        if self.one_by_one:
            return None
        items: Any = self.items
        return self._read(items[index])[1]

    def batches(self, size: int = 32, skip: int = 0) -> Iterator[PictureBatch]:
        """All pictures in batches, after the first `skip`.

        Raises:
            PictureError: not one picture of the first batches could be read.
        """
        seen = good = 0
        for chunk in self._chunks(size):
            seen += len(chunk)
            if seen <= skip:
                continue
            batch = self._batch(chunk[max(0, skip - (seen - len(chunk))) :], seen)
            if batch is not None:
                good += len(batch.indices)
                yield batch
            elif not good and seen >= 4 * size:
                break
        if not good and self.skipped:
            raise PictureError(f"None of {len(self.skipped)} pictures could be read. The first: {self.skipped[0]}")

    # ---- reading ----

    def _open(self, source: Any) -> Any:
        if isinstance(source, (str, os.PathLike)):
            path = Path(source).expanduser()
            if path.is_dir():
                files = sorted(p for p in path.rglob("*") if p.suffix.lower() in _FILES)
                if not files:
                    raise LensError(f"The folder {str(source)!r} holds no picture files ({', '.join(sorted(_FILES))}).")
                return files
            return [source]
        if isinstance(source, Mapping):
            return list(source.values())
        if isinstance(source, (Dataset, DataLoader, Crops, torch.Tensor, np.ndarray)):
            if isinstance(source, (torch.Tensor, np.ndarray)) and source.ndim == len(self.net.input_shape):
                return source[None]
            return source
        if isinstance(source, Sequence) and not isinstance(source, (bytes, bytearray)):
            return source
        if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
            return source
        if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray, memoryview)):
            return list(source)
        return [source]

    def _chunks(self, size: int) -> Iterator[list[tuple[int, Any]]]:
        if self.loader is not None and self.loader.batch_sampler is not None and not self.one_by_one:
            yield from self._load(self.loader)
            return
        if self.one_by_one:
            numbered: Any = enumerate(self.items if self.loader is None else _unbatched(self.loader))
        else:
            items: Any = self.items
            numbered = ((i, items[i]) for i in range(len(items)))
        chunk: list[tuple[int, Any]] = []
        for pair in numbered:
            chunk.append(pair)
            if len(chunk) == size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def _load(self, loader: Any) -> Iterator[list[tuple[int, Any]]]:
        """Batches of a DataLoader in its own order, with its workers, and with the indices that it drew."""
        numbered = DataLoader(
            _Numbered(loader.dataset), batch_sampler=loader.batch_sampler, num_workers=loader.num_workers,
            collate_fn=list, worker_init_fn=loader.worker_init_fn, multiprocessing_context=loader.multiprocessing_context,
        )  # fmt: skip
        yield from numbered

    def _batch(self, chunk: list[tuple[int, Any]], read: int) -> PictureBatch | None:
        pictures, indices, targets = [], [], []
        for index, item in chunk:
            try:
                picture, target = self._read(item)
            except PictureError as error:
                self._skipped[index] = f"picture {index}: {error}"
                continue
            pictures.append(picture)
            indices.append(index)
            targets.append(target)
        if not pictures:
            return None
        known = [t for t in targets if t is not None]
        return PictureBatch(torch.stack(pictures).float(), indices, known if len(known) == len(targets) else None, read)

    def _read(self, item: Any) -> tuple[torch.Tensor, int | None]:
        target = None
        if isinstance(item, (tuple, list)) and len(item) >= 2 and np.ndim(item[1]) == 0:
            item, target = item[0], int(item[1])
        elif isinstance(item, (tuple, list)) and len(item) == 1:
            item = item[0]
        return self.net.picture(item), target


def source_of(net: Reader, source: Any = None) -> Source:
    """`source` as pictures for `net`; None: the network's own `dataset`, else crops of its sample pictures.

    Raises:
        LensError: no source was given, and the network has no pictures of its own.
    """
    if isinstance(source, Source):
        return source
    if source is None:
        source = net.dataset
    if source is None:
        pictures = list((net.samples or sample_pictures(net.input_shape)).values())
        if not pictures:
            raise LensError(f"{net.name} has no pictures of its own; pass dataset=, a Dataset, folder or list.")
        source = Crops(net, pictures)
    return Source(net, source)


class Crops(Sequence[torch.Tensor]):
    """Square crops of a few pictures at several scales and places, each as large as the network's input.

    A picture is once resized per scale, so that a crop is a slice. Every second crop is mirrored.
    """

    SCALES = (1.0, 0.75, 0.55, 0.4, 0.28, 0.22)  # side of a crop over the picture's short side

    def __init__(self, net: Reader, pictures: Sequence[Any]) -> None:
        self.net, self.pictures = net, list(pictures)
        self._large: list[torch.Tensor] = []
        self._where: list[tuple[int, int, int]] = []
        height, width = net.input_shape[1:]
        for source in self.pictures:
            for scale in self.SCALES:
                sides = round(height / scale), round(width / scale)
                whole = F.interpolate(
                    _whole(net, source)[None], sides, mode="bilinear", antialias=True, align_corners=False
                )
                self._large.append(whole[0].clamp(0, 1))
                rows, columns = (_starts(n, k) for n, k in zip(sides, (height, width), strict=True))
                self._where += [(len(self._large) - 1, top, left) for top in rows for left in columns]

    def __len__(self) -> int:
        return len(self._where)

    def __getitem__(self, index: Any) -> Any:
        large, top, left = self._where[index]
        height, width = self.net.input_shape[1:]
        crop = self._large[large][:, top : top + height, left : left + width]
        return crop.flip(2) if index % 2 else crop


class _Numbered(Dataset[tuple[int, Any]]):
    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> tuple[int, Any]:
        return index, self.dataset[index]


def _unbatched(loader: Any) -> Iterator[Any]:
    """The items of a loader's batches, one by one."""
    if loader.batch_size is None:
        yield from loader
        return
    for batch in loader:
        if isinstance(batch, (tuple, list)):
            yield from zip(*batch, strict=False)
        else:
            yield from batch


def _whole(net: Reader, source: Any) -> torch.Tensor:
    """A picture's middle square at up to four times the input's size."""
    c, height, width = net.input_shape
    return read_picture(source, (c, 4 * height, 4 * width)).float()


def _starts(side: int, crop: int) -> list[int]:
    """First pixels of crops that lie a quarter of their side apart."""
    steps = max(1, math.ceil((side - crop) / (crop / 4)) + 1) if side > crop else 1
    return [round(i * (side - crop) / max(1, steps - 1)) for i in range(steps)]


def _describe(source: Any) -> str:
    return repr(str(source)) if isinstance(source, (str, os.PathLike)) else f"The {type(source).__name__}"
