"""Pictures as JPEGs, as an atlas keeps them, and back."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

_QUALITY = 92


def fits(shape: tuple[int, ...], kind: str) -> bool:
    """Whether inputs of a shape are pictures that a JPEG holds: grey, or red, green and blue."""
    return kind == "picture" and shape[0] in (1, 3)


def jpeg(picture: np.ndarray) -> bytes:
    """Of (C,H,W) in [0,1], with 1 or 3 channels; colours as sharp as the light."""
    levels = np.round(picture.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels).save(
        file, "JPEG", quality=_QUALITY, subsampling=0, optimize=True
    )
    return file.getvalue()


def picture_of(data: bytes) -> np.ndarray:
    """(C,H,W) float32 in [0,1] of a JPEG."""
    levels = np.asarray(Image.open(io.BytesIO(data)), np.float32) / 255
    return levels[None] if levels.ndim == 2 else np.ascontiguousarray(levels.transpose(2, 0, 1))
