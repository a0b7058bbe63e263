"""The evaluation copy of a model that a session works on, and the weights that it has."""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from nn_lens.engine.network.network import Network
from nn_lens.errors import LensError, NetworkError


class Copy:
    """A network's copy with the weights of `version`; the network itself where it cannot be copied, which `note` says."""

    def __init__(self, of: Network) -> None:
        self.note = ""
        self.version = -1
        self._of = of
        self._network: Network | None = None
        self._torn = False
        self._lock = threading.Lock()

    def make(self) -> bool:
        """Makes the copy if there is none; whether there is one. From any thread."""
        with self._lock:
            if self._network is None:
                try:
                    self._network = self._of.frozen_copy()
                    self.note = ""
                except NetworkError as error:
                    self.note = f"{error} The panel takes turns with your code on the model itself."
            return self._network is not None

    def with_weights(
        self, version: int, state: Callable[[], Mapping[str, Any]] | None, live: Callable[[], int]
    ) -> Network:
        """The copy, once it has the weights called `version`: those that `state` gives, None: the model's own.

        live: the version of the model's own weights, which may move while they are taken over.

        Raises:
            NetworkError: the model cannot be copied, and has no past. LensError: its layers have changed since.
        """
        if self.version == version and not self._torn and self._network is not None:
            return self._network
        self.version, self._torn = -1, True
        new = self._network is None
        if not self.make() or self._network is None:
            if state is not None:
                raise NetworkError(f"{self.note} It has no past that can be shown.")
            self.version = version
            return self._of
        try:
            if state is not None:
                self._network.model.load_state_dict(state())
            elif not new:
                _take_over(self._network.model, self._of.model)
        except RuntimeError as error:
            self._network = None  # half of it may be overwritten
            if state is not None or new:
                raise LensError("The model's layers have changed since that step was recorded.") from error
            return self.with_weights(version, state, live)
        self.version = version
        # Weights that moved meanwhile may be half of one step and half of the next: they will be taken over again.
        self._torn = state is None and live() != version
        return self._network

    def forget(self) -> None:
        """Lets go of the copy."""
        with self._lock:
            self._network, self.version = None, -1


_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, types.FunctionType, types.BuiltinFunctionType)


def plain_attributes(module: nn.Module) -> dict[str, Any]:
    """A module's own numbers, texts and functions by name, which its answers may depend on; not whether it trains."""
    return {name: value for name, value in vars(module).items() if type(value) in _PLAIN and name != "training"}


def _take_over(copy: nn.Module, model: nn.Module) -> None:
    """Gives a copy the model's weights, and what is no part of its state: buffers that are not saved, plain attributes.

    Raises:
        RuntimeError: the model has other modules than the copy.
    """
    ours, theirs = dict(copy.named_modules()), dict(model.named_modules())
    if {name: type(module) for name, module in ours.items()} != {name: type(m) for name, m in theirs.items()}:
        raise RuntimeError("the model's modules are others")
    copy.load_state_dict(model.state_dict())
    own = dict(copy.named_buffers())
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name in own and own[name].shape == buffer.shape:
                own[name].copy_(buffer)
    for name, module in theirs.items():
        ours[name].__dict__.update(plain_attributes(module))
