"""Files of an atlas: where they are read, a folder or a web server, and how they are written, wholly or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nn_lens.engine.pictures.files import is_url
from nn_lens.errors import LensError, one_line

PART = ".part"
_ABOUT = "nn-lens"  # the one entry of a shard's metadata: several would stand in any order, and no two files be alike
_SECONDS = 30  # that a web server may take


class Storage:
    """Where an atlas is read: a folder, or a URL such as "https://..." or what fsspec knows."""

    def __init__(self, where: str | os.PathLike[str]) -> None:
        self.url = str(where).rstrip("/") if is_url(where) else None
        self.folder = None if self.url else Path(where).expanduser()

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """What a file holds, or its bytes from `start` to before `stop`.

        Raises:
            LensError: there is no such file, or it cannot be read.
        """
        try:
            if self.folder is not None:
                with (self.folder / name).open("rb") as file:
                    file.seek(start)
                    return file.read() if stop is None else file.read(stop - start)
            if str(self.url).startswith(("http://", "https://")):
                return _over_http(f"{self.url}/{name}", start, stop)
            return _over_fsspec(f"{self.url}/{name}", start, stop)
        except (OSError, urllib.error.URLError, ImportError, ValueError) as error:
            raise LensError(f"{name!r} of the atlas {self} cannot be read ({one_line(error)}).") from error

    def __str__(self) -> str:
        return repr(self.url or str(self.folder))


def _over_http(url: str, start: int, stop: int | None) -> bytes:
    request = urllib.request.Request(url)
    if stop is not None:
        request.add_header("Range", f"bytes={start}-{stop - 1}")
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        data: bytes = answer.read()
        # A server that knows no ranges sends the whole file.
        return data[start:stop] if stop is not None and answer.status != 206 else data


def _over_fsspec(url: str, start: int, stop: int | None) -> bytes:
    import fsspec

    with fsspec.open(url, "rb") as file:
        file.seek(start)
        return bytes(file.read() if stop is None else file.read(stop - start))


# ---- writing ----


def write(folder: Path, name: str, data: bytes) -> None:
    """Writes a file aside and renames it: a reader, also one after a crash, sees all of it or none."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + PART)
    try:
        with part.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, file)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def sweep_parts(folder: Path) -> None:
    """Takes away what a writer that was killed has left."""
    for part in folder.rglob(f"*{PART}"):
        with contextlib.suppress(OSError):
            part.unlink()


def digest(data: bytes) -> str:
    """32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


# ---- shards ----


def shard(tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> bytes:
    """A safetensors file of numbers, and of what is to be said of them as JSON; the same bytes for the same."""
    arrays = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    return save(arrays, {_ABOUT: json.dumps(about, sort_keys=True)})


def read_shard(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What `shard` was given.

    Raises:
        LensError: it is no such file, or part of one.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        return load(data), about_of(json.loads(data[8 : 8 + length])["__metadata__"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise LensError(f"It is no whole shard ({one_line(error)}).") from error


def about_of(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What is said of a shard's numbers."""
    return dict(json.loads(metadata[_ABOUT]))


def zipped(files: Mapping[str, bytes]) -> tuple[bytes, np.ndarray]:
    """An uncompressed zip, and where in it each file lies, (N,2) int64 from and to; the same bytes for the same."""
    buffer, ends = io.BytesIO(), []
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
            ends.append(buffer.tell())  # the entry is the last thing written
    sizes = [len(data) for data in files.values()]
    places = np.array([[end - size, end] for end, size in zip(ends, sizes, strict=True)], np.int64)
    return buffer.getvalue(), places.reshape(-1, 2)
