"""Reading pictures: whatever a person has -> (C,H,W) float in [0,1], upright and of the right size."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from nn_lens.errors import PictureError, nearest

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def read_picture(source: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """`source` as a float32 tensor of `shape`, (C,H,W) in [0,1] or a vector (F,).

    source: a path, bytes of a picture file, a PIL image, an (H,W[,C]) uint8 or float array in [0,1],
    or a (C,H,W) float tensor in [0,1]. An array or tensor of exactly `shape` is taken as it is;
    all else is turned upright (EXIF), converted, resized (short side, antialiased), centre-cropped.

    Raises:
        PictureError: no picture, a cut-off file, values out of range, or channels that do not fit.
    """
    if isinstance(source, torch.Tensor) or (isinstance(source, np.ndarray) and source.shape == shape):
        return _from_tensor(torch.as_tensor(source).detach().cpu(), shape)
    if len(shape) != 3:
        return _from_tensor(_vector(source, shape), shape)
    if isinstance(source, np.ndarray):
        return _from_array(source, shape)
    image = open_image(source)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image, np.float32)
        # 16-bit pictures; float images must already be in [0,1].
        return _from_array(values if image.mode == "F" else values / 65535, shape)
    return _from_pil(image, shape)


def open_image(source: Any) -> Image.Image:
    """An upright, fully loaded PIL image of a path, bytes or a PIL image.

    Raises:
        PictureError: the file is missing, no picture, cut off, or implausibly large.
    """
    if isinstance(source, Image.Image):
        turned = source.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(source) if turned else source
    name = f"{Path(source).name!r}" if isinstance(source, (str, os.PathLike)) else "The data"
    if isinstance(source, (bytes, bytearray, memoryview)):
        file: Any = io.BytesIO(source)
    elif isinstance(source, (str, os.PathLike)):
        file = Path(source).expanduser()
        if not file.is_file():
            near = " It is a folder; pass one picture." if file.is_dir() else _nearest_files(file)
            raise PictureError(f"There is no file {str(source)!r}.{near}")
    else:
        raise PictureError(
            f"A {type(source).__name__} is no picture; pass a path, bytes, a PIL image, an (H,W,C) array or a (C,H,W) tensor."
        )
    try:
        with Image.open(file) as image:
            image.load()
            return ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        raise PictureError(
            f"{name} is no picture that Pillow can read; use a JPEG, PNG, GIF, WebP or BMP file."
        ) from None
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name} is too large: {error}. Make it smaller first.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureError(
            f"{name} is a picture file that is cut off or damaged ({error}); save or fetch it again."
        ) from None


def _nearest_files(file: Path) -> str:
    folder = file.parent
    if not folder.is_dir():
        return f" Its folder {str(folder)!r} does not exist either."
    pictures = [f.name for f in folder.iterdir() if f.suffix.lower() in Image.registered_extensions()]
    near = nearest(file.name, pictures)
    return f" Did you mean {', '.join(map(repr, near))}?" if near else ""


def _vector(source: Any, shape: tuple[int, ...]) -> torch.Tensor:
    try:
        return torch.as_tensor(np.asarray(source, np.float32))
    except (TypeError, ValueError):
        raise PictureError(
            f"This network reads vectors of {shape[0]} numbers, got a {type(source).__name__}."
        ) from None


def _from_tensor(x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    if x.dtype == torch.uint8:
        x = x / 255
    x = x.float()
    if not bool(torch.isfinite(x).all()):
        raise PictureError("The picture holds NaN or infinite values.")
    if tuple(x.shape) == shape:
        return x
    if len(shape) == 3 and x.ndim == 2:
        x = x[None]
    if len(shape) != 3 or x.ndim != 3:
        batch = "; pass one picture without a batch dimension" if x.ndim == len(shape) + 1 else ""
        raise PictureError(f"This network reads {shape}, got a tensor of {tuple(x.shape)}{batch}.")
    _check_range(x.numpy())
    if x.shape[0] != shape[0]:
        if x.shape[0] == 1:
            x = x.expand(shape[0], -1, -1)
        elif shape[0] == 1 and x.shape[0] == 3:
            x = (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True)
        else:
            raise PictureError(
                f"This network reads {shape[0]} channels, got a tensor of {tuple(x.shape)}; tensors are (C,H,W)."
            )
    return _covering(x, shape)


def _from_array(a: np.ndarray, shape: tuple[int, ...]) -> torch.Tensor:
    if a.ndim not in (2, 3) or (a.ndim == 3 and a.shape[2] not in (*_MODES, shape[0])):
        raise PictureError(
            f"Arrays are (H,W), (H,W,1), (H,W,3) or (H,W,4), got {a.shape}; a (C,H,W) picture goes in as a torch tensor."
        )
    if 0 in a.shape:
        raise PictureError(f"The array {a.shape} is empty.")
    channels = a.shape[2] if a.ndim == 3 else 1
    if a.dtype == np.uint8 and channels in _MODES:
        return _from_pil(Image.fromarray(a[..., 0] if a.ndim == 3 and channels == 1 else a), shape)
    if a.dtype == np.bool_ or a.dtype == np.uint8:
        a = a.astype(np.float32) / (255 if a.dtype == np.uint8 else 1)
    elif not np.issubdtype(a.dtype, np.floating):
        raise PictureError(f"Arrays are uint8 in 0..255 or float in [0,1], got {a.dtype}; convert it first.")
    a = a.astype(np.float32)
    _check_range(a)
    x = torch.from_numpy(np.ascontiguousarray(a.reshape(a.shape[0], a.shape[1], channels).transpose(2, 0, 1)))
    if channels == 4 and shape[0] == 3:
        x = x[:3] * x[3:] + (1 - x[3:])
    return _from_tensor(x, shape)


def _check_range(a: np.ndarray) -> None:
    low, high = float(np.min(a)), float(np.max(a))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise PictureError("The picture holds NaN or infinite values.")
    if low < -1e-4 or high > 1 + 1e-4:
        raise PictureError(
            f"Float pictures have values in [0,1], got {low:.4g} to {high:.4g}; divide by 255, or pass uint8."
        )


def _from_pil(image: Image.Image, shape: tuple[int, ...]) -> torch.Tensor:
    channels, height, width = shape
    if channels not in _MODES:
        raise PictureError(
            f"This network reads {channels} channels, which no picture file has; pass a float tensor of {shape}."
        )
    image = flatten(image) if channels != 4 else image
    image = image.convert(_MODES[channels])
    box = _central_box(image, height, width)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC, box=box, reducing_gap=3)
    values = np.asarray(image, np.float32).reshape(height, width, channels) / 255
    return torch.from_numpy(values.transpose(2, 0, 1).copy())


def display_picture(source: Any, shape: tuple[int, ...], side: int) -> Image.Image | None:
    """The part of a picture that a network of input `shape` sees, in RGB, for people: at most `side` pixels long.

    Small pictures stay as they are; None where the network's input is no picture.
    """
    if len(shape) != 3 or shape[0] not in _MODES:
        return None
    if not isinstance(source, Image.Image):
        source = as_image(source, shape)
    image = flatten(ImageOps.exif_transpose(source)).convert("RGB")
    _, height, width = shape
    box = _central_box(image, height, width)
    scale = min(side / max(box[2] - box[0], box[3] - box[1]), 1.0)
    size = max(1, round((box[2] - box[0]) * scale)), max(1, round((box[3] - box[1]) * scale))
    return image.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=3)


def as_image(source: Any, shape: tuple[int, ...]) -> Any:
    """`source` as a PIL image; as it is, once checked, where the network's input is none that Pillow holds.

    Raises:
        PictureError: it is no picture.
    """
    if len(shape) != 3 or shape[0] not in _MODES:
        read_picture(source, shape)
        return source
    if not isinstance(source, (np.ndarray, torch.Tensor)):
        return open_image(source)
    x = read_picture(source, shape)
    if isinstance(source, np.ndarray) and source.dtype == np.uint8 and source.shape != shape:
        return Image.fromarray(source.squeeze(2) if source.ndim == 3 and source.shape[2] == 1 else source)
    values = (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(values[..., 0] if shape[0] == 1 else values, _MODES[shape[0]])


def _central_box(image: Image.Image, height: int, width: int) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the largest central part of the proportions height : width."""
    scale = max(height / image.height, width / image.width)
    crop = width / scale, height / scale
    left, top = (image.width - crop[0]) / 2, (image.height - crop[1]) / 2
    return left, top, left + crop[0], top + crop[1]


def flatten(image: Image.Image) -> Image.Image:
    """The picture as seen on white paper: transparency removed."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image


def _covering(x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    _, height, width = shape
    h, w = x.shape[1:]
    scale = max(height / h, width / w)
    size = max(height, round(h * scale)), max(width, round(w * scale))
    if size != (h, w):
        x = F.interpolate(x[None], size, mode="bilinear", antialias=True, align_corners=False)[0].clamp(0, 1)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return x[:, top : top + height, left : left + width].contiguous()
