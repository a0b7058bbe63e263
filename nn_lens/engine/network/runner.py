"""Running a model so that no trace of it is left: flags, weights, state and random state are afterwards what they were."""

from __future__ import annotations

import copy
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import nn

from nn_lens.engine.network.deterministic import deterministic
from nn_lens.engine.network.isolation import Changes, isolated
from nn_lens.engine.network.sound_gradients import SoundGradients
from nn_lens.errors import LensError, MemoryShort, NetworkError, one_line

_locks: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_locks_lock = threading.Lock()


class Runner:
    """A model that runs in evaluation, and is afterwards what it was.

    is_copy: nobody else runs the model. inputs: what makes the model's arguments of a batch, None: the batch is the one
    argument. `changes` says what the model does to itself when it runs, and `answer` takes the tensor that counts out of
    what it gives; both are found by the first look, and so is on which devices its gradients need help.
    """

    def __init__(
        self, model: nn.Module, is_copy: bool = False, inputs: Callable[[torch.Tensor], Any] | None = None
    ) -> None:
        self.model, self._is_copy, self.inputs = model, is_copy, inputs
        self.changes: Changes | None = None
        self._helped_on = {"cpu", "cuda"}
        self.answer: Callable[[Any], torch.Tensor | None] = _first_look_only
        self._lock = _lock_of(model)
        self._rests = False  # while some `evaluation` holds the lock

    @property
    def device(self) -> torch.device:
        """Where its weights are now: a model may be moved."""
        tensors = chain(self.model.parameters(), self.model.buffers())
        return next((t.device for t in tensors if t.is_floating_point()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """What its weights are now."""
        return next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock, which is of this process."""
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_rests")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=_lock_of(state["model"]), _rests=False)

    @property
    def name(self) -> str:
        """The class of the model."""
        return type(unwrapped(self.model)).__name__

    # ---- its parts ----

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """The modules that may be layers, by name. A model without parts has one, itself, called by its class.

        Not among them: what TorchScript has compiled, which takes no hooks, and what makes a layer's weights.
        """
        if not any(True for _ in self.model.children()):
            yield self.name, self.model
            return
        hidden: tuple[str, ...] = ()
        for name, module in self.model.named_modules():
            if not name or name.startswith(hidden):
                continue
            if isinstance(module, (torch.jit.ScriptModule, nn.utils.parametrize.ParametrizationList)):
                hidden = (*hidden, f"{name}.")
            else:
                yield name, module

    def module(self, name: str) -> nn.Module:
        """The module of that name; "" is the model itself."""
        if name == self.name and not any(True for _ in self.model.children()):
            return self.model
        return self.model.get_submodule(name)

    # ---- running it ----

    def __call__(self, x: torch.Tensor) -> Any:
        """What the model answers to a batch; afterwards it is what it was. To be called inside `evaluation`."""
        changes = self.changes
        with isolated(self.model, changes.written) if changes is not None and changes.any else nullcontext():
            return self._call(x)

    def first_call(self, x: torch.Tensor) -> Any:
        """As a call, of which nothing is known yet: finds out what the model does to itself."""
        known = self.changes
        with isolated(self.model, None) as changes, SoundGradients() as gradients:
            answer = self._call(x)
        self._helped_on = gradients.needed_on
        if known is not None:
            changes.written |= known.written
            changes.any |= known.any
        self.changes = changes
        return answer

    @contextmanager
    def evaluation(self) -> Iterator[nn.Module]:
        """See `Network.evaluation`."""
        with self._lock, ExitStack() as stack:
            stack.enter_context(self._at_rest())
            devices = [self.device] if self.device.type == "cuda" else []
            # A copy works beside the user's training: to put back the generator that both draw from would rewind the other's.
            if not self._is_copy:
                stack.enter_context(torch.random.fork_rng(devices))
            stack.enter_context(deterministic(self.device))
            if "torch._dynamo" in sys.modules:  # somebody compiles: compiled code calls no hooks
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            try:
                yield self.model
            except torch.cuda.OutOfMemoryError as error:  # backward passes are not in `run`
                raise self._short(error) from error

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """All modules in eval mode and all weights frozen; inside of itself nothing is left to do."""
        if self._rests:
            yield
            return
        every = list(self.model.modules())
        modules = [m for m in every if m.training]
        weights = [p for m in every for p in m._parameters.values() if p is not None and p.requires_grad]
        self._rests = True
        try:
            for m in modules:
                m.training = False
            for p in weights:
                p.requires_grad_(False)
            yield
        finally:
            self._rests = False
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
        except torch.cuda.OutOfMemoryError as error:
            raise self._short(error) from error
        except Exception as error:
            raise NetworkError(f"{self.name} failed in forward: {type(error).__name__}: {one_line(error)}") from error

    def frozen_copy(self) -> Runner:
        """One of a copy of the model, in eval mode and frozen.

        Raises:
            NetworkError: the model cannot be copied.
        """
        try:
            with self._lock:  # while another thread runs it, it has that thread's hooks
                model = copy.deepcopy(self.model, _tensors_with_a_graph(self.model))
        except Exception as error:
            raise NetworkError(f"{self.name} cannot be copied: {type(error).__name__}: {one_line(error)}") from error
        for module in model.modules():
            module.training = False  # not by eval(), which calls train(): a model may have one of its own, that trains
        for weight in model.parameters():
            weight.requires_grad_(False)
        twin = Runner(model, is_copy=True, inputs=self.inputs)
        twin.changes, twin._helped_on = self.changes, self._helped_on
        return twin

    def _short(self, error: torch.cuda.OutOfMemoryError) -> MemoryShort:
        return MemoryShort(
            f"The memory of {self.device} does not hold this. Free what else is on it (del what you keep there, then "
            "torch.cuda.empty_cache()), ask for fewer units or smaller pictures at once, or look at the network on the "
            f'processor: model.to("cpu"). {one_line(error)}'
        )

    def _call(self, x: torch.Tensor) -> Any:
        arguments = x if self.inputs is None else self.inputs(x)
        helped = torch.is_grad_enabled() and self.device.type in self._helped_on
        with SoundGradients() if helped else nullcontext():
            if isinstance(arguments, Mapping):
                return self.model(**arguments)
            return self.model(*arguments) if isinstance(arguments, tuple) else self.model(arguments)


def _lock_of(model: nn.Module) -> threading.RLock:
    """The one lock of a model: two Networks of it, in two threads, take turns."""
    with _locks_lock:
        try:
            return _locks.setdefault(unwrapped(model), threading.RLock())
        except TypeError:  # of a class that compares by value, and has no hash
            return threading.RLock()


def unwrapped(model: Any) -> Any:
    """The model inside wrappers that only run it otherwise: torch.compile's, and those for several devices."""
    while True:
        if isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            return model


def _tensors_with_a_graph(model: nn.Module) -> dict[int, Any]:
    """For copy.deepcopy, which refuses them: copies of the tensors that modules keep from a forward pass, by their id."""
    memo: dict[int, Any] = {}

    def look(value: Any, depth: int) -> None:
        if isinstance(value, torch.Tensor):
            if not value.is_leaf:
                memo[id(value)] = value.detach().clone()
        elif isinstance(value, (list, tuple, set)) and depth:
            for entry in value:
                look(entry, depth - 1)
        elif isinstance(value, dict) and depth:
            look(list(value.values()), depth - 1)

    for module in model.modules():
        look({k: v for k, v in vars(module).items() if k not in ("_parameters", "_modules")}, 6)
    return memo


def _first_look_only(answer: Any) -> torch.Tensor | None:
    return answer if isinstance(answer, torch.Tensor) else None
