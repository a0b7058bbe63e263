"""A uniform sample of a stream in bounded memory, and what it was at earlier moments.

Reference: Vitter, 1985, "Random sampling with a reservoir", algorithm R.
"""

from __future__ import annotations

from weakref import WeakSet

import numpy as np
import torch


class Sample:
    """The sample as it was at one moment: `count` rows, each with the `indices` (count,) of its picture."""

    def __init__(self, values: torch.Tensor, numbers: torch.Tensor, count: int) -> None:
        self.count = count
        self._values, self._numbers = values, numbers
        self._replaced: dict[int, tuple[torch.Tensor, int]] = {}  # by row, what the stream has written over since

    def keep(self, row: int, values: torch.Tensor, number: int) -> None:
        """Remembers a row that is about to be written over; what was there first counts."""
        if row < self.count:
            self._replaced.setdefault(row, (values, number))

    @property
    def indices(self) -> np.ndarray:
        """(count,) numbers of the pictures."""
        numbers = self._numbers[: self.count].numpy().copy()
        for row, (_, number) in self._replaced.items():
            numbers[row] = number
        return numbers

    def column(self, unit: int) -> np.ndarray:
        """(count,) values of one unit."""
        values = self._values[: self.count, unit].numpy().copy()
        for row, (own, _) in self._replaced.items():
            values[row] = float(own[unit])
        return values


class Reservoir:
    """Rows of a stream, each row with the same chance: all of them up to `most`.

    `values` (n, columns) and `indices` (n,) are what it holds, `seen` how many rows there were.
    """

    def __init__(self, columns: int, most: int, seed: int) -> None:
        self.most = most
        self.seen = 0
        self.random = np.random.default_rng(seed)
        self._held = 0
        self._values, self._numbers = torch.empty(0, columns), torch.empty(0, dtype=torch.long)
        self._samples: WeakSet[Sample] = WeakSet()

    @property
    def values(self) -> torch.Tensor:
        """(n, columns), the rows that it holds."""
        return self._values[: self._held]

    @property
    def indices(self) -> torch.Tensor:
        """(n,), the pictures that they are of."""
        return self._numbers[: self._held]

    def add(self, values: torch.Tensor, indices: torch.Tensor) -> None:
        """Takes (N, columns) rows: every one while there is room, then each with the same chance."""
        room = min(self.most - self._held, len(values))
        if room:
            self._make_room(self._held + room)
            self._values[self._held : self._held + room] = values[:room]
            self._numbers[self._held : self._held + room] = indices[:room]
            self._held += room
        for i in range(room, len(values)):
            row = int(self.random.integers(self.seen + i + 1))
            if row < self.most:
                self._replace(row, values[i], indices[i])
        self.seen += len(values)

    def sample(self) -> Sample:
        """What it holds now. It costs nothing: rows that are written over later are handed to it first."""
        now = Sample(self._values, self._numbers, self._held)
        self._samples.add(now)
        return now

    def load(self, values: np.ndarray, indices: np.ndarray, seen: int) -> None:
        """Goes on with rows that were kept in a file."""
        self._values, self._numbers = torch.from_numpy(values), torch.from_numpy(indices)
        self._held, self.seen = len(values), seen

    def _replace(self, row: int, values: torch.Tensor, index: torch.Tensor) -> None:
        if self._samples:
            old, number = self._values[row].clone(), int(self._numbers[row])
            for sample in self._samples:
                sample.keep(row, old, number)
        self._values[row], self._numbers[row] = values, index

    def _make_room(self, rows: int) -> None:
        """Doubles, so that a long stream is not copied for each of its batches."""
        if rows <= len(self._values):
            return
        size = min(self.most, max(rows, 2 * len(self._values)))
        values, numbers = torch.empty(size, self._values.shape[1]), torch.empty(size, dtype=torch.long)
        values[: self._held], numbers[: self._held] = self.values, self.indices
        self._values, self._numbers = values, numbers
