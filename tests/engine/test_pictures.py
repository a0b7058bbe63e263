"""What counts as a picture, and what is said of what does not."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
import torch
from models import small
from PIL import Image

import nn_lens as nl
from nn_lens.engine.pictures.depth import eight_bits
from nn_lens.engine.pictures.picture import _central_box, as_image, display_picture, open_image, read_picture


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


GRADIENT = np.stack(np.broadcast_arrays(np.arange(56)[None, :] * 4, np.arange(40)[:, None] * 6, 90), 2).astype(np.uint8)
SHAPE = (3, 20, 28)


@cache
def network(shape) -> nl.Network:
    return small(shape[0], shape[1:])


def seen(source, shape=SHAPE):
    return network(shape).picture(source).numpy()


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


def test_every_size_is_read():
    """Of a side of 79 pixels, the largest part of a picture was a last bit larger than the picture."""
    pictures = [Image.new("RGB", size, "teal") for size in ((451, 300), (300, 451), (600, 600), (512, 512), (97, 101))]
    for side in range(8, 260):
        for shape in ((3, side, side), (3, side, side + 7), (3, side + 13, side)):
            for picture in pictures:
                left, top, right, bottom = _central_box(picture, *shape[1:])
                assert 0 <= left < right <= picture.width
                assert 0 <= top < bottom <= picture.height
    for picture in pictures:
        assert read_picture(picture, (3, 79, 79)).shape == (3, 79, 79)
        assert display_picture(picture, (3, 158, 145), 448).size[0] > 0


def test_the_centre_is_kept():
    wide = np.zeros((20, 100, 3), np.uint8)
    wide[:, 40:60] = 255
    middle = seen(wide)[:, :, 14]
    assert middle.min() > 0.95
    assert seen(wide)[:, :, 0].max() < 0.05


JPEG = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 90, 3), np.uint8)), "JPEG")
BAD = {
    "missing": ("no_such.png", "no file 'no_such.png'"),
    "text": (b"this is no picture", "is not a picture that can be read"),
    "empty": (b"", "is not a picture that can be read"),
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


# ---- where pictures come from ----


class Resource:
    """A file inside a package, as importlib.resources gives them: no path, but bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read_bytes(self) -> bytes:
        return self.data


def test_open_files_urls_and_resources_are_read(tmp_path):
    import fsspec

    image = Image.fromarray(GRADIENT)
    data, expected = encoded(image, "PNG"), seen(image)
    (tmp_path / "a.png").write_bytes(data)
    with fsspec.open("memory://nn-lens/a.png", "wb") as file:
        file.write(data)
    for source in (
        io.BytesIO(data), (tmp_path / "a.png").as_uri(), "memory://nn-lens/a.png", Resource(data), bytearray(data),
        memoryview(data), np.str_(tmp_path / "a.png"),
    ):  # fmt: skip
        np.testing.assert_array_equal(seen(source), expected)
    for opened in ((tmp_path / "a.png").open("rb"), fsspec.filesystem("memory").open("/nn-lens/a.png")):
        np.testing.assert_array_equal(seen(opened), expected)


def test_an_open_file_is_read_from_where_it_stands_and_left_there():
    data = encoded(Image.fromarray(GRADIENT), "PNG")
    file = io.BytesIO(b"head" + data)
    file.seek(4)
    for _ in range(2):
        np.testing.assert_array_equal(seen(file), seen(data))
        assert file.tell() == 4
    file.seek(0, io.SEEK_END)
    with pytest.raises(nl.LensError, match=r"stands at its end; call its seek\(0\) first"):
        seen(file)


def test_what_cannot_be_fetched_names_the_url_and_the_cause(tmp_path, monkeypatch):
    import fsspec

    with pytest.raises(nl.LensError, match=r"no file 'memory://nn-lens/none\.png'"):
        seen("memory://nn-lens/none.png")
    with pytest.raises(nl.LensError, match=r"'nosuch://a.png' cannot be read \(ValueError: Protocol not known: nosuch"):
        seen("nosuch://a.png")
    with pytest.raises(nl.LensError, match="open as text; open it with mode 'rb'"):
        seen(io.StringIO("text"))
    (tmp_path / "note.txt").write_text("text")
    with pytest.raises(nl.LensError, match=r"note\.txt' is not a picture that can be read"):
        seen((tmp_path / "note.txt").as_uri())
    with pytest.raises(nl.LensError, match="is a folder; pass one picture"):
        seen(tmp_path)
    with pytest.raises(nl.LensError, match=r"no file '|is no path of a file"):
        seen("base64," + "x" * 5000)

    def missing(*_):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "open", missing)
    with pytest.raises(nl.LensError, match=r"'s3://b/a.png' cannot be read without another package: pip install s3fs"):
        seen("s3://b/a.png")
    with pytest.raises(nl.LensError, match="pip install aiohttp requests"):
        seen("https://example.org/a.png")


