"""Many pictures, or whatever a network reads, as batches of tensors: folders, lists, Datasets and DataLoaders."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from nn_lens.engine.pictures.crops import Crops
from nn_lens.engine.pictures.files import is_file, is_url
from nn_lens.engine.pictures.items import FILES, Unreadable, class_of, entries, is_values, items_of_array, parts
from nn_lens.engine.pictures.samples import sample_pictures
from nn_lens.engine.pictures.values import FORMS, load_npy
from nn_lens.errors import LensError, PictureError, one_line


class Reader(Protocol):
    """What is to be known of a network to read pictures for it."""

    input_shape: tuple[int, ...]
    kind: str
    labels: tuple[str, ...] | None
    dataset: Any
    samples: dict[str, Any]

    @property
    def name(self) -> str:
        """What it is called."""

    def picture(self, source: Any) -> torch.Tensor:
        """One picture as a (C,H,W) tensor in [0,1]; of other kinds, a tensor of `input_shape`."""


@dataclass(frozen=True)
class PictureBatch:
    """`pictures` (N,*input_shape), (N,C,H,W) in [0,1] of pictures, and their `indices` in the source.

    `targets`: their class indices, None unless all have one. `read`: how many pictures of the source were read up to
    here, with those that could not be.
    """

    pictures: torch.Tensor
    indices: list[int]
    targets: list[int] | None
    read: int


class Source:
    """Pictures for a network, in order, from any source; for networks that read something else, that.

    source: a Dataset or DataLoader, a folder (its picture files, also those of folders in it, by name; .npy files for
    other kinds), a list or a dictionary of pictures, an (N,*input_shape) tensor or array or a .npy file of one,
    a generator, or one picture. Items are pictures, (picture, target, ...) or dictionaries such as
    {"image": .., "label": ..}. A target is kept where it is a class: a whole number, or one of the network's labels.

    Raises:
        LensError: what cannot be a source of pictures, or an empty one.
    """

    def __init__(self, net: Reader, source: Any) -> None:
        self.net = net
        self._skipped: dict[int, str] = {}
        self._range: range | None = None  # of a part, the pictures that it has
        self.items: Any = self._open(source)
        self.loader: Any = self.items if isinstance(self.items, DataLoader) else None
        if self.loader is not None:
            self.items = self.loader.dataset
        # Whether no picture can be asked for again.
        self.one_by_one = isinstance(self.items, IterableDataset) or not hasattr(self.items, "__getitem__")
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
        except (TypeError, AttributeError):
            return None

    @property
    def skipped(self) -> list[str]:
        """Why each picture that could not be read so far could not."""
        return list(self._skipped.values())

    def __getitem__(self, index: int) -> torch.Tensor:
        """One picture, as the network sees it.

        Raises:
            PictureError: it cannot be read.
        """
        return self._read(self._item(index))[0]

    def target(self, index: int) -> int | None:
        """The class index of one picture, None where the source has none, or cannot be asked."""
        if self.one_by_one:
            return None
        try:
            return self._class(parts(self._item(index), self.net.input_shape)[1])
        except PictureError:
            return None

    def part(self, start: int, stop: int) -> Source:
        """The pictures from number `start` to before `stop`, under their own numbers, of a source that can be asked for each."""
        own = copy.copy(self)
        own._range, own._skipped = range(start, stop), {}
        return own

    def batches(self, size: int = 32, skip: int = 0) -> Iterator[PictureBatch]:
        """All pictures in batches, after the first `skip`.

        Raises:
            PictureError: not one picture of the first batches could be read; of a part, that is no error.
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
            elif not good and seen >= 4 * size and self._range is None:
                break
        if not good and self.skipped and self._range is None:
            raise PictureError(f"None of {len(self.skipped)} pictures could be read. The first: {self.skipped[0]}")

    # ---- opening ----

    def _open(self, source: Any) -> Any:
        shape = self.net.input_shape
        if isinstance(source, (str, os.PathLike)):
            path = Path(source).expanduser()
            if not is_url(source) and path.is_dir():
                return self._folder(path)
            if path.suffix.lower() == ".npy":
                source = load_npy(source, lazily=True)
        if is_file(source) or is_values(source, shape):
            return [source]
        if isinstance(source, Mapping):
            return list(source.values())
        if isinstance(source, (torch.Tensor, np.ndarray)):
            return items_of_array(source, shape)
        if isinstance(source, (Dataset, DataLoader, Sequence)):
            return source
        if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
            return source
        if isinstance(source, Iterable):
            once = isinstance(source, Iterator) or hasattr(source, "__len__")
            return list(source) if once else source
        return [source]

    def _folder(self, path: Path) -> list[Path]:
        suffixes = FILES if self.net.kind == "picture" else {".npy"}
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes)
        if not files:
            what = "picture" if self.net.kind == "picture" else "array"
            raise LensError(f"The folder {str(path)!r} holds no {what} files ({', '.join(sorted(suffixes))}).")
        return files

    # ---- reading ----

    def _chunks(self, size: int) -> Iterator[list[tuple[int, Any]]]:
        whole = self._range is None
        if whole and self.loader is not None and self.loader.batch_sampler is not None and not self.one_by_one:
            yield from self._load(self.loader)
            return
        if self.one_by_one:
            numbered: Any = enumerate(self._stream())
        else:
            order = self._range or (range(len(self.items)) if self.loader is None else _order(self.loader))
            numbered = ((i, self._item(i)) for i in order)
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
            collate_fn=_Collated(loader.collate_fn, self.net.input_shape) if self._collates else list,
            worker_init_fn=loader.worker_init_fn, multiprocessing_context=loader.multiprocessing_context,
        )  # fmt: skip
        yield from numbered

    def _stream(self) -> Iterator[Any]:
        """The items of what can only be gone through, those of batches one by one."""
        surely = self.loader is not None and self.loader.batch_size is not None
        for batch in self.items if self.loader is None else self.loader:
            several = entries(batch, self.net.input_shape, surely)
            yield from [batch] if several is None else several

    @cached_property
    def _collates(self) -> bool:
        """Whether the loader's own collate_fn makes pictures of what its dataset gives, which are none."""
        if self.loader is None or self.one_by_one or self.loader.collate_fn is default_collate:
            return False
        raw = _Numbered(self.items)[0]
        return not self._readable(raw) and self._readable(
            _Collated(self.loader.collate_fn, self.net.input_shape)([raw])[0]
        )

    def _readable(self, pair: tuple[int, Any]) -> bool:
        try:
            self._read(pair[1])
        except PictureError:
            return False
        return True

    def _item(self, index: int) -> Any:
        pair = _Numbered(self.items)[index]
        if self._collates:
            pair = _Collated(self.loader.collate_fn, self.net.input_shape)([pair])[0]
        return pair[1]

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
        picture, target = parts(item, self.net.input_shape)
        return self.net.picture(picture), self._class(target)

    def _class(self, target: Any) -> int | None:
        return class_of(target, self._indices)

    @cached_property
    def _indices(self) -> dict[str, int]:
        labels = self.net.labels or ()
        return {label: i for i, label in enumerate(labels) if labels.count(label) == 1}


