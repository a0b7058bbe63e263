"""What a pickle wants before it is read: nothing of it runs, and it takes no more memory than it is long.

Torch's own reader (`weights_only=True`) calls a few harmless functions; called in a loop, some of these fill the memory.
Here the same opcodes only move placeholders about, so that a pickle of weights is told from all else first.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import IO, Any, ClassVar

_InPython: Any = pickle._Unpickler  # of the one in C, opcodes cannot be replaced

LARGEST = 4 << 20  # bytes: the pickle of a thousand tensors has 150 KB
_NAMES = 20  # that are listed of what a pickle wants
_REBUILDS = frozenset("_rebuild_tensor _rebuild_tensor_v2 _rebuild_parameter _rebuild_parameter_with_state".split())
_SIMPLE = frozenset({
    "torch.device", "torch.serialization._get_layout", "torch.nn.parameter.Parameter", "builtins.complex",
    "__builtin__.complex",
})  # fmt: skip
_COPIES = frozenset({
    "_codecs.encode", "builtins.set", "__builtin__.set", "collections.Counter", "builtins.bytearray",
    "__builtin__.bytearray", "torch.Size",
})  # fmt: skip


class NotWeights(Exception):
    """A pickle that is no pickle of weights; the message says what it is."""


def look(file: IO[bytes], size: int, objects: int = 1) -> tuple[frozenset[str], dict[Any, int]]:
    """What the pickles of a file want: names that are no part of weights, and by key the elements of each storage.

    size: bytes of the file that storages lie in. objects: how many pickles follow one another.

    Raises:
        NotWeights: it cannot be read, or would take more memory than the file has bytes.
    """
    reader = _Reader(file)
    storages: dict[Any, int] = {}
    wanted: set[str] = set()
    for _ in range(objects):
        pickled = _Look(reader, storages)
        try:
            pickled.load()
        except NotWeights:
            if not pickled.wanted:
                raise
        except Exception as error:  # whatever a reader says of bytes that are no pickle
            if not pickled.wanted:
                raise NotWeights(f"its pickle cannot be read ({type(error).__name__})") from None
        wanted |= pickled.wanted
        if wanted:
            break
    if sum(storages.values()) > size:
        raise NotWeights(f"its tensors would have {sum(storages.values())} numbers, and the file has {size} bytes")
    return frozenset(wanted), storages


class _Reader:
    """The beginning of a file, of which no more can be asked than a pickle of weights is long."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, LARGEST

    def read(self, count: int) -> bytes:
        if count > self._left:
            raise NotWeights(f"its pickle is longer than {LARGEST >> 20} MB, as no list of weights is")
        self._left -= count
        return self._file.read(count)

    def readline(self) -> bytes:
        line = self._file.readline(min(self._left, 4096))
        self._left -= len(line)
        if not line.endswith(b"\n"):
            raise NotWeights("it is cut short or damaged")
        return line


class _Inert:
    """Stands for what would be made; takes and keeps nothing."""

    __slots__ = ()

    def __new__(cls, *args: Any) -> _Inert:
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Its state is let go."""


class _Ordered(dict):
    """Stands for an OrderedDict that is filled afterwards, as torch writes it."""

    def __init__(self, *args: Any) -> None:
        if args:
            raise NotWeights("it copies dictionaries, as no list of weights does")
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Its state is let go."""


class _Look(_InPython):
    """Reads a pickle of which every global is a placeholder."""

    dispatch: ClassVar = dict(_InPython.dispatch)

    def __init__(self, reader: _Reader, storages: dict[Any, int]) -> None:
        super().__init__(reader, encoding="bytes")
        self.wanted: set[str] = set()
        self._storages, self._copied = storages, 0

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full == "collections.OrderedDict":
            return _Ordered
        if full in _COPIES:
            return self._copy
        storage = module in ("torch", "torch.storage", "torch.cuda") and name.endswith("Storage")
        if storage or full in _SIMPLE or (module == "torch._utils" and name in _REBUILDS) or _is_dtype(module, name):
            return _Inert
        self.wanted.add(full)
        if len(self.wanted) > _NAMES:
            raise NotWeights("it wants many things")
        return _Inert

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) < 5 or type(pid[4]) is not int or pid[4] < 0:
            raise NotWeights("it names a storage as torch does not")
        if not isinstance(pid[2], (str, bytes, int)):
            raise NotWeights("it names a storage as torch does not")
        self._storages[pid[2]] = pid[4]
        return _Inert()

    def _copy(self, *args: Any) -> _Inert:
        """In place of functions whose result is as large as what they are given."""
        for value in args:
            if isinstance(value, int):
                raise NotWeights("it asks for memory, as no list of weights does")
            self._copied += len(value) if hasattr(value, "__len__") else 1
        if self._copied > LARGEST:
            raise NotWeights("it makes many copies, as no list of weights does")
        return _Inert()

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def _set_items(self) -> None:
        self._fill(self.pop_mark())

    def _fill(self, items: list[Any]) -> None:
        there = self.stack[-1]
        if not isinstance(there, Mapping):
            raise NotWeights("it sets entries of what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Of a tuple in a tuple in a tuple ..., the hash alone would end the process.
            if not isinstance(key, (str, bytes, int, float, type(None))):
                raise NotWeights(f"it has {type(key).__name__}s as keys of a dictionary")
            there[key] = value  # type: ignore[index]

    def _refuse(self) -> None:
        raise NotWeights("its pickle has parts that no list of weights has")

    dispatch[pickle.SETITEM[0]] = _set_item
    dispatch[pickle.SETITEMS[0]] = _set_items
    # Each reserves the memory that it declares, hashes what it is given, or makes things in its own way.
    for code in (
        pickle.BYTEARRAY8, pickle.ADDITEMS, pickle.FROZENSET, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.NEXT_BUFFER,
        pickle.OBJ,
    ):  # fmt: skip
        dispatch[code[0]] = _refuse
    del code


def _is_dtype(module: str, name: str) -> bool:
    import torch

    return module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
