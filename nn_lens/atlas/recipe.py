"""What a worker gets in place of a model: a file that says how it is made, and its weights beside it.

The pickle holds the network and the dataset without their tensors, which lie in a safetensors file: nothing large goes
through a scheduler. Each process reads it once.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from safetensors.torch import load_file, save
from torch import nn

from nn_lens.atlas.storage import digest, write
from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures.datasets import Source
from nn_lens.errors import LensError, one_line

_MADE, _WEIGHTS = "network.pickle", "weights.safetensors"
_PLAIN = (torch.Tensor, nn.Parameter)
_of_thread = threading.local()


@dataclass(frozen=True)
class Recipe:
    """The `folder` with both files, their hashes, the process that wrote them, and the threads of torch for a worker.

    `atlas`: the folder that is written. `threads`: None: as many as OMP_NUM_THREADS says, else one.
    """

    folder: str
    atlas: str
    made: str
    weights: str
    pid: int
    threads: int | None

    def opened(self) -> tuple[Network, Source | None]:
        """The network and the dataset, read when a thread of a process first asks.

        Raises:
            LensError: the files are not there, or are others.
        """
        known: dict[str, Any] = vars(_of_thread).setdefault("known", {})
        if self.made not in known:
            known.clear()  # of an earlier sweep
            known[self.made] = self._read()
        net, source = known[self.made]
        return net, source

    def _read(self) -> tuple[Network, Source | None]:
        self._share_processors()
        folder = Path(self.folder)
        try:
            made, raw = (folder / _MADE).read_bytes(), (folder / _WEIGHTS).read_bytes()
        except OSError as error:
            raise LensError(
                f"The worker cannot read {str(folder)!r} ({one_line(error)}): it is to be a folder that all workers see."
            ) from error
        if (digest(made), digest(raw)) != (self.made, self.weights):
            raise LensError(f"The files in {str(folder)!r} are not those of this sweep.")
        found: tuple[Network, Source | None] = _Unpickler(made, load_file(folder / _WEIGHTS)).load()
        return found

    def _share_processors(self) -> None:
        """Gives torch the worker's share; in the caller's own process nothing is changed."""
        if os.getpid() != self.pid:
            own = os.environ.get("OMP_NUM_THREADS", "")
            torch.set_num_threads(self.threads or (int(own) if own.isdigit() and int(own) else 1))


def written(net: Network, source: Source | None, folder: Path, atlas: Path, threads: int | None) -> Recipe:
    """Writes the recipe of a network and a dataset into a folder.

    Raises:
        LensError: they cannot be sent to another process; says what to do.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    try:
        pickler.dump((net, source))
    except Exception as error:  # each kind of object has its own
        raise LensError(
            f"The network or its dataset cannot be sent to another process ({type(error).__name__}: {one_line(error)}). "
            "Put what makes them into a file of your own, such as mine.py, import it from there, and use no lambda, open "
            "file or compiled model; or pass executor=concurrent.futures.ThreadPoolExecutor(1)."
        ) from error
    made, weights = buffer.getvalue(), save(pickler.tensors)
    try:
        write(folder, _WEIGHTS, weights)
        write(folder, _MADE, made)
    except OSError as error:
        raise LensError(
            f"What workers need cannot be written to {str(folder)!r} ({error.strerror or one_line(error)})."
        ) from error
    return Recipe(str(folder.absolute()), str(atlas.absolute()), digest(made), digest(weights), os.getpid(), threads)


class _Pickler(cloudpickle.Pickler):
    """Leaves tensors out, into `tensors`; what is defined in a notebook goes along by value."""

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer)
        self.tensors: dict[str, torch.Tensor] = {}
        self._names: dict[int, str] = {}
        self._alive: list[torch.Tensor] = []  # an id is a tensor's as long as that lives

    def persistent_id(self, value: Any) -> Any:
        """What stands in the pickle for a tensor."""
        if type(value) not in _PLAIN or value.is_sparse or value.is_quantized or value.is_complex():
            return None
        if id(value) not in self._names:
            name = self._names[id(value)] = f"t{len(self._names):05d}"
            self.tensors[name] = value.detach().cpu().contiguous().clone()
            self._alive.append(value)
        return self._names[id(value)], type(value) is nn.Parameter, value.requires_grad, str(value.device)


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__(io.BytesIO(data))
        self._tensors = tensors
        self._made: dict[str, torch.Tensor] = {}

    def persistent_load(self, pid: Any) -> torch.Tensor:
        name, is_parameter, trains, device = pid
        if name not in self._made:
            there = torch.device(device).type != "cuda" or torch.cuda.is_available()
            tensor = self._tensors[name].to(device if there else "cpu")
            made = nn.Parameter(tensor, trains) if is_parameter else tensor.requires_grad_(trains)
            self._made[name] = made
        return self._made[name]


def is_starting() -> bool:
    """Whether this process is a worker that is only just being started, by a script that is not guarded."""
    return bool(getattr(multiprocessing.current_process(), "_inheriting", False))
