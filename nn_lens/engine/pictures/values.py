"""Numbers that stand for pictures, and inputs of networks that read something else than pictures."""

from __future__ import annotations

import io
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nn_lens.engine.pictures.files import is_file, name_of, open_source
from nn_lens.errors import PictureError, a_type, one_line

FORMS = {"picture": "(C,H,W)", "signal": "(C,L)", "volume": "(C,D,H,W)", "sequence": "(T,F)", "vector": "(F,)"}
"""The kinds of input that networks read, and the shape of one."""

OVERSHOOT = 0.1
"""How far pictures may leave [0,1]: bicubic resizing overshoots at edges by about this much."""

_KINDS = {1: "vector", 2: "signal", 3: "picture", 4: "volume"}
_NORMALIZED = 16  # values are below it after normalization with any usual deviation


def kind_of(shape: tuple[int, ...], kind: str = "picture") -> str:
    """The kind of an input of `shape`: `kind`, where that has as many dimensions."""
    fits = kind in FORMS and FORMS[kind].count(",") + (kind != "vector") == len(shape)
    return kind if fits else _KINDS.get(len(shape), "vector")


def as_array(source: Any) -> np.ndarray:
    """A tensor, an array, or what numpy makes an array of; a tensor of floats is read as float32.

    Raises:
        PictureError: numpy makes none of it.
    """
    try:
        if isinstance(source, torch.Tensor):
            x = source.detach().cpu()
            x = x.dequantize() if x.is_quantized else x.to_dense() if x.layout != torch.strided else x
            x = x.as_subclass(torch.Tensor)
            return np.asarray((x.float() if x.is_floating_point() else x).numpy())
        return np.asarray(source)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise PictureError(f"No array of numbers can be made of {a_type(source)}: {one_line(error)}.") from None


def as_tensor(a: np.ndarray) -> torch.Tensor:
    """A float32 tensor of an array; of read-only arrays and of other dtypes a copy."""
    a = np.ascontiguousarray(a, np.float32)
    return torch.from_numpy(a if a.flags.writeable else a.copy())


# ---- pictures ----


def unit_floats(a: np.ndarray) -> np.ndarray:
    """A picture's numbers as float32, 1 for white: bool as it is, uint8 of 255, uint16 of 65535, floats as they are.

    Raises:
        PictureError: another dtype, whose white is not known, or values that are not finite.
    """
    if a.dtype == np.bool_:
        return a.astype(np.float32)
    if a.dtype in (np.uint8, np.uint16):
        return np.asarray(a / np.float32(np.iinfo(a.dtype).max), np.float32)
    if np.issubdtype(a.dtype, np.integer):
        seen = f" with values from {a.min()} to {a.max()}" if a.size else ""
        raise PictureError(
            f"Pictures are uint8 in 0..255, uint16 in 0..65535, or float in [0,1], got {a.dtype}{seen}, whose white is not "
            "known: divide by the largest value that it can have, or convert it to uint8 or uint16."
        )
    _require_floats(a, "picture")
    if 0 in a.shape:
        raise PictureError(f"The array {a.shape} is empty.")
    floats = a.astype(np.float32, copy=False)
    _require_finite(floats, "picture")
    return floats


def require_range(a: np.ndarray, normalizes: bool = False) -> None:
    """Nothing, for values in [0,1] give or take `OVERSHOOT`.

    normalizes: whether the network normalizes, so that what is normalized already would be normalized twice.

    Raises:
        PictureError: other values; says what they look like.
    """
    low, high = float(np.min(a)), float(np.max(a))
    if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return
    seen = f"{low:.4g} to {high:.4g}"
    if normalizes and high <= _NORMALIZED:
        raise PictureError(
            f"Values from {seen} look normalized already, and this network normalizes by itself: pass the picture before "
            "its normalization, with values in [0,1], or make the network with nl.Network(..., normalize=False)."
        )
    way = "undo what normalized them" if low < -OVERSHOOT else "divide by 255, or pass uint8"
    raise PictureError(f"Float pictures have values in [0,1], got {seen}; {way}.")


# ---- signals, volumes, sequences, vectors ----


