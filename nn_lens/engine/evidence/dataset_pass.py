"""What each batch of a dataset adds to the examples of some units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nn_lens.engine.evidence.extremes import Extremes, Side
from nn_lens.engine.evidence.reservoir import Sample
from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures.datasets import PictureBatch
from nn_lens.errors import LensError
from nn_lens.units import Direction, Unit

Score = str | Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Known:
    """What a pass knows at one moment; later batches change nothing of it.

    `kept`: inputs by index, of sources that cannot be asked for them again; uint8 of pictures in [0,1]. `places`: by a
    unit's column, where on its map it is strongest in each picture of the sample, counted row by row; None where the
    pass has not kept that.
    """

    count: int
    top: Side
    bottom: Side
    sample: Sample
    kept: dict[int, torch.Tensor]
    places: Callable[[int], np.ndarray] | None = None


class Pass(Extremes):
    """A pass over a dataset: what each batch adds to the extremes of its units."""

    def __init__(
        self, net: Network, units: Sequence[Unit | Direction], k: int, score: Score, seed: int, keep: bool
    ) -> None:
        super().__init__(len(units), k, seed)
        self.net, self.score, self.keep = net, score, keep
        self.kept: dict[int, torch.Tensor] = {}  # of sources that cannot be asked again
        self._columns: dict[str, list[int]] = {}  # by layer, its channels first, then its directions
        for column in sorted(range(len(units)), key=lambda i: isinstance(units[i], Direction)):
            self._columns.setdefault(units[column].layer, []).append(column)
        self._channels: dict[str, list[int]] = {name: [] for name in self._columns}
        self._vectors: dict[str, list[Any]] = {name: [] for name in self._columns}
        self._places: dict[int, tuple[int, ...]] = {}
        for name, columns in self._columns.items():
            for column in columns:
                unit = units[column]
                if isinstance(unit, Direction):
                    self._vectors[name].append(unit.vector)
                else:
                    self._channels[name].append(unit.channel)
                    if unit.place is not None:
                        self._places[column] = unit.place
        self._where = {column: (name, n) for name, columns in self._columns.items() for n, column in enumerate(columns)}

    def take(self, batch: PictureBatch) -> None:
        """The pictures of a batch."""
        with self.net.evaluation(), torch.no_grad():
            outputs = self.net.outputs(batch.pictures, list(self._columns))
        maps = {name: self._maps(name, m.float()) for name, m in outputs.items()}  # where the network is
        values = torch.empty(len(batch.pictures), len(self._where))
        for name, columns in self._columns.items():
            values[:, columns] = self._scores(maps[name])
        for column, place in self._places.items():
            name, n = self._where[column]
            there: Any = (slice(None), n, *place)
            values[:, column] = maps[name][there].cpu()
        for side, new in self.add(values, batch.indices):
            self._place(side, maps, *new)
        self.read = batch.read
        self._taken(batch, maps)

    def _taken(self, batch: PictureBatch, maps: dict[str, torch.Tensor]) -> None:
        """Keeps what is wanted of a batch besides, with the (N, columns, *grid) `maps` of its layers."""
        if self.keep:
            wanted = self.indices()
            pictures = dict(zip(batch.indices, self._compact(batch.pictures), strict=True))
            self.kept = {i: p.clone() for i, p in {**self.kept, **pictures}.items() if i in wanted}

    def known(self) -> Known:
        """What is known now."""
        return Known(self.count, self.top.snapshot(), self.bottom.snapshot(), self.reservoir.sample(), self.kept)

    def _compact(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures as uint8, if that keeps them."""
        if self.net.kind != "picture" or float(x.min()) < 0 or float(x.max()) > 1:
            return x
        return (x * 255).round().to(torch.uint8)

    def _maps(self, name: str, maps: torch.Tensor) -> torch.Tensor:
        """(N, columns, *grid) of the wanted channels, and of the directions: what is along them."""
        channels, vectors = self._channels[name], self._vectors[name]
        own = maps if channels == list(range(maps.shape[1])) else maps[:, channels]
        if not vectors:
            return own
        return torch.cat([own, torch.einsum("nc...,dc->nd...", maps, torch.tensor(vectors, device=maps.device))], 1)

    def _scores(self, maps: torch.Tensor) -> torch.Tensor:
        if self.score == "max":
            return maps.flatten(2).amax(2).cpu()
        if self.score == "mean":
            return maps.flatten(2).mean(2).cpu()
        assert callable(self.score)
        scores = torch.as_tensor(self.score(maps.cpu()))
        if scores.shape != maps.shape[:2]:
            raise LensError(
                f"score gives one number per picture and channel: of maps {tuple(maps.shape)} it has to give "
                f"{tuple(maps.shape[:2])}, and gave {tuple(scores.shape)}."
            )
        return scores.float().cpu()

    def _place(
        self, side: Side, maps: dict[str, torch.Tensor], columns: torch.Tensor, slots: torch.Tensor, rows: torch.Tensor
    ) -> None:
        """Notes where the new pictures fired most."""
        for name, own in self._columns.items():
            position = torch.full((len(self._where),), -1)
            position[own] = torch.arange(len(own))
            mine = position[columns] >= 0
            if not mine.any():
                continue
            here = maps[name].device
            fired = maps[name][rows[mine].to(here), position[columns[mine]].to(here)]
            side.places[columns[mine], slots[mine]] = strongest(fired).cpu()
        for column, place in self._places.items():
            grid = maps[self._where[column][0]].shape[2:]
            side.places[column] = int(np.ravel_multi_index(place, grid))


def strongest(maps: torch.Tensor) -> torch.Tensor:
    """(N,) where (N,*grid) maps are highest, counted row by row; the middle of maps that are the same everywhere."""
    grid = tuple(maps.shape[1:])
    flat = maps.flatten(1).nan_to_num(-torch.inf)
    middle = int(np.ravel_multi_index([n // 2 for n in grid], grid))
    return torch.where(flat.amax(1) > flat.amin(1), flat.argmax(1), middle)
