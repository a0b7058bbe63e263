"""What a sweep is cut into: tasks that any worker can do, in any order, each named by all that its result depends on."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from nn_lens.atlas.storage import digest
from nn_lens.engine.maximizing.plan import read_goal
from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures.datasets import Source
from nn_lens.engine.reading.filters import filter_shape
from nn_lens.errors import LensError, PictureError
from nn_lens.units import Unit

FORMAT = 1
"""Of the folder, as ATLAS.md describes it."""

WHAT = ("filters", "maximizing", "examples", "trust")
"""What can be asked for."""

K = 9
"""Examples at each end."""

SAMPLE = 8192
"""Pictures whose values are kept for quantiles and histograms; of larger datasets they are a uniform sample."""

SEED = 0

_RANGE = (256, 1024)  # pictures in a task, at least and at most
_WORK = 1e11  # multiplications in a task over pictures: 5 to 20 s of one thread
_NUMBERS = 1 << 26  # of all layers in a batch: 256 MiB in float32
_PAGES = ((48, 24, 6), (128, 12, 3), (1 << 30, 4, 1))  # side of a canvas up to which a task has so many units; of trust
_PICTURES = 512  # of the dataset in a shard


@dataclass(frozen=True)
class Task:
    """One piece of work; `key` says as JSON all that its result depends on, and `name` is what its files are called.

    `channels` of a layer, or pictures from `start` to before `stop` for several `layers`, or `pictures` by their numbers.
    `needs`: the name of the shard that it reads.
    """

    what: str
    key: str
    layer: str = ""
    channels: tuple[int, ...] = ()
    layers: tuple[str, ...] = ()
    start: int = 0
    stop: int = 0
    pictures: tuple[int, ...] = ()
    needs: str = ""

    @property
    def name(self) -> str:
        """Without its ending."""
        first = self.channels[0] if self.channels else self.pictures[0] if self.pictures else self.start
        number = f"-{first:06d}" if self.what in ("maximizing", "trust", "range", "pictures") else ""
        layer = f"-{re.sub(r'[^A-Za-z0-9.-]', '_', self.layer)[:80]}" if self.layer else ""
        folder = "ranges" if self.what == "range" else "shards"
        return f"{folder}/{self.what}{layer}{number}-{digest(self.key.encode())[:16]}"

    @property
    def shard(self) -> str:
        """Its file of numbers; written last, so that where it is, all of the task is."""
        return f"{self.name}.safetensors"

    def about(self, name: str) -> Any:
        """An entry of the key."""
        return json.loads(self.key)[name]

    @property
    def units(self) -> tuple[Unit, ...]:
        """The channels, as units."""
        return tuple(Unit(self.layer, channel) for channel in self.channels)

    def __str__(self) -> str:
        if self.what == "range":
            return f"examples of pictures {self.start} to {self.stop - 1}"
        if self.what == "pictures":
            return f"pictures {self.pictures[0]} to {self.pictures[-1]}"
        which = f":{self.channels[0]} to {self.channels[-1]}" if self.channels else ""
        return f"{self.what} of {self.layer or 'all layers'}{which}"


@dataclass(frozen=True)
class Request:
    """What is asked for: of which network, layers and units, over which dataset.

    `channels`: by layer those whose images and trust are made. `dataset`: its identity, "" without one. `own`: that of the
    network's own pictures, whose contrast images have.
    """

    net: Network
    source: Source | None
    channels: Mapping[str, tuple[int, ...]]
    what: tuple[str, ...]
    pixels: bool
    fingerprint: str
    dataset: str
    own: str

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers."""
        return tuple(self.channels)

    def task(self, what: str, layer: str = "", needs: str = "", **about: Any) -> Task:
        """A task, with its key."""
        own: dict[str, Any] = {"format": FORMAT, "nn-lens": metadata.version("nn-lens"), "what": what}
        own |= {"network": self.fingerprint, "layer": layer, "seed": SEED, **about}
        if what in ("maximizing", "trust"):
            own["own"] = self.own
        if what in ("range", "examples", "trust", "pictures"):
            own |= {"dataset": self.dataset, "k": K, "sample": SAMPLE, "batch": self.batch}
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, (list, tuple)) else v for name, v in about.items()}
        return Task(what, json.dumps(own, sort_keys=True), layer, needs=needs, **fields)

    @property
    def batch(self) -> int:
        """Pictures in a forward pass, however few layers are asked for: the same batches give the same bits."""
        numbers = sum(math.prod(layer.output_shape) for layer in self.net.layers)
        return max(1, min(self.net.batch_size(), _NUMBERS // max(1, numbers)))

    # ---- the tasks ----

    def of_layers(self) -> Iterator[Task]:
        """What needs no dataset: receptive fields, filters, maximizing images."""
        yield self.task("fields")
        for layer in self.layers if "filters" in self.what else ():
            if filter_shape(self.net, layer) is not None:
                yield self.task("filters", layer)
        for layer in self.layers if "maximizing" in self.what else ():
            for page in self._pages(layer, 1):
                yield self.task("maximizing", layer, channels=page)

    def examples(self, layer: str) -> Task:
        """Those of a layer, merged of its ranges."""
        return self.task("examples", layer)

    def ranges(self, layers: Sequence[str]) -> Iterator[Task]:
        """The dataset in parts, for several layers at once; each begins where a batch does."""
        assert self.source is not None
        total, step = self.source.total or 0, self._range()
        for start in range(0, total if layers else 0, step):
            yield self.task("range", layers=tuple(layers), start=start, stop=min(total, start + step))

    def trust(self, layer: str) -> Iterator[Task]:
        """What may be believed of the units of a layer whose examples are there."""
        for page in self._pages(layer, 2):
            yield self.task("trust", layer, self.examples(layer).shard, channels=page)

    def pictures(self, indices: Sequence[int]) -> Iterator[Task]:
        """The pixels of pictures."""
        for i in range(0, len(indices), _PICTURES):
            yield self.task("pictures", pictures=tuple(indices[i : i + _PICTURES]))

    def _pages(self, layer: str, column: int) -> Iterator[tuple[int, ...]]:
        """The channels in pages that begin at the same channels whichever are asked for."""
        size = next(row[column] for row in _PAGES if row[0] >= self._side(layer))
        wanted = self.channels[layer]
        for page in sorted({channel // size for channel in wanted}):
            yield tuple(channel for channel in wanted if channel // size == page)

    def _side(self, layer: str) -> int:
        """The longest side of the canvas of a unit's maximizing image; small where it is no picture."""
        if self.net.kind != "picture":
            return 0
        try:
            return max(read_goal(self.net, [Unit(layer, 0)]).shape[1:])
        except LensError:  # which the task will say
            return 0

    def _range(self) -> int:
        """Pictures in a task."""
        work = 0
        for layer in self.net.layers:
            shape = filter_shape(self.net, layer.name) if layer.reason is None else None
            work += math.prod(shape) * layer.channels * math.prod(layer.layout.grid) if shape else 0
        pictures = min(_RANGE[1], max(_RANGE[0], int(_WORK / max(1, work))))
        return max(1, pictures // self.batch) * self.batch


def identity(source: Source) -> str:
    """A text that changes with a dataset: how many pictures, a few of them to the last bit, and the names of its files."""
    total = source.total or 0
    hashed = hashlib.blake2b(f"{total} {source.net.input_shape}".encode(), digest_size=16)
    for index in sorted({i * (total - 1) // 15 for i in range(16)} if total else ()):
        try:
            hashed.update(source[index].numpy().tobytes())
        except PictureError as error:
            hashed.update(str(error).encode())
    items = source.items
    for item in items if isinstance(items, list) and items and isinstance(items[0], Path) else ():
        hashed.update(f"{item.name} {item.stat().st_size} ".encode())
    return hashed.hexdigest()