def source_of(net: Reader, source: Any = None) -> Source:
    """`source` as pictures for `net`; None: the network's own `dataset`, else its samples, pictures as crops of them.

    Raises:
        LensError: no source was given, and the network has no pictures of its own.
    """
    if isinstance(source, Source):
        return source
    if source is None:
        source = net.dataset
    if source is not None:
        return Source(net, source)
    samples = list((net.samples or sample_pictures(net.input_shape)).values())
    if not samples:
        raise LensError(
            f"{net.name} has no {net.kind}s of its own; pass dataset=, a Dataset, folder or list"
            + ("." if net.kind == "picture" else f" of {net.kind}s {FORMS[net.kind]}, here {net.input_shape}.")
        )
    return Source(net, Crops(net.input_shape, samples) if net.kind == "picture" else samples)


class _Numbered(Dataset[tuple[int, Any]]):
    """A dataset's items with their indices; a file that it cannot read becomes the item, for the others to go on."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> tuple[int, Any]:
        try:
            return index, self.dataset[index]
        except PictureError as error:
            return index, Unreadable(str(error))
        except (OSError, SyntaxError) as error:  # as Pillow raises them
            return index, Unreadable(f"the dataset raised {_said(error)}.")


@dataclass(frozen=True)
class _Collated:
    """The items of a batch as a loader's collate_fn makes them, with their indices."""

    collate: Callable[[list[Any]], Any]
    shape: tuple[int, ...]

    def __call__(self, pairs: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
        good = [pair for pair in pairs if not isinstance(pair[1], Unreadable)]
        bad = [pair for pair in pairs if isinstance(pair[1], Unreadable)]
        if not good:
            return bad
        try:
            made = entries(self.collate([item for _, item in good]), self.shape, True)
            why = "the loader's collate_fn does not give one entry per item"
        except Exception as error:
            made, why = None, f"the loader's collate_fn raised {_said(error)}"
        if made is None or len(made) != len(good):
            return bad + [(index, Unreadable(f"{why}.")) for index, _ in good]
        return bad + [(index, item) for (index, _), item in zip(good, made, strict=True)]


def _order(loader: Any) -> Iterator[int]:
    """The indices that a loader without batches draws."""
    for drawn in loader.sampler:
        yield from drawn if isinstance(drawn, (list, tuple)) else [drawn]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)}"


def _describe(source: Any) -> str:
    return repr(str(source)) if isinstance(source, (str, os.PathLike)) else f"The {type(source).__name__}"