def read_values(source: Any, shape: tuple[int, ...], kind: str) -> torch.Tensor:
    """`source` as a float32 tensor of `shape`, its numbers as they are.

    source: an array, tensor or list of `shape`, without its first dimension where that is one channel (of sequences
    without the last, where that is one feature), or a .npy file, by path, URL, bytes or open file.

    Raises:
        PictureError: another shape, no real numbers, or values that are not finite; a picture file.
    """
    reads = f"This network reads {kind}s {FORMS[kind]} of {shape}"
    if isinstance(source, Image.Image):
        raise PictureError(f"{reads}, and no pictures; pass an array.")
    try:
        a = load_npy(source, reads) if is_file(source) else as_array(source)
    except PictureError as error:
        if is_file(source):
            raise
        raise PictureError(f"{reads}, got {a_type(source)}; pass an array of numbers. {error}") from None
    _require_floats(a, kind)
    a = _of_shape(a, shape, kind, reads)
    with np.errstate(over="ignore"):
        a = a.astype(np.float32, copy=False)
    _require_finite(a, kind)
    return as_tensor(a)


def load_npy(source: Any, reads: str = "An array file is .npy", lazily: bool = False) -> np.ndarray:
    """The array of a .npy file; lazily: left on the disk, for a local path.

    Raises:
        PictureError: it is no such file, or holds Python objects.
    """
    file = open_source(source)
    try:
        data = np.load(file, mmap_mode="r" if lazily and not isinstance(file, io.BytesIO) else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        begins = _beginning(file)
        what = "a picture" if _is_picture(file) else "no .npy file that can be read"
        # Of a file that is not numpy's at all, it says how to load Python objects.
        why = f" ({one_line(error)})" if begins == np.lib.format.MAGIC_PREFIX else ""
        raise PictureError(f"{reads}. {name_of(source)} is {what}{why}. Pass an array or a .npy file.") from None
    if not isinstance(data, np.ndarray):
        raise PictureError(f"{reads}. {name_of(source)} is an archive of arrays. Pass one of them.")
    return data


def _beginning(file: io.BufferedIOBase | Path) -> bytes:
    with file.open("rb") if isinstance(file, Path) else nullcontext(file) as opened:
        opened.seek(0)
        return opened.read(len(np.lib.format.MAGIC_PREFIX))


def _is_picture(file: io.BufferedIOBase | Path) -> bool:
    if not isinstance(file, Path):
        file.seek(0)
    try:
        with Image.open(file):  # type: ignore[arg-type]
            return True
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def _of_shape(a: np.ndarray, shape: tuple[int, ...], kind: str, reads: str) -> np.ndarray:
    if a.shape == shape:
        return a
    if kind in ("signal", "volume") and shape[0] == 1 and a.shape == shape[1:]:
        return a[None]
    if kind == "sequence" and shape[1] == 1 and a.shape == shape[:1]:
        return a[:, None]
    way = ""
    if a.ndim == len(shape) + 1:
        way = f"; pass one {kind} without a batch dimension"
    elif a.shape == shape[::-1]:
        way = f"; pass it transposed, {FORMS[kind]}"
    elif a.ndim == len(shape) and kind in ("signal", "volume") and a.shape[0] == shape[0]:
        way = "; cut it or fill it up to that length" if kind == "signal" else "; crop or resize it"
        way += f", or make the network with input_shape={a.shape} if it can read that"
    raise PictureError(f"{reads}, got {a.shape}{way}.")


def _require_floats(a: np.ndarray, kind: str) -> None:
    if a.dtype.kind in "biuf":
        return
    what = {"c": "complex numbers; pass their real part or magnitude", "O": "Python objects", "U": "text", "S": "text"}
    raise PictureError(f"A {kind} is made of real numbers, got {what.get(a.dtype.kind, a.dtype)}.")


def _require_finite(a: np.ndarray, kind: str) -> None:
    bad = ~np.isfinite(a)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise PictureError(
            f"The {kind} holds NaN or infinite values, {int(bad.sum())} of {a.size}, the first at {first}; replace them, "
            "for instance by np.nan_to_num."
        )
