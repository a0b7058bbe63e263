"""Results that are kept: the latest in memory, maximizing images on disk as well.

A file holds its own digest and its key. One that does not match, because a disk was full, a process killed, or somebody
wrote on it, is dropped and computed again. Any number of processes may share a folder: files are written aside and renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
import threading
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from nn_lens.sessions.settings import Settings, read_settings

Arrays = Mapping[str, np.ndarray]

MEMORY_BYTES = 256 << 20
DISK_MB = 512
_ENTRY = 64 << 20  # bytes that a file may have whatever the limits
_PART = ".part"
_LEFT_BEHIND = 3600  # seconds after which nobody writes on a file any more


def default_folder(settings: Settings | None = None) -> Path:
    """The cache folder that the settings name, $NN_LENS_CACHE first; else the user's."""
    given = (settings or read_settings()).cache_folder
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("nn-lens", appauthor=False))


class Cache:
    """Arrays by text key, least recently used dropped first; safe from any thread.

    folder: where entries that are put with `keep` lie on disk; None: nowhere.
    """

    def __init__(
        self, folder: Path | None = None, memory_bytes: int = MEMORY_BYTES, disk_bytes: int = DISK_MB << 20
    ) -> None:
        self.folder, self.memory_bytes, self.disk_bytes = folder, memory_bytes, disk_bytes
        self._lock = threading.Lock()
        self._memory: OrderedDict[str, Arrays] = OrderedDict()
        self._used = self._since_trim = 0
        self.dropped = 0
        """How many damaged files were found and dropped."""

    def forget(self) -> None:
        """Empties the memory; files stay."""
        with self._lock:
            self._memory.clear()
            self._used = 0

    def get(self, key: str, fits: Callable[[Arrays], bool] = lambda arrays: True) -> Arrays | None:
        """The arrays put under `key`, None if there are none, or their file is damaged or holds something else.

        fits: tells whether arrays from a file are what their reader expects; those that are not are dropped.
        """
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        arrays = self._read(key, fits)
        if arrays is not None:
            self._remember(key, arrays)
        return arrays

    def put(self, key: str, arrays: Arrays, keep: bool = False) -> None:
        """Remembers `arrays`; with `keep` also on disk. A disk that cannot be written is no error."""
        self._remember(key, arrays)
        if keep and self.folder is not None:
            with contextlib.suppress(OSError):
                self._write(key, arrays)

    def _remember(self, key: str, arrays: Arrays) -> None:
        with self._lock:
            self._forget(key)
            self._memory[key] = arrays
            self._used += _size(arrays)
            while self._used > self.memory_bytes and len(self._memory) > 1:
                self._forget(next(iter(self._memory)))

    def _forget(self, key: str) -> None:
        arrays = self._memory.pop(key, None)
        if arrays is not None:
            self._used -= _size(arrays)

    def _file(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.npz"

    def _read(self, key: str, fits: Callable[[Arrays], bool]) -> Arrays | None:
        if self.folder is None:
            return None
        file = self._file(key)
        try:
            if not file.is_file():
                return None  # a pipe would be waited for
            data = file.read_bytes() if file.stat().st_size <= max(self.disk_bytes, _ENTRY) else b""
        except OSError:
            return None
        arrays = _unpacked(data, key)
        if arrays is not None and fits(arrays):
            with contextlib.suppress(OSError):
                os.utime(file)  # used just now: among the last to be dropped
            return arrays
        self.dropped += 1
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
        return None

    def _write(self, key: str, arrays: Arrays) -> None:
        file = self._file(key)
        data = _packed(key, arrays)
        if len(data) > self.disk_bytes:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        # Written under another name and then renamed: a reader sees the whole file or none.
        opened, part = tempfile.mkstemp(_PART, dir=file.parent)
        try:
            with open(opened, "wb") as aside:
                aside.write(data)
            os.replace(part, file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        self._since_trim += len(data)
        if self._since_trim > self.disk_bytes // 32:
            self._since_trim = 0
            self._trim(file.parent)

    def _trim(self, folder: Path) -> None:
        """Drops what was not used for longest, and what a process left that was ended while it wrote."""
        found = []
        for file in folder.iterdir():
            with contextlib.suppress(OSError):
                told = file.stat()
                if file.suffix == ".npz":
                    found.append((told.st_mtime, told.st_size, file))
                elif file.suffix == _PART and abs(time.time() - told.st_mtime) > _LEFT_BEHIND:
                    file.unlink(missing_ok=True)
        total = sum(size for _, size, _ in found)
        for _, size, file in sorted(found)[:-1]:
            if total <= self.disk_bytes:
                return
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
                total -= size


def _packed(key: str, arrays: Arrays) -> bytes:
    """Arrays and their key as the bytes of a file, which begin with the digest of the rest."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, key=np.array(key), **arrays)
    data = buffer.getvalue()
    return hashlib.sha256(data).digest() + data


def _unpacked(data: bytes, key: str) -> Arrays | None:
    """The arrays in the bytes of a file, None where they are damaged, of another key, or not as they are written here."""
    body = memoryview(data)[32:]
    if hashlib.sha256(body).digest() != data[:32]:
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as parts:
            entries = parts.infolist()
        if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > len(data):
            return None  # it would be larger in memory than it is here
        with np.load(io.BytesIO(body), allow_pickle=False) as stored:
            if str(stored["key"]) != key:
                return None
            return {name: stored[name] for name in stored.files if name != "key"}
    except Exception:  # whatever is raised by bytes that were not written here
        return None


class Latest:
    """The latest results by key, which are asked for again, such as for another slice of a volume; of one thread."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._results: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The result under `key`, made if there is none."""
        if key not in self._results:
            self._results[key] = make()
        self._results.move_to_end(key)
        while len(self._results) > self._most:
            self._results.popitem(last=False)
        return self._results[key]

    def clear(self) -> None:
        """Lets go of all."""
        self._results.clear()


def _size(arrays: Arrays) -> int:
    return sum(a.nbytes for a in arrays.values())
