"""An atlas, opened: every unit's images, examples and trust, without the network."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nn_lens.atlas import examples as examples_of
from nn_lens.atlas import site
from nn_lens.atlas.fields import StoredFields
from nn_lens.atlas.index import NAME, Index, Missing, read_index
from nn_lens.atlas.jpegs import picture_of
from nn_lens.atlas.storage import Storage, digest, read_shard
from nn_lens.atlas.stored import StoredNetwork
from nn_lens.atlas.work import SIDES
from nn_lens.engine.evidence.examples import DatasetExamples
from nn_lens.engine.evidence.trust import Badge
from nn_lens.engine.maximizing.maximized import Maximized
from nn_lens.engine.network.layer import Layer
from nn_lens.engine.pictures.datasets import Source, source_of
from nn_lens.engine.reading.filters import Filters, filter_shape
from nn_lens.engine.reading.filters import filters as filters_of
from nn_lens.errors import LensError, PictureError
from nn_lens.sessions.cache import Latest
from nn_lens.units import Unit, as_unit

_CHANGED = f"{{!r}} is not what {NAME} says that it is: it was cut off or changed."
_SHARDS, _EXAMPLES = 32, 2  # that are kept in memory; examples of a wide layer are 100 MB


class Atlas:
    """What `nl.sweep` has computed, in a folder or on a web server; it needs neither the model nor its weights.

    Args:
        path: the folder, or its URL.
        dataset: the pictures that the examples are of, where the atlas does not hold them; as `nl.sweep` was given them.

    Results are those of the live calls: of `nl.maximize`, with images that were kept as JPEG, of `nl.dataset_examples`, badges
    of `nl.trust`, and of `nl.filters`.

    Raises:
        LensError: there is no atlas, or it is of a later version.

    >>> import tempfile, concurrent.futures
    >>> net = nl.Network(torch.nn.Sequential(torch.nn.Conv2d(3, 2, 5), torch.nn.ReLU()), (3, 16, 24))
    >>> folder = tempfile.TemporaryDirectory()
    >>> with concurrent.futures.ThreadPoolExecutor(1) as executor:
    ...     _ = nl.sweep(net, folder.name, units="1:0", what="maximizing", executor=executor, progress=False)
    >>> atlas = nl.Atlas(folder.name)
    >>> atlas.images("1:0").goals, [layer.name for layer in atlas.layers], atlas.missing
    (('1:0',), ['1'], ())
    >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str], dataset: Any = None, *, index: Index | None = None) -> None:
        self._storage = Storage(path)
        self._index = index.content() if index else read_index(self._read_index(), str(self._storage))
        self._shards: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for entry in self._index["shards"]:
            self._shards.setdefault((entry["what"], entry["layer"]), []).append(entry)
        self._latest, self._of_examples, self._lock = Latest(_SHARDS), Latest(_EXAMPLES), threading.Lock()
        self._whole: set[str] = set()  # zips in a folder that were found to be as they should
        self.net = StoredNetwork(self._index, self._fields)
        self._dataset = _Pictures(self, dataset)

    def _read_index(self) -> bytes:
        try:
            return self._storage.read(NAME)
        except LensError as error:
            raise LensError(
                f"There is no atlas at {self._storage}: it has no {NAME} that could be read. {error}"
            ) from error

    # ---- what it holds ----

    @property
    def path(self) -> str:
        """The folder or the URL."""
        return self._storage.url or str(self._storage.folder)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of which it holds anything, in the order of the forward pass."""
        return self.net.layers

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What was asked for and could not be made, each with its reason."""
        return tuple(
            Missing(
                m["what"],
                m["layer"],
                tuple(m["channels"]),
                tuple(m["pictures"]) if m["pictures"] else None,
                m["reason"],
            )
            for m in self._index["missing"]
        )

    @property
    def about(self) -> Mapping[str, Any]:
        """atlas.json: network, settings, dataset and licence, layers, shards."""
        return self._index

    def fingerprint(self) -> str:
        """That of the network that it was made of, as `net.fingerprint()` gives it."""
        return self.net.fingerprint()

    def images(self, unit: Unit | str | Iterable[Unit | str], negative: bool = False) -> Maximized:
        """The maximizing images of a unit, or of several of one layer; `negative`: what they want least.

        Raises:
            UnknownLayer, UnknownUnit: there is none of that name. LensError: it holds no images of it; says why.
        """
        several = self.net.units([unit] if isinstance(unit, (str, Unit)) else unit)
        if len({u.layer for u in several}) != 1:
            raise LensError("Images are of units of one layer.")
        found = [self._image(u, SIDES[int(negative)]) for u in several]
        first = found[0]
        steps = max(f.steps for f in found)
        history = np.full((steps, len(found)), np.nan, np.float32)
        for i, f in enumerate(found):
            history[: f.steps, i] = f.history[:, 0]
        return Maximized(
            tuple(f.goals[0] for f in found), np.concatenate([f.images for f in found]),
            np.concatenate([f.activations for f in found]), history, steps, 0.0, tuple(f.notes[0] for f in found),
            first.kind, first.remark, first.canvases,
        )  # fmt: skip

    def examples(self, layer: str) -> DatasetExamples:
        """The real pictures that move the units of a layer most and least.

        Their pixels, such as an example's `patch`, are there where the atlas was made with `pixels=True`, or was opened
        with `dataset=`.

        Raises:
            UnknownLayer: it holds no such layer. LensError: it holds no examples of it; says why.
        """
        entry = self._entry("examples", self.net[layer].name)
        return examples_of.opened(self.net, self._dataset, layer, *self._shard(entry))

    def shows(self, layer: str, index: int, picture: torch.Tensor) -> bool:
        """Whether a picture, as the network reads it, is the one of that number in the dataset that the examples are of."""
        numbers, _ = self._shard(self._entry("examples", self.net[layer].name))
        rows = np.flatnonzero(numbers["picture_indices"] == index)
        return len(rows) == 1 and numbers["picture_hashes"][rows[0]].tobytes() == examples_of.hash_of(picture)

    def trust(self, unit: Unit | str) -> tuple[Badge, ...]:
        """How far the maximizing image of a unit may be believed, as `nl.trust` says it.

        Raises:
            UnknownLayer, UnknownUnit: there is none of that name. LensError: it holds no trust of it; says why.
        """
        unit = self._channel(unit)
        entry = self._entry("trust", unit.layer, unit.channel)
        tensors, about = self._shard(entry)
        row = entry["channels"].index(unit.channel)
        words = about["badges"][row]
        return tuple(
            Badge(float(value), name, text, bool(warning))
            for value, (name, text, warning) in zip(tensors["values"][row], words, strict=False)
        )

    def filters(self, layer: str) -> Filters:
        """The weights of a layer.

        Raises:
            UnknownLayer: it holds no such layer. LensError: it holds no filters of it; says why.
        """
        if filter_shape(self.net, layer) is None:
            return filters_of(self.net, layer)  # which says why there are none
        tensors, about = self._shard(self._entry("filters", layer))
        return Filters(layer, tensors["weights"], about["reads_rgb"])

    def to_site(self, folder: str | os.PathLike[str]) -> None:
        """Writes a static site: a page per layer, an address per unit such as relu2.html#12, thumbnails, search and keys.

        It opens from a disk and from any web server, without this package and without a network: index.html is its first page.

        Raises:
            LensError: the folder cannot be written.
        """
        site.write(self, Path(folder).expanduser())

    def shards(self, what: str, layer: str) -> list[dict[str, Any]]:
        """What atlas.json says of the shards of something."""
        return self._shards.get((what, layer), [])

    def __repr__(self) -> str:
        holds: dict[str, set[str]] = {}
        for (what, layer), _ in sorted(self._shards.items()):
            holds.setdefault(what, set()).add(layer)
        said = ", ".join(
            f"{w} of {len(holds[w])}" for w in ("filters", "maximizing", "examples", "trust") if w in holds
        )
        missing = f", {len(self.missing)} missing" if self.missing else ""
        return f"<Atlas of {self.net.name}: {len(self.layers)} layers{said and f', {said}'}{missing}>"

    # ---- shards ----

    def _fields(self) -> StoredFields:
        return StoredFields(*self._shard(self._entry("fields", "")))

    def _entry(self, what: str, layer: str, channel: int | None = None) -> dict[str, Any]:
        """The shard of something, the latest where there are several."""
        for entry in reversed(self._shards.get((what, layer), [])):
            if channel is None or channel in entry["channels"]:
                return dict(entry)
        of = layer if channel is None else f"{layer}:{channel}"
        for m in self.missing:
            concerns = m.layer in ("", layer) and (channel is None or not m.channels or channel in m.channels)
            if m.what in (what, {"examples": "range"}.get(what)) and concerns:
                raise LensError(f"The atlas has no {what} of {of}: {m.reason}.")
        raise LensError(f"The atlas holds no {what} of {of}; nl.sweep(net, out, what={what!r}) adds them.")

    def _shard(self, entry: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        name = f"{entry['file']}.safetensors"

        def read() -> Any:
            data = self._storage.read(name)
            if digest(data) != entry["files"][".safetensors"]["digest"]:
                raise LensError(_CHANGED.format(name))
            return read_shard(data)

        with self._lock:
            latest = self._of_examples if entry["what"] == "examples" else self._latest
            found: tuple[dict[str, np.ndarray], dict[str, Any]] = latest.get(name, read)
            return found

    def _jpeg(self, entry: Mapping[str, Any], places: np.ndarray, number: int) -> np.ndarray:
        start, stop = (int(n) for n in places[number])
        name = f"{entry['file']}.zip"
        if self._storage.folder is not None and name not in self._whole:  # over a network it would be too much to read
            if digest(self._storage.read(name)) != entry["files"][".zip"]["digest"]:
                raise LensError(_CHANGED.format(name))
            self._whole.add(name)
        try:
            return picture_of(self._storage.read(name, start, stop))
        except (OSError, SyntaxError, ValueError) as error:
            raise LensError(_CHANGED.format(name)) from error

    def _image(self, unit: Unit, side: str) -> Maximized:
        unit = self._channel(unit)
        entry = self._entry("maximizing", unit.layer, unit.channel)
        tensors, about = self._shard(entry)
        own, row = about[side], entry["channels"].index(unit.channel)
        if f"{side}_images" in tensors:
            image = tensors[f"{side}_images"][row]
        else:
            image = self._jpeg(entry, tensors["places"], SIDES.index(side) * len(entry["channels"]) + row)
        canvases = tuple((first, tuple(sides)) for first, sides in own["canvases"])
        return Maximized(
            (own["goals"][row],), image[None], tensors[f"{side}_activations"][row : row + 1],
            tensors[f"{side}_history"][:, row : row + 1], own["steps"], 0.0, (own["notes"][row],), self.net.kind,
            own["remark"], canvases,
        )  # fmt: skip

    def _channel(self, unit: Unit | str) -> Unit:
        asked = self.net.unit(as_unit(unit))
        return Unit(asked.layer, asked.channel)

    def _picture(self, index: int) -> torch.Tensor | None:
        """A picture of the dataset that is kept, None where it is not."""
        for entry in self._shards.get(("pictures", ""), []):
            if index in entry["pictures"]:
                tensors, _ = self._shard(entry)
                rows = np.flatnonzero(tensors["indices"] == index)
                if len(rows) and "inputs" in tensors:
                    return torch.from_numpy(tensors["inputs"][rows[0]])
                if len(rows):
                    return torch.from_numpy(self._jpeg(entry, tensors["places"], int(rows[0])))
        return None


class _Pictures:
    """The pictures of the examples by their numbers: those that the atlas holds, else those of the dataset that it was given."""

    one_by_one = False
    skipped: tuple[str, ...] = ()

    def __init__(self, atlas: Atlas, dataset: Any) -> None:
        self._atlas, self._given = atlas, dataset
        self._source: Source | None = None

    @property
    def total(self) -> int | None:
        """How many there are in the dataset."""
        about = self._atlas.about["dataset"]
        return about["total"] if about else None

    def __getitem__(self, index: int) -> torch.Tensor:
        kept = self._atlas._picture(index)
        if kept is not None:
            return kept
        if self._given is None:
            raise PictureError(
                f"The atlas does not hold picture {index} of the dataset, only its number; pass the pictures: "
                "nl.Atlas(path, dataset=...), or make it with pixels=True."
            )
        if self._source is None:
            self._source = source_of(_Reader(self._atlas.net), self._given)
        return self._source[index]


class _Reader:
    """What is to be known of a network to read pictures for it, where there is no network."""

    def __init__(self, net: StoredNetwork) -> None:
        self.input_shape, self.kind, self.labels, self.name = net.input_shape, net.kind, net.labels, net.name
        self.dataset, self.samples = None, dict[str, Any]()

    def picture(self, source: Any) -> torch.Tensor:
        """As the network reads it."""
        from nn_lens.engine.pictures.picture import read_picture

        return read_picture(source, self.input_shape, self.kind, False)
