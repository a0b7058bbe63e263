"""Everything that people hand in by mistake: it is read for what it is, or told in words what to do instead."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zoo
from PIL import Image
from torch import nn

import nn_lens as nl

PHOTO = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(0))


@cache
def network(normalize: Any = False) -> nl.Network:
    torch.manual_seed(0)
    return nl.Network(zoo.picture(nn.Linear(8, 4)), (3, 24, 32), normalize)


def written(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("odd")
    Image.new("RGB", (40, 30), "red").save(path / "a.png")
    (path / "b.txt").write_text("x")
    (path / "cut.png").write_bytes((path / "a.png").read_bytes()[:60])
    np.save(path / "signal.npy", np.linspace(0, 1, 400).reshape(2, 200))
    np.save(path / "object.npy", np.array([{}], object), allow_pickle=True)
    return path


RED = np.full((30, 40, 3), (255, 0, 0), np.uint8)


@pytest.mark.parametrize(
    "give",
    [
        lambda f: f / "a.png",
        lambda f: str(f / "a.png"),
        lambda f: (f / "a.png").open("rb"),
        lambda f: io.BytesIO((f / "a.png").read_bytes()),
        lambda f: (f / "a.png").read_bytes(),
        lambda f: f"file://{f}/a.png",
        lambda _: Image.fromarray(RED),
        lambda _: Image.fromarray(RED).convert("RGBA"),
        lambda _: Image.fromarray(RED).convert("P"),
        lambda _: RED / 255,
        lambda _: torch.from_numpy(RED.transpose(2, 0, 1).copy()) / 255,
        lambda _: (torch.from_numpy(RED.transpose(2, 0, 1).copy()) / 255).half(),
        lambda _: RED.astype(np.uint16) * 257,
    ],
    ids="path text open BytesIO bytes URL PIL RGBA palette float tensor half uint16".split(),
)
def test_one_picture_in_every_guise_is_the_same(give, folder):
    net = network()
    np.testing.assert_allclose(net.scores(give(folder)), net.scores(RED), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("give", "as_array"),
    [
        (np.eye(24, 32, dtype=bool), np.eye(24, 32)[..., None].repeat(3, 2)),
        (Image.new("CMYK", (32, 24)), np.ones((24, 32, 3))),
        (Image.new("RGBA", (32, 24), (0, 0, 0, 255)), np.zeros((24, 32, 3))),
        (PHOTO.clone().requires_grad_(), PHOTO.permute(1, 2, 0).numpy()),
        (PHOTO.mT.contiguous().mT, PHOTO.permute(1, 2, 0).numpy()),
        (Image.new("RGB", (1, 1), "white"), np.ones((24, 32, 3))),
        (Image.new("RGB", (3000, 1), "white"), np.ones((24, 32, 3))),
    ],
    ids="mask CMYK RGBA graph strides 1x1 3000x1".split(),
)
def test_unusual_pictures_are_read_at_their_range(give, as_array):
    net = network()
    np.testing.assert_allclose(net.scores(give), net.scores(as_array.astype(np.float32)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("give", "says"),
    [
        (lambda f: f / "missing.png", "There is no file"),
        (lambda f: f, "It is a folder"),
        (lambda f: f / "b.txt", r"'b\.txt' is not a picture that can be read"),
        (lambda f: f / "cut.png", "cut off or damaged"),
        (lambda _: "quux://x/y.png", "Protocol not known: quux"),
        (lambda _: None, "None is no picture; pass a path"),
        (lambda _: 5, "An int is no picture"),
        (lambda _: {"a": 1}, "A dict is no picture"),
        (lambda _: np.array([{}]), r"Arrays are \(H,W\)"),
        (lambda _: np.zeros((0, 5, 3), np.uint8), r"The array \(0, 5, 3\) is empty"),
        (lambda _: np.ones((24, 32), complex), "real part or magnitude"),
        (lambda _: np.full((24, 32), 4095, np.int32), "4095.* divide by the largest value"),
        (lambda _: np.full((24, 32, 3), 200.0), "divide by 255"),
        (lambda _: PHOTO * np.nan, "NaN or infinite values, 2304 of 2304"),
        (lambda _: PHOTO / 0, "NaN or infinite"),
        (lambda _: PHOTO[None], "without a batch dimension"),
        (lambda _: PHOTO.expand(4, -1, -1, -1), "without a batch dimension"),
    ],
    ids="missing folder text cut scheme None int dict object empty complex int32 255 NaN inf one four".split(),
)
def test_what_is_no_picture_is_named(give, says, folder):
    with pytest.raises(nl.LensError, match=says):
        network().scores(give(folder))


def test_a_picture_is_not_normalized_twice():
    net = network(nl.IMAGENET)
    with pytest.raises(nl.LensError, match=r"look normalized already.*normalize=False"):
        net.scores((PHOTO - 0.5) / 0.2)
    with pytest.raises(nl.LensError, match=r"(?s)None of 1 pictures.*look normalized already"):
        nl.dataset_examples(net, "0:1", [(PHOTO - 0.5) / 0.2], progress=False)
    net.scores(PHOTO * 1.001)  # as a bicubic resize overshoots


OTHERS = {
    "signal": (zoo.signal, (2, 200)),
    "volume": (zoo.volume, (1, 8, 16, 20)),
    "sequence": (lambda: zoo.Recurrent(nn.LSTM), (20, 5)),
    "table": (lambda: nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3)), None),
}


@cache
def other(kind: str) -> nl.Network:
    make, shape = OTHERS[kind]
    return nl.Network(make(), shape)


@pytest.mark.parametrize(
    ("kind", "give", "says"),
    [
        ("signal", lambda _: np.zeros((2, 100)), r"of \(2, 200\), got \(2, 100\)"),
        ("signal", lambda _: np.zeros((200, 2)), "pass it transposed"),
        ("signal", lambda f: f / "object.npy", "is no .npy file that can be read"),
        ("signal", lambda f: f / "a.png", r"'a\.png' is a picture"),
        ("sequence", lambda _: np.zeros((21, 5)), r"sequences \(T,F\) of \(20, 5\), got \(21, 5\)"),
        ("table", lambda _: "hello", "There is no file 'hello'"),
        ("table", lambda _: [1, 2, 3, 4, 5, np.nan], r"1 of 6, the first at \(5,\)"),
        ("table", lambda _: {"a": 1}, "made of real numbers"),
    ],
)
def test_what_is_no_input_of_another_kind_is_named(kind, give, says, folder):
    with pytest.raises(nl.LensError, match=says):
        other(kind).scores(give(folder))


@pytest.mark.parametrize(
    ("kind", "give", "same"),
    [
        ("signal", lambda _: [[0.5] * 200] * 2, np.full((2, 200), 0.5)),
        ("signal", lambda f: f / "signal.npy", np.linspace(0, 1, 400).reshape(2, 200)),
        ("signal", lambda _: np.ones((2, 200), np.int16), np.ones((2, 200))),
        ("volume", lambda _: np.full((8, 16, 20), 0.25), np.full((1, 8, 16, 20), 0.25)),
        ("table", lambda _: [1, 2, 3, 4, 5, 6], np.arange(1.0, 7)),
    ],
)
def test_inputs_of_other_kinds_in_every_guise(kind, give, same, folder):
    net = other(kind)
    np.testing.assert_allclose(net.scores(give(folder)), net.scores(same), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "ask", "says"),
    [
        (None, lambda net: net.unit("0:1@4"), "has 2 numbers"),
        ("signal", lambda net: net.unit("0:1@1,2,3"), "has 1 number"),
        (None, lambda net: net.unit("0"), r"is no unit; write \"layer:channel\""),
        (None, lambda net: net.unit("conv:1"), "There is no layer 'conv'"),
        (None, lambda net: nl.Unit("0", -1), "channel must be 0 or more"),
        (None, lambda net: nl.Direction("0", [0] * 6), "not all of them 0"),
        (None, lambda net: nl.attribute(net, PHOTO, 9), "classes 0 to 3, not 9"),
        (None, lambda net: nl.attribute(net, PHOTO, "dog"), "There is no class 'dog'"),
        (None, lambda net: nl.attribute(net, PHOTO, 0.7), "got a float"),
        (None, lambda net: nl.filters(net, "2"), "has no filters; the nearest layer that has is"),
        (None, lambda net: nl.dataset_examples(net, "0:1", [], progress=False), "holds no pictures"),
        ("table", lambda net: nl.arithmetic(net, [0] * 6, "0:1@0,0"), "is no convolution"),
    ],
)
def test_what_cannot_be_asked_is_said(kind, ask, says):
    with pytest.raises(nl.LensError, match=says):
        ask(other(kind) if kind else network())


@pytest.mark.parametrize(
    "target",
    [np.ones((24, 32)), "cat", None, {"boxes": torch.zeros(3, 4)}, torch.tensor([1, 0, 1])],
    ids="mask text None boxes several".split(),
)
def test_targets_of_every_kind_pass_by(target):
    found = nl.dataset_examples(network(), "0:1", [(PHOTO, target)], k=1, progress=False)
    assert found.count == 1


def test_a_stream_and_a_picture_that_cannot_be_read(folder):
    net = network()
    assert nl.dataset_examples(net, "0:1", (PHOTO for _ in range(3)), k=1, progress=False).count == 3
    assert nl.dataset_examples(net, "0:1", [{"image": PHOTO, "label": 2}], k=1, progress=False).count == 1
    found = nl.dataset_examples(net, "0:1", [PHOTO, folder / "b.txt"], k=1, progress=False)
    assert found.count == 1
    assert "b.txt" in found.skipped[0]
