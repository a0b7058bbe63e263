"""A network's weights as they were at some steps of its training, on disk while the session lives.

They keep to a budget: where one more would not fit, first every second goes, then every second of those that stay, one at
a time from the oldest on, so that no gap is wider than twice another.
"""

from __future__ import annotations

import operator
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nn_lens.errors import LensError, StorageError

_LEFT = 256 << 20  # bytes of the disk that are left to others
BUDGET = 4 << 30  # bytes of all checkpoints of a session


def as_step(step: Any) -> int:
    """`step` as an int.

    Raises:
        LensError: `step` is not an integer.
    """
    try:
        return operator.index(step)
    except TypeError:
        raise LensError(f"A step is a whole number, such as that of the training loop; got {step!r}.") from None


@dataclass(frozen=True)
class Checkpoint:
    """`step` of the training; `version`: the session's number for these weights; `file`: the model's state; `number`: how
    many were recorded before it.
    """

    step: int
    version: int
    file: Path
    number: int = 0

    def state(self) -> dict[str, Any]:
        """The model's state, on the CPU.

        Raises:
            StorageError: the file cannot be read.
        """
        try:
            # Written by this process; a model may keep anything in its state.
            return torch.load(self.file, map_location="cpu", weights_only=False)  # type: ignore[no-any-return]
        except Exception as error:
            raise StorageError(f"The weights of step {self.step} cannot be read: {error}") from error

    def holds(self, model: nn.Module) -> bool:
        """Whether the model's weights are these."""
        own, theirs = self.state(), model.state_dict()
        tensors = {k: v for k, v in theirs.items() if isinstance(v, torch.Tensor)}
        return all(k in own and torch.equal(own[k], v.detach().cpu()) for k, v in tensors.items())


class Checkpoints:
    """Checkpoints in the order of their steps, in a folder of their own that goes when they do.

    budget: bytes that they may have together; the first, the newest and the one that is shown are kept in any case.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._all: list[Checkpoint] = []
        self._sizes: dict[Path, int] = {}
        self._folder: Path | None = None
        self._files = 0

    def add(self, step: int, version: int, model: nn.Module, shown: int | None = None) -> Checkpoint:
        """Keeps the model's weights under `step`; that step and later ones, if they are there, are of an earlier run and go.

        shown: a step that is looked at, which does not go to make room.

        Raises:
            LensError: `step` is not an integer. StorageError: the disk does not take the weights.
        """
        step = as_step(step)
        kept = [c for c in self._all if c.step < step]
        number = kept[-1].number + 1 if kept else 0
        if kept and kept[-1].version == version:
            file = kept[-1].file
        else:
            state = self._state(model)
            size = sum(v.numel() * v.element_size() for v in state.values() if isinstance(v, torch.Tensor))
            kept = self._with_room(kept, size, shown)
            file = self._write(state, size)
        checkpoint = Checkpoint(step, version, file, number)
        self._keep([*kept, checkpoint])
        return checkpoint

    @property
    def last(self) -> Checkpoint | None:
        """The one of the largest step."""
        return self._all[-1] if self._all else None

    def at(self, step: int) -> Checkpoint:
        """The checkpoint of a step.

        Raises:
            LensError: none was recorded there; names the nearest.
        """
        for checkpoint in self._all:
            if checkpoint.step == step:
                return checkpoint
        if not self._all:
            raise LensError("No step was recorded yet; call lens.record(step) in the training loop.")
        nearest = min(self._all, key=lambda c: abs(c.step - step) if isinstance(step, (int, float)) else 0)
        raise LensError(
            f"Step {step!r} was not recorded; there are {len(self._all)} from {self._all[0].step} to "
            f"{self._all[-1].step}, the nearest {nearest.step}. None is the model as it is."
        )

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(tuple(self._all))

    def _with_room(self, kept: list[Checkpoint], size: int, shown: int | None) -> list[Checkpoint]:
        """Those of `kept` that stay where a later one of `size` bytes is to fit in.

        Raises:
            StorageError: the disk has too little left, however many went; then none goes.
        """
        place = tempfile.gettempdir()
        try:
            free = shutil.disk_usage(place).free - _LEFT
        except OSError as error:
            raise StorageError(f"The weights cannot be kept in {place!r}: {error}") from error
        left = list(kept)
        while size + self._bytes(left) > self._budget or size > free + self._bytes(kept) - self._bytes(left):
            inner = [c for c in left[1:] if c.step != shown]
            if not inner:
                break
            left.remove(min(inner, key=lambda c: (_twos(c.number), c.number)))
        if size > free + self._bytes(kept) - self._bytes(left):
            raise StorageError(
                f"{place!r} has less than {(size + _LEFT) >> 20} MB left. Record fewer steps, or set TMPDIR to another disk."
            )
        if size > free:  # they make room before the new one is written; else they go once it is there
            self._keep([c for c in self._all if c in left or c not in kept])
        return left

    def _keep(self, checkpoints: list[Checkpoint]) -> None:
        before, self._all = self._all, checkpoints
        for gone in {c.file for c in before} - {c.file for c in checkpoints}:
            gone.unlink(missing_ok=True)
            self._sizes.pop(gone, None)

    def _bytes(self, checkpoints: list[Checkpoint]) -> int:
        return sum(self._sizes.get(file, 0) for file in {c.file for c in checkpoints})

    def _state(self, model: nn.Module) -> dict[str, Any]:
        try:
            return model.state_dict()
        except Exception as error:
            raise StorageError(f"The weights cannot be kept: {type(error).__name__}: {error}") from error

    def _write(self, state: dict[str, Any], size: int) -> Path:
        place = tempfile.gettempdir()
        try:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="nn-lens-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            self._files += 1
            file = self._folder / f"{self._files}.pt"
        except OSError as error:
            raise StorageError(f"The weights cannot be kept in {place!r}: {error}") from error
        try:
            torch.save(state, file)
        except Exception as error:  # of the disk, or of a state that cannot be written
            file.unlink(missing_ok=True)
            raise StorageError(f"The weights cannot be kept in {place!r}: {type(error).__name__}: {error}") from error
        self._sizes[file] = size
        return file


def _twos(number: int) -> int:
    """How often a number can be halved: every second cannot, every fourth can but once, and so on."""
    return (number & -number).bit_length()
