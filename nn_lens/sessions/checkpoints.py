"""A network's weights as they were at some steps of its training, on disk while the session lives."""

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


@dataclass(frozen=True)
class Checkpoint:
    """`step` of the training; `version`: the session's number for these weights; `file`: the model's state."""

    step: int
    version: int
    file: Path

    def state(self) -> dict[str, Any]:
        """The model's state, on the CPU."""
        return torch.load(self.file, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]


class Checkpoints:
    """Checkpoints in the order of their steps, in a folder of their own that goes when they do."""

    def __init__(self) -> None:
        self._all: list[Checkpoint] = []
        self._folder: Path | None = None
        self._files = 0

    def add(self, step: int, version: int, model: nn.Module) -> Checkpoint:
        """Keeps the model's weights under `step`; that step and later ones, if they are there, are of an earlier run and go.

        Raises:
            LensError: the step is no whole number. StorageError: the disk does not take the weights.
        """
        try:
            step = operator.index(step)
        except TypeError:
            raise LensError(f"A step is a whole number, such as that of the training loop; got {step!r}.") from None
        kept = [c for c in self._all if c.step < step]
        file = kept[-1].file if kept and kept[-1].version == version else self._write(model)
        checkpoint = Checkpoint(step, version, file)
        used = {c.file for c in [*kept, checkpoint]}
        for gone in {c.file for c in self._all} - used:
            gone.unlink(missing_ok=True)
        self._all = [*kept, checkpoint]
        return checkpoint

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

    def _write(self, model: nn.Module) -> Path:
        try:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="nn-lens-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            self._files += 1
            file = self._folder / f"{self._files}.pt"
            torch.save(model.state_dict(), file)
        except (OSError, RuntimeError) as error:
            raise StorageError(f"The weights could not be kept in {tempfile.gettempdir()!r}: {error}") from error
        return file
