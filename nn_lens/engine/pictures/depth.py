"""Pictures of more than 8 bits a pixel: their numbers, and what is white in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from nn_lens.errors import PictureError

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF files


def is_deep(image: Image.Image) -> bool:
    """Whether a picture's pixels are integers of more than 8 bits."""
    return image.mode == "I" or image.mode.startswith("I;16")


def deep_values(image: Image.Image, tags: Mapping[int, Any] | None = None) -> np.ndarray:
    """(H,W) float32 in [0,1] of a picture whose pixels are integers of more than 8 bits.

    White is what the bits that a TIFF file says hold at most (4095 of 12 bits), else 65535; for pixels of 32 bits
    without such a note, 65535 if none is above, else 2**31 - 1. tags: of the file, if the picture does not have them.

    Raises:
        PictureError: it holds negative numbers, which are no brightness.
    """
    tags = getattr(image, "tag_v2", None) or {} if tags is None else tags
    values = np.asarray(image)
    bits, signed = _first(tags.get(_BITS)), _first(tags.get(_SAMPLE_FORMAT)) == 2
    if bits == 32 and not signed:
        values = values.view(np.uint32)
    if values.size and values.min() < 0:
        raise PictureError(
            f"The picture holds negative numbers, down to {values.min()}; pass an array of floats in [0,1]."
        )
    if bits:
        white = 2 ** (bits - signed) - 1
    else:
        white = 65535 if image.mode != "I" or not values.size or values.max() <= 65535 else 2**31 - 1
    shares = (values / white).astype(np.float32)
    return np.asarray(1 - shares if tags and tags.get(_PHOTOMETRIC) == 0 else shares)


def eight_bits(image: Image.Image) -> Image.Image:
    """The picture for showing: integers of more than 8 bits, and floats in [0,1], as 8 bits of grey."""
    if is_deep(image):
        values = deep_values(image)
    elif image.mode == "F":
        values = np.asarray(image)
    else:
        return image
    return Image.fromarray(np.round(np.nan_to_num(values).clip(0, 1) * 255).astype(np.uint8))


def _first(tag: Any) -> int:
    return int(tag[0] if isinstance(tag, (tuple, list)) else tag or 0)
