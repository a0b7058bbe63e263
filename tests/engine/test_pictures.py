"""What counts as a picture, and what is said of what does not."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from models import small
from PIL import Image

import nn_lens as nl


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


GRADIENT = np.stack(np.broadcast_arrays(np.arange(56)[None, :] * 4, np.arange(40)[:, None] * 6, 90), 2).astype(np.uint8)
SHAPE = (3, 20, 28)


def seen(source, shape=SHAPE):
    return small(shape[0], shape[1:]).picture(source).numpy()


def test_all_forms_of_a_picture_are_seen_alike(tmp_path):
    image = Image.fromarray(GRADIENT)
    image.save(tmp_path / "a.png")
    expected = seen(image)
    assert expected.shape == SHAPE
    assert expected.dtype == np.float32
    assert 0 <= expected.min() < expected.max() <= 1
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), encoded(image, "PNG"), GRADIENT):
        np.testing.assert_array_equal(seen(source), expected)
    for source in (
        GRADIENT.astype(np.float32) / 255,
        torch.from_numpy(GRADIENT.transpose(2, 0, 1).copy()).float() / 255,
    ):
        assert np.abs(seen(source) - expected).mean() < 0.02


def test_a_tensor_of_the_input_shape_is_taken_as_it_is():
    x = torch.randn(SHAPE)
    np.testing.assert_array_equal(seen(x), x.numpy())


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_every_mode_of_a_file_is_read(mode):
    image = Image.fromarray(GRADIENT)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)
    else:
        image = image.convert(mode)
    for shape in (SHAPE, (1, 20, 28)):
        values = seen(image, shape)
        assert values.shape == shape
        assert values.max() <= 1
        assert values.std() > 0.05


def test_upright_by_exif():
    image = Image.fromarray(GRADIENT)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = image.rotate(90, expand=True)
    data = encoded(turned, "JPEG", quality=95, exif=exif)
    assert np.abs(seen(data) - seen(image)).max() < 0.06


def test_transparent_is_white():
    assert seen(Image.new("RGBA", (40, 40), (0, 0, 0, 0))).min() == 1


def test_the_centre_is_kept():
    wide = np.zeros((20, 100, 3), np.uint8)
    wide[:, 40:60] = 255
    middle = seen(wide)[:, :, 14]
    assert middle.min() > 0.95
    assert seen(wide)[:, :, 0].max() < 0.05


JPEG = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 90, 3), np.uint8)), "JPEG")
BAD = {
    "missing": ("no_such.png", "no file 'no_such.png'"),
    "text": (b"this is no picture", "no picture that Pillow can read"),
    "empty": (b"", "no picture"),
    "truncated": (JPEG[: len(JPEG) // 2], "cut off"),
    "number": (3, "a path, bytes, a PIL image"),
    "range": (np.full((5, 5, 3), 200.0), r"\[0,1\].*200"),
    "nan": (np.full((5, 5), np.nan), "NaN"),
    "integers": (np.zeros((5, 5, 3), np.int64), "uint8"),
    "five channels": (np.zeros((5, 5, 5), np.uint8), r"\(5, 5, 5\)"),
    "no pixels": (np.zeros((0, 5, 3), np.uint8), "empty"),
    "batch": (torch.zeros(1, 3, 20, 28), "batch"),
    "two channels": (torch.zeros(2, 9, 9), "3 channels"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_named(name):
    source, says = BAD[name]
    with pytest.raises(nl.LensError, match=says):
        seen(source)


def test_a_missing_file_names_the_nearest(tmp_path):
    Image.fromarray(GRADIENT).save(tmp_path / "holiday.png")
    with pytest.raises(nl.LensError, match=r"holiday\.png"):
        seen(tmp_path / "holidy.png")


def test_four_channels_read_arrays():
    x = np.random.default_rng(1).random((20, 28, 4)).astype(np.float32)
    np.testing.assert_allclose(seen(x, (4, 20, 28)), x.transpose(2, 0, 1), atol=1e-6)
    with pytest.raises(nl.LensError, match="5 channels"):
        seen(Image.fromarray(GRADIENT), (5, 20, 28))
