"""Dataset examples in parts: what a range of pictures adds, and how the parts of a layer are merged.

Both ends are those of one pass over all: a merge orders by value and then by index, whichever part comes first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from nn_lens.atlas.storage import about_of, read_shard
from nn_lens.atlas.tasks import SAMPLE, SEED, K
from nn_lens.engine.evidence.dataset_pass import Known, Pass, strongest
from nn_lens.engine.evidence.examples import DatasetExamples
from nn_lens.engine.evidence.extremes import NONE, Side
from nn_lens.engine.evidence.reservoir import Reservoir, Sample
from nn_lens.engine.network.network import Network, receptive_field
from nn_lens.engine.pictures.datasets import PictureBatch
from nn_lens.units import Unit

Arrays = dict[str, np.ndarray]
SIDES = ("top", "bottom")
_HASH = 8  # bytes of the hash of a picture


class RangePass(Pass):
    """A pass over some pictures that keeps, of those of the sample, every unit's value and place, and hashes of all."""

    def __init__(self, net: Network, layers: Sequence[str], total: int) -> None:
        units = [Unit(layer, channel) for layer in layers for channel in range(net[layer].layout.channels)]
        super().__init__(net, units, K, "max", SEED, keep=False)
        self.reservoir = Reservoir(
            len(units), 0, SEED
        )  # it only counts: which pictures are kept does not hang on the part
        self.hashes: dict[int, bytes] = {}
        self._sample = set(sampled(total).tolist())
        self._sampled: list[int] = []
        self._numbers: dict[str, list[Any]] = {layer: [] for layer in layers}

    def _taken(self, batch: PictureBatch, maps: dict[str, torch.Tensor]) -> None:
        for index, picture in zip(batch.indices, batch.pictures, strict=True):
            self.hashes[index] = hash_of(picture)
        rows = [row for row, index in enumerate(batch.indices) if index in self._sample]
        self._sampled += [batch.indices[row] for row in rows]
        for layer, own in maps.items() if rows else ():
            flat = own[rows].flatten(0, 1)
            places = strongest(flat).reshape(len(rows), -1)
            values = flat.flatten(1).amax(1).reshape(len(rows), -1)
            self._numbers[layer].append((values.cpu().numpy(), places.cpu().numpy()))

    def arrays(self) -> Arrays:
        """All there is, for a shard: by layer and side, values, indices and places; the sample."""
        found: Arrays = {"sample_indices": np.array(self._sampled, np.int64), **_hashes(self.hashes)}
        for layer, columns in self._columns.items():
            for name, side in zip(SIDES, (self.top, self.bottom), strict=True):
                found |= {f"{layer} {key}": value for key, value in _numbers(_of_columns(side, columns), name).items()}
            parts, channels = self._numbers[layer], len(columns)
            for i, key in enumerate(("values", "places")):
                empty = np.zeros((0, channels), np.float32 if i == 0 else np.int64)
                whole = np.concatenate([empty, *(part[i] for part in parts)])
                found[f"{layer} sample_{key}"] = whole if i == 0 else whole.astype(np.int32)
        return found


def sampled(total: int) -> np.ndarray:
    """The pictures of a dataset whose values are kept: all, or a uniform sample, in order."""
    if total <= SAMPLE:
        return np.arange(total)
    return np.sort(np.random.default_rng(SEED).choice(total, SAMPLE, replace=False))


def hash_of(picture: torch.Tensor) -> bytes:
    """Of an input as the network reads it; of pictures in [0,1] their levels, so that it does not hang on a last bit."""
    levels = (
        (picture * 255).round().to(torch.uint8) if 0 <= float(picture.min()) <= float(picture.max()) <= 1 else picture
    )
    return hashlib.blake2b(levels.contiguous().numpy().tobytes(), digest_size=_HASH).digest()


def merged(net: Network, layer: str, parts: Sequence[Mapping[str, np.ndarray]]) -> Arrays:
    """A layer's examples of all ranges, in their order."""
    sides = {}
    for name, sign in zip(SIDES, (1, -1), strict=True):
        own = [
            _side({key: part[f"{layer} {name}_{key}"] for key in ("values", "indices", "places")}, sign)
            for part in parts
        ]
        for other in own[1:]:
            own[0].join(other)
        sides[name] = own[0]
    found: Arrays = {"sample_indices": np.concatenate([part["sample_indices"] for part in parts])}
    for key in ("values", "places"):
        found[f"sample_{key}"] = np.concatenate([part[f"{layer} sample_{key}"] for part in parts])
    if not len(found["sample_places"]) or found["sample_places"].max() < 1 << 16:
        found["sample_places"] = found["sample_places"].astype(np.uint16)
    wanted = sorted({int(i) for side in sides.values() for i in side.indices.unique().tolist()} - {NONE})
    known = {
        int(i): h.tobytes()
        for part in parts
        for i, h in zip(part["picture_indices"], part["picture_hashes"], strict=True)
    }
    found |= _hashes({index: known[index] for index in wanted})
    for name, side in sides.items():
        found |= {**_numbers(side, name), f"{name}_boxes": _boxes(net, layer, side)}
    return found


