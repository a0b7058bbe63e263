"""What a path, a URL, bytes or an open file holds."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nn_lens.errors import PictureError, nearest, one_line

_URL = re.compile(r"^(data:|[A-Za-z][\w.+-]+(://|::))")  # a drive such as C: has one letter
_PACKAGES = {
    "http": "aiohttp requests", "https": "aiohttp requests", "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs",
    "abfs": "adlfs", "az": "adlfs", "hf": "huggingface_hub", "sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol",
}  # fmt: skip


def is_file(source: Any) -> bool:
    """Whether `source` is what `open_source` opens: a path, a URL, bytes, or a file."""
    return isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)) or any(
        callable(getattr(source, name, None)) for name in ("read", "read_bytes")
    )


def name_of(source: Any) -> str:
    """What to call a source in a message: the last part of its path, if it has one."""
    path = source if isinstance(source, (str, os.PathLike)) else getattr(source, "name", None)
    if not isinstance(path, (str, os.PathLike)):
        return "The file" if hasattr(source, "read") else "The data"
    return repr(str(path)) if is_url(path) else repr(Path(path).name)


def is_url(source: Any) -> bool:
    """Whether `source` is the text of a URL that fsspec may know, such as "https://..", "s3://.." or "file:///.."."""
    return isinstance(source, str) and bool(_URL.match(source))


def open_source(source: Any, of: str = "picture", suffixes: Iterable[str] = ()) -> io.BufferedIOBase | Path:
    """A file object or a local path with what `source` holds, to be read from its beginning.

    of: what the file is to hold, for messages; suffixes: how such files end, in place of those of pictures.

    source: a path; a URL, as fsspec opens them; bytes; a binary file, which is read from where it stands and put back
    there; or an object with `read_bytes`, such as a resource of a package.

    Raises:
        PictureError: there is no such file, or it cannot be read; names the nearest one, or the cause.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    if is_url(source):
        return io.BytesIO(_fetch(source))
    if isinstance(source, (str, os.PathLike)):
        return _existing(source, of, suffixes)
    return io.BytesIO(_rest(source) if hasattr(source, "read") else source.read_bytes())


def _existing(source: str | os.PathLike[str], of: str, suffixes: Iterable[str]) -> Path:
    file = Path(source).expanduser()
    try:
        there = file.is_file()
    except (OSError, ValueError) as error:  # too long a name, or a zero byte in it
        raise PictureError(f"{str(source)[:40]!r}... is no path of a file ({one_line(error)}).") from None
    if there:
        return file
    near = f" It is a folder; pass one {of}." if file.is_dir() else _nearest_files(file, suffixes)
    raise PictureError(f"There is no file {str(source)!r}.{near}")


def _nearest_files(file: Path, suffixes: Iterable[str]) -> str:
    folder = file.parent
    if not folder.is_dir():
        return f" Its folder {str(folder)!r} does not exist either."
    from PIL import Image

    endings = {*(suffixes or (*Image.registered_extensions(), ".npy")), file.suffix.lower()}
    near = nearest(file.name, [f.name for f in folder.iterdir() if f.suffix.lower() in endings])
    return f" Did you mean {', '.join(map(repr, near))}?" if near else ""


def _rest(file: Any) -> bytes:
    """What comes after the position of an open file, which is put back there."""
    try:
        start = file.tell() if hasattr(file, "seek") else None
    except OSError:  # a stream
        start = None
    try:
        data = file.read()
        if start is not None:
            file.seek(start)
    except (OSError, ValueError) as error:
        raise PictureError(f"{name_of(file)} cannot be read: {one_line(error)}.") from None
    if not isinstance(data, (bytes, bytearray)):
        raise PictureError(f"{name_of(file)} is open as text; open it with mode 'rb'.")
    if not data and start:
        raise PictureError(f"{name_of(file)} stands at its end; call its seek(0) first.")
    return bytes(data)


def _fetch(url: str) -> bytes:
    import fsspec

    said = url if len(url) <= 200 else f"{url[:200]}..."
    try:
        with fsspec.open(url, "rb") as file:
            return bytes(file.read())
    except ImportError as error:
        scheme = re.split(r"://|::|:", url, maxsplit=1)[0].lower()
        package = _PACKAGES.get(scheme)
        how = f"pip install {package}" if package else one_line(error)
        raise PictureError(f"{said!r} cannot be read without another package: {how}.") from error
    except FileNotFoundError:
        raise PictureError(f"There is no file {said!r}.") from None
    except Exception as error:  # each file system has errors of its own
        why = f"{type(error).__name__}: {one_line(error)}" if str(error) else type(error).__name__
        raise PictureError(f"{said!r} cannot be read ({why}).") from error
