"""Reading pictures: whatever a person has -> (C,H,W) float in [0,1], upright and of the right size."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from nn_lens.engine.pictures.depth import deep_values, eight_bits, is_deep
from nn_lens.engine.pictures.files import is_file, name_of, open_source
from nn_lens.engine.pictures.values import (
    OVERSHOOT,
    as_array,
    as_tensor,
    kind_of,
    read_values,
    require_range,
    unit_floats,
)
from nn_lens.errors import PictureError, a_type

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def read_picture(source: Any, shape: tuple[int, ...], kind: str = "picture", normalizes: bool = False) -> torch.Tensor:
    """`source` as a float32 tensor of `shape`: a picture (C,H,W) in [0,1], or what else a network reads, as it is.

    Pictures: a path, a URL that fsspec opens, bytes of a picture file, an open binary file, a PIL image, an (H,W[,C])
    array or a (C,H,W) tensor. bool, uint8 (white is 255), uint16 (65535) and floats in [0,1] are read; other integers
    do not say what white is, and raise. Of files with 12, 16 or 32 bits a pixel, white is what the file says. What is of
    exactly `shape` is taken as it is; all else is turned upright (EXIF), converted, resized (short side, antialiased),
    centre-cropped. Floats may overshoot [0,1] by 0.1, as bicubic resizing does.

    Other kinds, "signal" (C,L), "volume" (C,D,H,W), "sequence" (T,F) and "vector" (F,): arrays, tensors, lists or .npy
    files of that shape; a dimension of one channel or feature may be left out. bool, integers and floats are
    taken as they are.

    Args:
        source: what is read.
        shape: of the network's input.
        kind: of the network's input; where it does not fit `shape`, the number of dimensions decides.
        normalizes: whether the network normalizes by itself: floats beyond [0,1] look normalized already, and raise.
            If not, a float tensor or array of exactly `shape` may have any values.

    Raises:
        PictureError: no picture, a cut-off file, values out of range, or a shape or channels that do not fit.
    """
    kind = kind_of(shape, kind)
    if kind != "picture":
        return read_values(source, shape, kind)
    if isinstance(source, torch.Tensor):
        return _from_channels(as_array(source), shape, normalizes)
    if _is_array(source):
        array = as_array(source)
        if array.shape == shape:
            return _from_channels(array, shape, normalizes)
        return _from_array(array, shape, normalizes)
    image = open_image(source)
    if is_deep(image):
        return _from_array(deep_values(image), shape)
    if image.mode == "F":
        return _from_array(np.asarray(image, np.float32), shape, normalizes)
    return _from_pil(image, shape)


def open_image(source: Any) -> Image.Image:
    """An upright, fully loaded PIL image of a path, URL, bytes, an open file or a PIL image.

    Files with integers of more than 8 bits become floats in [0,1], of mode "F".

    Raises:
        PictureError: the file is missing, no picture, cut off, or implausibly large.
    """
    if isinstance(source, Image.Image):
        turned = source.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(source) if turned else source
    if not is_file(source):
        what = a_type(source)
        raise PictureError(
            f"{what[0].upper()}{what[1:]} is no picture; pass a path, bytes, a PIL image, an (H,W,C) array or a (C,H,W) tensor."
        )
    name, file = name_of(source), open_source(source)
    try:
        with Image.open(file) as image:  # type: ignore[arg-type]
            image.load()
            upright = ImageOps.exif_transpose(image)
            if not is_deep(upright):
                return upright
            # What white is stands in the file only.
            return Image.fromarray(deep_values(upright, getattr(image, "tag_v2", {})))
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError(
            f"{name} is not a picture that can be read; use a JPEG, PNG, GIF, WebP or BMP file."
        ) from None
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name} is too large: {error}. Make it smaller first.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureError(
            f"{name} is a picture file that is cut off or damaged ({error}); save or fetch it again."
        ) from None


def _is_array(source: Any) -> bool:
    """Whether it is an array of any library; a number is none."""
    return isinstance(source, np.ndarray) or (
        hasattr(source, "__array__") and not isinstance(source, (Image.Image, np.generic))
    )


def _from_channels(a: np.ndarray, shape: tuple[int, ...], normalizes: bool) -> torch.Tensor:
    """A (C,H,W) picture, or an (H,W) one."""
    if a.dtype.kind in "biuf" and a.shape != shape and a.ndim not in (2, 3):
        batch = "; pass one picture without a batch dimension" if a.ndim == len(shape) + 1 else ""
        raise PictureError(f"This network reads {shape}, got a tensor of {a.shape}{batch}.")
    floats = unit_floats(a)
    if a.shape != shape or normalizes:
        require_range(floats, normalizes)
    x = as_tensor(floats)
    if a.shape == shape:
        return x
    x = x.clamp(0, 1)
    if x.ndim == 2:
        x = x[None]
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


def _from_array(a: np.ndarray, shape: tuple[int, ...], normalizes: bool = False) -> torch.Tensor:
    """An (H,W[,C]) picture."""
    if a.ndim not in (2, 3) or (a.ndim == 3 and a.shape[2] not in (*_MODES, shape[0])):
        raise PictureError(
            f"Arrays are (H,W), (H,W,1), (H,W,3) or (H,W,4), got {a.shape}; a (C,H,W) picture goes in as a torch tensor."
        )
    if 0 in a.shape:
        raise PictureError(f"The array {a.shape} is empty.")
    channels = a.shape[2] if a.ndim == 3 else 1
    if a.dtype == np.uint8 and channels in _MODES:
        return _from_pil(Image.fromarray(a[..., 0] if a.ndim == 3 and channels == 1 else a), shape)
    floats = unit_floats(a)
    require_range(floats, normalizes)
    x = as_tensor(floats.reshape(*a.shape[:2], channels).clip(0, 1).transpose(2, 0, 1))
    if channels == 4 and shape[0] == 3:
        x = x[:3] * x[3:] + (1 - x[3:])
    return _from_channels(x.numpy(), shape, normalizes)


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
    image = source if isinstance(source, Image.Image) else as_image(source, shape)
    if not isinstance(image, Image.Image):
        image = _stretched(read_picture(source, shape))
    image = flatten(eight_bits(ImageOps.exif_transpose(image))).convert("RGB")
    _, height, width = shape
    box = _central_box(image, height, width)
    scale = min(side / max(box[2] - box[0], box[3] - box[1]), 1.0)
    size = max(1, round((box[2] - box[0]) * scale)), max(1, round((box[3] - box[1]) * scale))
    return image.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=3)


def as_image(source: Any, shape: tuple[int, ...], kind: str = "picture", normalizes: bool = False) -> Any:
    """`source` as a PIL image; once checked, as it is where no image holds it: other channels, or values beyond [0,1].

    Inputs of other kinds than pictures come as arrays or tensors. Arguments as for `read_picture`.

    Raises:
        PictureError: it is no picture.
    """
    if len(shape) != 3:
        x = read_picture(source, shape, kind)
        return source if isinstance(source, torch.Tensor) or _is_array(source) else x.numpy()
    if shape[0] not in _MODES:
        read_picture(source, shape, kind, normalizes)
        return source
    if not (isinstance(source, torch.Tensor) or _is_array(source)):
        return open_image(source)
    x = read_picture(source, shape, kind, normalizes)
    if isinstance(source, np.ndarray) and source.dtype == np.uint8 and source.shape != shape:
        return Image.fromarray(source.squeeze(2) if source.ndim == 3 and source.shape[2] == 1 else source)
    if float(x.min()) < -OVERSHOOT or float(x.max()) > 1 + OVERSHOOT:
        return source
    return _pil(x)


def _stretched(x: torch.Tensor) -> Image.Image:
    """A (C,H,W) picture of any values, its least as black and its largest as white."""
    low, high = float(x.min()), float(x.max())
    return _pil((x - low) / max(high - low, 1e-12))


def _pil(x: torch.Tensor) -> Image.Image:
    values = (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(values[..., 0] if x.shape[0] == 1 else values, _MODES[x.shape[0]])


def _central_box(image: Image.Image, height: int, width: int) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the largest central part of the proportions height : width."""
    scale = max(height / image.height, width / image.width)
    crop = width / scale, height / scale
    # Quotients may be a last bit longer than the picture.
    left, top = max(0.0, (image.width - crop[0]) / 2), max(0.0, (image.height - crop[1]) / 2)
    return left, top, min(left + crop[0], image.width), min(top + crop[1], image.height)


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
