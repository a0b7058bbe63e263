"""Results that are kept: the latest in memory, maximizing images on disk as well.

A file holds its own checksum. One that does not match, because a disk was full or a process killed, is
dropped and computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
import threading
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
        self._used = 0
        self.dropped = 0
        """How many damaged files were found and dropped."""

    def forget(self) -> None:
        """Empties the memory; files stay."""
        with self._lock:
            self._memory.clear()
            self._used = 0

    def get(self, key: str) -> Arrays | None:
        """The arrays put under `key`, None if there are none or their file is damaged."""
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        arrays = self._read(key)
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

    def _read(self, key: str) -> Arrays | None:
        if self.folder is None:
            return None
        file = self._file(key)
        try:
            data = file.read_bytes()
        except OSError:
            return None
        with contextlib.suppress(ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
            if hashlib.sha256(data[32:]).digest() == data[:32]:
                with np.load(io.BytesIO(data[32:]), allow_pickle=False) as stored:
                    if str(stored["key"]) == key:
                        with contextlib.suppress(OSError):
                            os.utime(file)  # used just now: among the last to be dropped
                        return {name: stored[name] for name in stored.files if name != "key"}
        self.dropped += 1
        file.unlink(missing_ok=True)
        return None

    def _write(self, key: str, arrays: Arrays) -> None:
        file = self._file(key)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, key=np.array(key), **arrays)
        data = buffer.getvalue()
        file.parent.mkdir(parents=True, exist_ok=True)
        # Written under another name and then renamed: a reader sees the whole file or none.
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
            part.write(hashlib.sha256(data).digest() + data)
        os.replace(part.name, file)
        self._trim(file.parent)

    def _trim(self, folder: Path) -> None:
        found = []
        for file in folder.glob("*.npz"):
            with contextlib.suppress(OSError):
                found.append((file.stat().st_mtime, file.stat().st_size, file))
        total = sum(size for _, size, _ in found)
        for _, size, file in sorted(found)[:-1]:
            if total <= self.disk_bytes:
                return
            file.unlink(missing_ok=True)
            total -= size


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