def opened(
    net: Network, source: Any, layer: str, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]
) -> DatasetExamples:
    """A layer's examples as `nl.dataset_examples` gives them, of the numbers of a shard.

    source: gives the pictures by their numbers.
    """
    top, bottom = (
        _side({key: arrays[f"{name}_{key}"] for key in ("values", "indices", "places")}, sign)
        for name, sign in zip(SIDES, (1, -1), strict=True)
    )
    numbers, places = torch.from_numpy(arrays["sample_indices"]), arrays["sample_places"]
    sample = Sample(torch.from_numpy(arrays["sample_values"]), numbers, len(numbers))
    known = Known(about["count"], top, bottom, sample, {}, lambda column: places[:, column].astype(np.int64))
    units = tuple(Unit(layer, channel) for channel in range(net[layer].layout.channels))
    return DatasetExamples(units, top.k, "max", about["count"], tuple(about["skipped"]), net, known, source)


def _side(numbers: Mapping[str, np.ndarray], sign: int) -> Side:
    side = Side(len(numbers["values"]), numbers["values"].shape[1], sign)
    side.values = torch.from_numpy(numbers["values"])
    indices = torch.from_numpy(numbers["indices"])
    side.indices = torch.where(indices < 0, NONE, indices)
    side.places = torch.from_numpy(numbers["places"].astype(np.int64))
    return side


def _of_columns(side: Side, columns: Sequence[int]) -> Side:
    own = Side(len(columns), side.k, side.sign)
    own.values, own.indices, own.places = side.values[columns], side.indices[columns], side.places[columns]
    return own


def _numbers(side: Side, name: str) -> Arrays:
    """For a shard: the index is -1 where there were fewer pictures."""
    return {
        f"{name}_values": side.values.numpy(), f"{name}_places": side.places.numpy().astype(np.int32),
        f"{name}_indices": np.where(side.indices.numpy() == NONE, -1, side.indices.numpy()),
    }  # fmt: skip


def _hashes(known: Mapping[int, bytes]) -> Arrays:
    indices = sorted(known)
    hashes = np.frombuffer(b"".join(known[i] for i in indices), np.uint8).reshape(-1, _HASH)
    return {"picture_indices": np.array(indices, np.int64), "picture_hashes": hashes}


def _boxes(net: Network, layer: str, side: Side) -> np.ndarray:
    """(units, k, 2 axes) int32: what the neuron at each place sees of its picture, all starts and then all stops."""
    field, grid = receptive_field(net, layer), net[layer].layout.grid
    if net.kind == "vector":
        return np.zeros((*side.indices.shape, 0), np.int32)
    boxes: dict[int, tuple[int, ...]] = {}
    rows = []
    for place in side.places.flatten().tolist():
        if place not in boxes:
            boxes[place] = field.box(*(int(i) for i in np.unravel_index(place, grid)))
        rows.append(boxes[place])
    return np.array(rows, np.int32).reshape(*side.indices.shape, -1)


def read_part(file: Path, layer: str) -> tuple[Arrays, dict[str, Any]]:
    """What a range says of a layer; no more of the file is read."""
    with safe_open(file, framework="np") as stream:
        about = about_of(stream.metadata())
        mine = [name for name in stream.keys() if name.startswith((f"{layer} ", "sample_", "picture_"))]  # noqa: SIM118
        return {name: stream.get_tensor(name) for name in mine}, about


def shown(net: Network, layer: str, file: Path) -> set[int]:
    """The pictures among a layer's examples: those of both ends, and those at even ranks between."""
    known = opened(net, _Anything(), layer, *read_shard(file.read_bytes()))
    ends = {i for side in (known._known.top, known._known.bottom) for i in side.indices.unique().tolist()} - {NONE}
    return ends | {example.index for unit in known.units for example in known.spectrum(unit)}


class _Anything:
    """In place of a dataset whose pictures are not asked for."""

    one_by_one = False