# ---- what is white ----


def tiff(values: np.ndarray, bits: int, **tags: int) -> bytes:
    """A grey TIFF file of one strip, little-endian, written by hand: Pillow writes neither 12 bits nor unsigned 32."""
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(np.uint32)
        packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1)
        data = packed.astype(np.uint8).tobytes()
    else:
        data = values.astype(f"<{'i' if tags.get('sample') == 2 else 'u'}{bits // 8}").tobytes()
    entries = {
        256: values.shape[1], 257: values.shape[0], 258: bits, 259: 1, 262: tags.get("photometric", 1), 273: 8, 277: 1,
        278: values.shape[0], 279: len(data), 339: tags.get("sample", 1),
    }  # fmt: skip
    table = b"".join(
        key.to_bytes(2, "little") + (4).to_bytes(2, "little") + (1).to_bytes(4, "little") + value.to_bytes(4, "little")
        for key, value in entries.items()
    )
    start = (8 + len(data)).to_bytes(4, "little")
    return b"II*\0" + start + data + len(entries).to_bytes(2, "little") + table + bytes(4)


def tiny(source) -> np.ndarray:
    return read_picture(source, (1, 2, 2)).numpy()


LEVELS = np.array([[0, 1], [1, 2]])  # black, a half, a half, white: times half of the range


@pytest.mark.parametrize(
    ("bits", "white", "tags"),
    [
        (12, 4095, {}),
        (16, 65535, {}),
        (32, 2**32 - 1, {}),
        (32, 2**31 - 1, {"sample": 2}),
        (16, 2**15 - 1, {"sample": 2}),
    ],
)
def test_white_is_what_the_file_says(bits, white, tags):
    values = (LEVELS * (white / 2)).round()
    data = tiff(values, bits, **tags)
    for source in (data, Image.open(io.BytesIO(data)), open_image(data)):
        np.testing.assert_allclose(tiny(source)[0], LEVELS / 2, atol=0.5 / 4095)


def test_white_may_be_zero():
    found = tiny(tiff(LEVELS * 32767, 16, photometric=0))[0]
    np.testing.assert_allclose(found, 1 - LEVELS * 32767 / 65535, atol=1e-6)


def test_deep_pictures_without_a_file():
    for dtype in ("<u2", ">u2"):
        image = Image.fromarray((LEVELS * 32767).astype(dtype))
        np.testing.assert_allclose(tiny(image)[0], LEVELS * 32767 / 65535, atol=1e-6)
    of_16 = Image.fromarray((LEVELS * 32767).astype(np.int32))
    np.testing.assert_allclose(tiny(of_16)[0], LEVELS * 32767 / 65535, atol=1e-6)
    of_31 = Image.fromarray((LEVELS * (2**30 - 1)).astype(np.int32))
    np.testing.assert_allclose(tiny(of_31)[0], LEVELS / 2, atol=1e-6)
    with pytest.raises(nl.LensError, match="negative numbers, down to -5"):
        tiny(Image.fromarray(np.full((2, 2), -5, np.int32)))
    png = encoded(Image.fromarray(np.full((2, 2), 13107, np.uint16)), "PNG")  # a fifth of white
    np.testing.assert_allclose(tiny(png), 0.2, atol=1e-6)
    assert eight_bits(open_image(png)).getpixel((0, 0)) == 51
    assert display_picture(png, SHAPE, 100).getpixel((0, 0)) == (51, 51, 51)
    assert display_picture(Image.fromarray(np.full((2, 2), 13107, np.uint16)), SHAPE, 9).getpixel((0, 0)) == (51,) * 3


