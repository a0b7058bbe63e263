"""Running a model so that no trace of it is left: flags, weights and random state are afterwards what they were."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from nn_lens.errors import LensError, NetworkError, one_line


class Runner:
    """A model, with where its weights are (`device`) and what they are (`dtype`).

    is_copy: nobody else runs the model.
    """

    def __init__(self, model: nn.Module, is_copy: bool = False) -> None:
        self.model, self._is_copy = model, is_copy
        self._lock = threading.RLock()
        first = next(model.parameters(), None)
        self.device = torch.device("cpu") if first is None else first.device
        self.dtype = torch.float32 if first is None or not first.is_floating_point() else first.dtype

    @property
    def name(self) -> str:
        """The class of the model."""
        return type(self.model).__name__

    @contextmanager
    def evaluation(self) -> Iterator[nn.Module]:
        """See `Network.evaluation`."""
        with self._lock:
            every = list(self.model.modules())
            modules = [m for m in every if m.training]
            weights = [p for m in every for p in m._parameters.values() if p is not None and p.requires_grad]
            devices = [self.device] if self.device.type == "cuda" else []
            # A copy works beside the user's training: to put back the generator that both draw from would rewind the other's.
            with nullcontext() if self._is_copy else torch.random.fork_rng(devices):
                try:
                    for m in modules:
                        m.training = False
                    for p in weights:
                        p.requires_grad_(False)
                    yield self.model
                finally:
                    for m in modules:
                        m.training = True
                    for p in weights:
                        p.requires_grad_(True)

    def run(self, call: Callable[[], Any]) -> Any:
        """What `call` answers; an exception of the model becomes a NetworkError that quotes it."""
        try:
            return call()
        except LensError:
            raise
        except Exception as error:
            raise NetworkError(f"{self.name} failed in forward: {type(error).__name__}: {one_line(error)}") from error

    def frozen_copy(self) -> Runner:
        """One of a copy of the model, in eval mode and frozen.

        Raises:
            NetworkError: the model cannot be copied.
        """
        try:
            model = copy.deepcopy(self.model)
        except Exception as error:
            raise NetworkError(f"{self.name} cannot be copied: {type(error).__name__}: {one_line(error)}") from error
        return Runner(model.eval().requires_grad_(False), is_copy=True)
