"""Per unit, the highest and lowest values of a stream of pictures, where they were, and a uniform sample of all."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nn_lens.engine.evidence.reservoir import Reservoir
from nn_lens.errors import LensError

NONE = 2**62  # an index that no picture has
_SAMPLE_BYTES = 64 << 20  # of the values that quantiles and histograms are made of


class Side:
    """The `k` highest values of each of some units, highest first, ties by index; `sign` -1 for the lowest.

    `values`, `indices`, `places` (units, k); indices are `NONE` where there were fewer pictures, places count along the
    map as it lies in memory, row by row.
    """

    def __init__(self, units: int, k: int, sign: int) -> None:
        self.k, self.sign = k, sign
        self.values = torch.full((units, k), -sign * torch.inf)
        self.indices = torch.full((units, k), NONE)
        self.places = torch.zeros(units, k, dtype=torch.long)

    def add(self, values: torch.Tensor, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Takes (N, units) values; (unit, slot, row of `values`) of those that are new among the `k`."""
        keys = torch.where(values.isnan(), -self.sign * torch.inf, values).T
        numbers = torch.where(values.isnan(), NONE, indices[:, None]).T
        order = self._take(keys, numbers)
        old = order.clamp(max=self.k - 1)
        self.places = self.places.gather(1, old)
        units, slots = torch.nonzero((order >= self.k) & (self.indices != NONE), as_tuple=True)
        return units, slots, order[units, slots] - self.k

    def join(self, other: Side) -> None:
        """Takes what another part of the stream has: both are then as if one had seen all, whichever comes first."""
        order = self._take(other.values, other.indices)
        self.places = torch.cat([self.places, other.places], 1).gather(1, order)

    def _take(self, keys: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """The `k` first of what there is and of (units, n) more; (units, k) where each was among both."""
        keys, numbers = torch.cat([self.values, keys], 1), torch.cat([self.indices, numbers], 1)
        order = numbers.argsort(dim=1, stable=True)
        highest = keys.gather(1, order).argsort(dim=1, descending=self.sign > 0, stable=True)[:, : self.k]
        order = order.gather(1, highest)
        self.values, self.indices = keys.gather(1, order), numbers.gather(1, order)
        return order

    def snapshot(self) -> Side:
        """What it is now: `add` makes new tensors, and writes on none that was there before."""
        return copy.copy(self)

    def state(self, name: str) -> dict[str, np.ndarray]:
        """All there is, for a file."""
        return {f"{name}_{key}": getattr(self, key).numpy() for key in ("values", "indices", "places")}

    def load(self, name: str, data: Mapping[str, np.ndarray]) -> None:
        """What `state` gave."""
        for key in ("values", "indices", "places"):
            setattr(self, key, torch.from_numpy(data[f"{name}_{key}"]))


class Extremes:
    """Both sides of a stream, and its sample: memory is that of `k` and of the sample, however long it is.

    `count` pictures so far, of `read` that were read; `reservoir` (n, units) of their values.
    """

    def __init__(self, units: int, k: int, seed: int) -> None:
        self.top, self.bottom = Side(units, k, 1), Side(units, k, -1)
        most = int(min(65536, max(1024, _SAMPLE_BYTES // (4 * max(1, units)))))
        self.reservoir = Reservoir(units, most, seed)
        self.read = 0

    @property
    def count(self) -> int:
        """Pictures so far."""
        return self.reservoir.seen

    def add(self, values: torch.Tensor, indices: Sequence[int]) -> list[tuple[Side, Any]]:
        """Takes (N, units) values of N pictures; per side what is new, as `Side.add` gives it."""
        numbers = torch.tensor(indices)
        self.reservoir.add(values, numbers)
        return [(side, side.add(values, numbers)) for side in (self.top, self.bottom)]

    def indices(self) -> set[int]:
        """Pictures that stand on a side."""
        return set(torch.cat([self.top.indices, self.bottom.indices]).unique().tolist()) - {NONE}

    def save(self, file: Path, settings: Mapping[str, Any]) -> None:
        """Writes all to a file, with the settings of the pass."""
        data = {
            "settings": np.array(json.dumps(settings)), "count": np.array([self.count, self.read]),
            "random": np.array(json.dumps(self.reservoir.random.bit_generator.state)),
            "sample": self.reservoir.values.numpy(), "sampled": self.reservoir.indices.numpy(),
            **self.top.state("top"), **self.bottom.state("bottom"),
        }  # fmt: skip
        part = file.with_name(file.name + ".part")
        with part.open("wb") as stream:
            np.savez(stream, **data)  # type: ignore[arg-type]
        part.replace(file)

    def load(self, file: Path, settings: Mapping[str, Any]) -> None:
        """Goes on from a file.

        Raises:
            LensError: the file is of a pass with other settings, or not of a pass.
        """
        try:
            data = np.load(file)
            kept = json.loads(str(data["settings"]))
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise LensError(f"{file.name!r} is not a kept pass of dataset examples ({error}); name another.") from None
        other = [key for key in settings if kept.get(key) != settings[key]]
        if other:
            raise LensError(f"{file.name!r} was kept for other {' and '.join(other)}; name another file, or delete it.")
        count, self.read = (int(n) for n in data["count"])
        self.reservoir.load(data["sample"], data["sampled"], count)
        self.reservoir.random.bit_generator.state = json.loads(str(data["random"]))
        self.top.load("top", data)
        self.bottom.load("bottom", data)