@pytest.mark.parametrize("layout", ["exact", "tensor", "rows and columns"])
def test_sixteen_bits_are_a_share_of_65535(layout):
    values = np.full((3, 20, 28), 13107, np.uint16)
    source = {"exact": values, "tensor": torch.from_numpy(values), "rows and columns": values.transpose(1, 2, 0)}[
        layout
    ]
    np.testing.assert_allclose(seen(source), 0.2, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.uint32])
def test_integers_without_a_known_white_are_refused(dtype):
    for values in (np.full(SHAPE, 200, dtype), np.full((20, 28, 3), 200, dtype)):
        with pytest.raises(
            nl.LensError, match=rf"{np.dtype(dtype)} with values from 200 to 200, whose white is not known"
        ):
            seen(values)
        if dtype != np.uint32:
            with pytest.raises(nl.LensError, match="divide by the largest value that it can have"):
                seen(torch.from_numpy(values))


def test_unusual_arrays_are_read():
    x = np.random.default_rng(2).random(SHAPE).astype(np.float32)
    for source in (
        x.astype(">f4"), x.astype(np.float64), x[:, ::-1][:, ::-1], np.asfortranarray(x), torch.tensor(x, requires_grad=True),
        torch.tensor(x).to_sparse(), np.ma.masked_array(x), torch.nn.Parameter(torch.tensor(x)),
    ):  # fmt: skip
        np.testing.assert_array_equal(seen(source), x)
    x.flags.writeable = False
    np.testing.assert_array_equal(seen(x), x)
    assert seen(torch.tensor(x).bfloat16()).dtype == np.float32
    for source, says in (
        (x.astype(complex), "complex numbers"), (x.astype(object), "Python objects"), (x.astype(str), "text"),
        (torch.tensor(x).cfloat(), "complex numbers"), (np.float32(3), "float32 is no picture"),
        (np.array(3.0), r"got \(\)"), ([[0.1, 0.2]], "list is no picture"), (torch.zeros(3, 0, 5), "empty"),
    ):  # fmt: skip
        with pytest.raises(nl.LensError, match=says):
            seen(source)


# ---- what was normalized already ----


def normalizing() -> nl.Network:
    return nl.Network(small().model, SHAPE, ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))


@pytest.mark.parametrize(
    "convert", [torch.from_numpy, np.asarray, lambda x: torch.from_numpy(x)[:, :9], lambda x: x.transpose(1, 2, 0)]
)
def test_no_picture_is_normalized_twice(convert):
    x = np.random.default_rng(3).random(SHAPE).astype(np.float32)
    ready = convert((x - np.float32(0.5)) / np.float32(0.25))
    with pytest.raises(nl.LensError, match=r"Values from -2 to 2 look normalized already.*normalize=False"):
        normalizing().picture(np.round(ready) if isinstance(ready, np.ndarray) else ready.round())
    assert normalizing().picture(convert(x)).shape == SHAPE


def test_small_overshoots_pass_as_they_are():
    x = torch.linspace(-0.05, 1.08, 3 * 20 * 28).reshape(SHAPE)
    torch.testing.assert_close(normalizing().picture(x), x, rtol=0, atol=0)
    assert normalizing().picture(x[:, :10]).min() == 0
    with pytest.raises(nl.LensError, match="divide by 255, or pass uint8"):
        normalizing().picture(x.clamp(0, 1) * 255)


def test_values_of_a_network_that_does_not_normalize_are_its_own():
    x = torch.linspace(-3, 3, 3 * 20 * 28).reshape(SHAPE)
    torch.testing.assert_close(small().picture(x), x, rtol=0, atol=0)
    with pytest.raises(nl.LensError, match="undo what normalized them"):
        small().picture(x[:, :10])
    assert as_image(x, SHAPE) is x
    shown = np.asarray(display_picture(x, SHAPE, 100))
    assert (shown.min(), shown.max()) == (0, 255)
    with pytest.raises(nl.LensError, match="look normalized already"):
        as_image(x, SHAPE, "picture", True)


# ---- other kinds of input ----

