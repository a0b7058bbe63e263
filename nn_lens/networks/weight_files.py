"""The contents of a checkpoint file, of which no code is run and which takes no more memory than it has bytes.

Read are safetensors, what `torch.save` writes (`weights_only=True`, after a look at what its pickle wants), and what
it wrote before torch 1.6.
"""

from __future__ import annotations

import io
import pickle
import shutil
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from nn_lens.engine.pictures.files import name_of, open_source
from nn_lens.errors import LensError, one_line, quoted
from nn_lens.networks import pickled
from nn_lens.networks.pickled import NotWeights

SUFFIXES = (".pt", ".pth", ".safetensors")
_HEADER = 8 << 20  # bytes: the header of a thousand tensors has 100 KB
_DIRECTORY = 8 << 20  # bytes of a zip file's table of contents
_LEGACY = 4  # pickles before the tensors: a magic number, the protocol, the system, the object
_SAVE = "Save the weights alone where they were made, torch.save(model.state_dict(), 'weights.pt'), and load that."


@contextmanager
def local_file(source: Any) -> Iterator[Path]:
    """`source` as a file of this machine: a path, a URL as fsspec opens them, bytes, or an open file.

    Raises:
        LensError: there is no such file, it is a folder or empty, or it cannot be read.
    """
    opened = open_source(source, "checkpoint", SUFFIXES)
    if isinstance(opened, Path):
        yield _checked(opened, name_of(source))
        return
    with tempfile.NamedTemporaryFile(prefix="nn-lens-") as copy:
        shutil.copyfileobj(opened, copy)
        copy.flush()
        yield _checked(Path(copy.name), name_of(source))


def _checked(file: Path, name: str) -> Path:
    if not file.stat().st_size:
        raise LensError(f"{name} is empty; it may not have been written or copied to its end.")
    return file


def read_checkpoint(file: Path, name: str) -> tuple[Any, Mapping[str, str]]:
    """What a file holds, tensors on the CPU, and the texts that a safetensors file says of itself.

    name: what to call it in a message.

    Raises:
        LensError: it is no checkpoint, is damaged, or cannot be read without running code of its own; says which.
    """
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(10)
        opened.seek(0)
        try:
            if start[:2] == b"PK":
                return _zipped(opened, file, size), {}
            if start[8:9] == b"{":
                return _safetensors(file, size, struct.unpack("<Q", start[:8])[0])
            if start[:1] == b"\x80":
                return _legacy(opened, size), {}
        except NotWeights as error:
            way = "" if _SAVE[:-1] in str(error) else f" Fetch it again, or s{_SAVE[1:]}"
            raise LensError(f"{name} is not read as a checkpoint: {error}.{way}") from None
        except OSError as error:
            raise LensError(f"{name} cannot be read: {one_line(error)}.") from error
    raise LensError(
        f"{name} is no checkpoint: it begins with {start[:4]!r}. Checkpoints are {', '.join(SUFFIXES)}, as torch.save and "
        "safetensors write them."
    )


# ---- safetensors ----


def _safetensors(file: Path, size: int, header: int) -> tuple[Any, Mapping[str, str]]:
    import safetensors
    import safetensors.torch

    if header > size - 8:
        raise NotWeights(
            f"its header says that it has {header} bytes, and the file has {size}; it is cut short or damaged"
        )
    if header > _HEADER:
        raise NotWeights(f"its header has {header >> 20} MB, as no list of weights does")
    try:
        with safetensors.safe_open(file, "pt") as opened:
            said = dict(opened.metadata() or {})
        return safetensors.torch.load_file(file), said
    except Exception as error:
        raise NotWeights(f"it is damaged ({one_line(error)})") from error


# ---- what torch.save writes ----


def _zipped(opened: IO[bytes], file: Path, size: int) -> Any:
    if _directory_size(opened, size) > _DIRECTORY:
        raise NotWeights("it has more parts than any checkpoint")
    try:
        with zipfile.ZipFile(opened) as parts:
            entries = parts.infolist()
            record = _record(entries, size)
            with parts.open(record) as inside:
                pickle_bytes = inside.read()
    except (zipfile.BadZipFile, EOFError, struct.error, ValueError, NotImplementedError, RuntimeError) as error:
        raise NotWeights(f"it is cut short or damaged ({one_line(error)})") from error
    wanted, storages = pickled.look(io.BytesIO(pickle_bytes), size)
    _refuse_code(wanted)
    folder = record.filename.removesuffix("data.pkl")
    there = {entry.filename for entry in entries}
    keys = (key.decode("ascii", "replace") if isinstance(key, bytes) else key for key in storages)
    missing = [key for key in keys if f"{folder}data/{key}" not in there]
    if missing:
        raise NotWeights(f"the numbers of {len(missing)} of its tensors are missing")
    return _load(str(file), mmap=True)


def _record(entries: list[zipfile.ZipInfo], size: int) -> zipfile.ZipInfo:
    """The part with the pickle of a file whose parts are stored as they are, one behind the other."""
    names = [entry.filename for entry in entries]
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise NotWeights("it is a TorchScript archive, which is code. " + _SAVE[:-1])
    found = [entry for entry in entries if entry.filename.count("/") == 1 and entry.filename.endswith("/data.pkl")]
    if not found:
        raise NotWeights("it is a zip file that torch.save has not written")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise NotWeights("its parts are compressed, as torch.save never writes them")
    if sum(entry.file_size for entry in entries) > size or len(set(names)) < len(names) or len(found) > 1:
        raise NotWeights("its parts overlap, as torch.save never writes them")
    if found[0].file_size > pickled.LARGEST:
        raise NotWeights(f"its pickle is longer than {pickled.LARGEST >> 20} MB, as no list of weights is")
    return found[0]


def _directory_size(file: IO[bytes], size: int) -> int:
    """How long a zip file's table of contents says that it is."""
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    file.seek(0)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 16:
        raise NotWeights("it is cut short: the end of a zip file is missing")
    told: int = struct.unpack("<L", tail[end + 12 : end + 16])[0]
    large = tail.rfind(b"PK\x06\x06", 0, end)
    if told == 0xFFFFFFFF and large >= 0 and len(tail) >= large + 48:
        told = struct.unpack("<Q", tail[large + 40 : large + 48])[0]
    return told


def _legacy(opened: IO[bytes], size: int) -> Any:
    """What torch.save wrote before torch 1.6, or any other pickle."""
    wanted, _ = pickled.look(opened, size, _LEGACY)
    _refuse_code(wanted)
    opened.seek(0)
    return _load(opened)


def _load(source: Any, **options: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(source, map_location="cpu", weights_only=True, **options)
    except pickle.UnpicklingError as error:  # its message is a page long, and recommends to run the code
        raise NotWeights("it is damaged, or no list of weights: torch does not read its pickle") from error
    except Exception as error:
        raise NotWeights(f"it is cut short or damaged ({type(error).__name__}: {one_line(error)})") from error


def _refuse_code(wanted: frozenset[str]) -> None:
    if not wanted:
        return
    names = sorted(wanted)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    said = ", ".join(quoted(n)[1:-1] for n in names[:3]) + more
    raise NotWeights(f"its pickle wants {said}, and to make that would run code. Nothing of it was run. " + _SAVE[:-1])