KINDS = {"signal": (1, 6), "volume": (1, 2, 3, 4), "sequence": (5, 1), "vector": (6,)}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_other_kinds_are_taken_as_they_are(kind, tmp_path):
    shape = KINDS[kind]
    values = (np.arange(np.prod(shape)) * 50 - 70).reshape(shape)
    np.save(tmp_path / "x.npy", values)
    data = (tmp_path / "x.npy").read_bytes()
    for source in (
        values, values.astype(np.int16), values.astype(np.float64), values.tolist(), torch.tensor(values),
        torch.tensor(values).double(), tmp_path / "x.npy", str(tmp_path / "x.npy"), (tmp_path / "x.npy").as_uri(), data,
        io.BytesIO(data),
    ):  # fmt: skip
        x = read_picture(source, shape, kind, True)
        assert x.dtype == torch.float32
        np.testing.assert_array_equal(x.numpy(), values)
    np.testing.assert_array_equal(
        read_picture(np.full(shape, 200, np.uint8), shape, kind).numpy(), np.full(shape, 200.0)
    )
    np.testing.assert_array_equal(read_picture(values > 0, shape, kind).numpy(), values > 0)
    if kind != "vector":
        np.testing.assert_array_equal(read_picture(values.squeeze(), shape, kind).numpy(), values)


PNG = encoded(Image.fromarray(GRADIENT), "PNG")


def npy_of(values):
    file = io.BytesIO()
    np.save(file, np.array(values))
    return file.getvalue()


BAD_VALUES = {
    "shorter": ("signal", (2, 6), np.zeros((2, 5)), r"reads signals \(C,L\) of \(2, 6\), got \(2, 5\); cut it.*input_shape=\(2, 5\)"),
    "no channel": ("signal", (2, 6), np.zeros(6), r"got \(6,\)\."),
    "transposed": ("signal", (2, 6), np.zeros((6, 2)), r"transposed, \(C,L\)"),
    "batch": ("signal", (2, 6), np.zeros((1, 2, 6)), "without a batch dimension"),
    "other volume": ("volume", (1, 2, 3, 4), np.zeros((1, 2, 3, 5)), "crop or resize it"),
    "complex": ("signal", (1, 2), np.zeros((1, 2), complex), "complex numbers; pass their real part"),
    "objects": ("vector", (2,), np.array([None, {}]), "Python objects"),
    "words": ("vector", (2,), ["a", "b"], "made of real numbers, got text"),
    "ragged": ("sequence", (2, 2), [[1, 2], [3]], "No array of numbers can be made of a list"),
    "a number": ("vector", (2,), 3.0, r"got \(\)"),
    "NaN": ("signal", (1, 3), [0, float("nan"), 1], r"NaN or infinite values, 1 of 3, the first at \(0, 1\)"),
    "too large": ("vector", (1,), [1e300], "NaN or infinite"),
    "a picture file": ("signal", (1, 2), PNG, "reads signals .* is a picture. Pass an array"),
    "a picture": ("vector", (2,), Image.fromarray(GRADIENT), "and no pictures"),
    "no file": ("signal", (1, 2), "no_such.npy", "no file 'no_such.npy'"),
    "other file": ("signal", (1, 2), b"text", r"The data is no \.npy file that can be read\. Pass"),
    "other open file": ("signal", (1, 2), lambda: io.BytesIO(b"text"), r"The file is no \.npy file that can be read\. Pass"),
    "an open picture": ("signal", (1, 2), lambda: io.BytesIO(PNG), r"reads signals .* The file is a picture\. Pass"),
    "cut off": ("signal", (1, 2), npy_of([[1.0, 2.0]])[:-4], r"no \.npy file that can be read \(.*\)\. Pass"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_VALUES)
def test_what_is_no_input_of_its_kind_is_named(name):
    kind, shape, source, says = BAD_VALUES[name]
    source = source() if callable(source) else source
    with pytest.raises(nl.LensError, match=says):
        read_picture(source, shape, kind)


def test_objects_in_a_file_are_not_run(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}, 1], object), allow_pickle=True)
    with pytest.raises(nl.LensError, match=r"no \.npy file that can be read .*allow_pickle=False"):
        read_picture(tmp_path / "x.npy", (2,), "vector")


def test_what_is_shown_of_other_kinds(tmp_path):
    x = np.zeros((1, 6), np.float32)
    assert as_image(x, (1, 6), "signal") is x
    np.testing.assert_array_equal(as_image([0, 0, 1, 2, 0, 0], (1, 6), "signal"), [[0, 0, 1, 2, 0, 0]])
    assert display_picture(x, (1, 6), 100) is None
    with pytest.raises(nl.LensError, match="reads signals"):
        as_image(np.zeros((1, 5)), (1, 6), "signal")
