"""Datasets of all forms: what is the picture of an item, and what its class."""

from __future__ import annotations

from collections import UserDict
from functools import cache

import numpy as np
import pytest
import torch
from models import small
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import nn_lens as nl
from nn_lens.engine.pictures.datasets import Source, source_of

SHAPE = (3, 20, 28)
LABELS = ["cat", "dog", "owl", "ant"]
PICTURES = torch.rand(7, *SHAPE, generator=torch.Generator().manual_seed(0))


@cache
def network() -> nl.Network:
    return nl.Network(small().model, SHAPE, False, labels=LABELS)


class Items(Dataset):
    """A dataset of the given items."""

    def __init__(self, items) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Stream(IterableDataset):
    """The same, one after the other only."""

    def __init__(self, items) -> None:
        self.items = items

    def __iter__(self):
        return iter(self.items)


def read(source, net=None, size: int = 3) -> tuple[torch.Tensor, list[int] | None]:
    """All pictures of a source, and their targets, None unless all have one."""
    batches = list(Source(net or network(), source).batches(size))
    targets = [b.targets for b in batches]
    known = None if None in targets else [t for part in targets for t in part]
    return torch.cat([b.pictures for b in batches]), known


TARGETS = {
    "int": (3, 3), "numpy": (np.int64(2), 2), "0-d tensor": (torch.tensor(1), 1), "0-d array": (np.array(2, np.uint8), 2),
    "array of one": (np.array([3]), 3), "label": ("owl", 2), "another text": ("a cat on a mat", None), "None": (None, None),
    "float": (0.7, None), "whole float": (3.0, None), "0-d float": (torch.tensor(2.0), None), "bool": (True, None),
    "0-d bool": (torch.tensor(True), None), "numpy bool": (np.bool_(True), None),
    "mask": (torch.zeros(20, 28, dtype=torch.long), None), "PIL mask": (Image.new("L", (28, 20)), None),
    "boxes": ({"boxes": torch.rand(2, 4), "labels": torch.tensor([1, 2])}, None), "list of boxes": ([{"bbox": [0, 0, 1, 1]}], None),
    "multi-hot": (torch.tensor([1.0, 0, 1, 0]), None), "whole multi-hot": (torch.tensor([1, 0, 1, 0]), None),
    "another picture": (PICTURES[0], None),
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_is_kept_where_it_is_a_class(name):
    target, kept = TARGETS[name]
    for items in ([(p, target) for p in PICTURES], [{"image": p, "label": target} for p in PICTURES]):
        for source in (Items(items), Stream(items), DataLoader(Items(items), 2, collate_fn=list)):
            pictures, targets = read(source)
            torch.testing.assert_close(pictures, PICTURES, rtol=0, atol=0)
            assert targets == (None if kept is None else [kept] * 7)
    assert Source(network(), Items([(PICTURES[0], target)])).target(0) == kept


def test_a_label_that_two_classes_have_is_none():
    twice = nl.Network(small().model, SHAPE, False, labels=["cat", "crane", "crane", "ant"])
    pairs = [(PICTURES[0], "crane"), (PICTURES[1], "ant")]
    assert [Source(twice, pairs).target(i) for i in (0, 1)] == [None, 3]
    assert Source(nl.Network(small().model, SHAPE, False), pairs).target(1) is None


def test_what_cannot_have_accuracy_still_is_ablated():
    masks = Items([(p, torch.zeros(20, 28)) for p in PICTURES])
    net = network()
    plain, found = nl.ablate(net, PICTURES, "3:1"), nl.ablate(net, masks, "3:1")
    assert found.accuracy_change is None
    np.testing.assert_allclose(found.after, plain.after, atol=1e-6)
    halves = Items([(p, i % 4 if i % 2 else None) for i, p in enumerate(PICTURES)])
    assert nl.ablate(net, halves, "3:1").accuracy_change is None
    words = Items([(p, LABELS[i % 4]) for i, p in enumerate(PICTURES)])
    numbers = Items([(p, i % 4) for i, p in enumerate(PICTURES)])
    assert nl.ablate(net, words, "3:1").accuracy_change == nl.ablate(net, numbers, "3:1").accuracy_change is not None
    assert nl.embedding(net, masks, "3", "pca").points.shape == (7, 2)
    assert len(nl.directions.pca(net, "3", masks, 2)) == 2


def arrays() -> np.ndarray:
    return (PICTURES.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()


def test_items_of_many_forms_hold_the_same_pictures(tmp_path):
    levels = arrays()
    images = [Image.fromarray(a) for a in levels]
    expected = torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255
    paths = [tmp_path / f"{i}.png" for i in range(7)]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    np.save(tmp_path / "all.npy", levels)
    mapped = np.load(tmp_path / "all.npy", mmap_mode="r")
    data = [path.read_bytes() for path in paths]
    for source in (
        images, levels, mapped, tmp_path / "all.npy", str(tmp_path / "all.npy"), paths, [str(p) for p in paths], data,
        [p.as_uri() for p in paths], (image for image in images), dict(enumerate(images)).values(), tuple(images),
        [(image,) for image in images], [(image, "what", "ever") for image in images], [[image, 1] for image in images],
        [(image, images[0]) for image in images], [[p, "cat"] for p in paths], [[p, torch.zeros(20, 28)] for p in expected],
        [{"img": image, "fine_label": 1} for image in images], [UserDict(picture=image) for image in images],
        [{"__key__": "a", "png": d, "cls": 1} for d in data], [{"image": {"bytes": d, "path": "x"}} for d in data],
        [{"image": {"bytes": None, "path": str(p)}} for p in paths], [({"pixel_values": p}, 1) for p in expected],
        Subset(Items(images), range(7)), ConcatDataset([Items(images[:3]), Items(images[3:])]), TensorDataset(expected),
        expected.double(), torch.from_numpy(levels.transpose(0, 3, 1, 2)),
    ):  # fmt: skip
        torch.testing.assert_close(read(source)[0], expected, rtol=0, atol=1e-6)


def test_loaders_of_many_forms_hold_the_same_pictures():
    pairs = [(p, i % 4) for i, p in enumerate(PICTURES)]
    dicts = [{"image": p, "label": i % 4} for i, p in enumerate(PICTURES)]
    stacked = (PICTURES, torch.arange(7) % 4)

    def detection(batch):
        return tuple(zip(*batch, strict=True))

    def as_dict(batch):
        return {
            "pixel_values": torch.stack([b["image"] for b in batch]),
            "labels": torch.tensor([b["label"] for b in batch]),
        }

    for source in (
        DataLoader(Items(pairs), 3), DataLoader(Items(pairs), 3, num_workers=1), DataLoader(Items(pairs), batch_size=None),
        DataLoader(Stream(pairs), 3), DataLoader(Stream(pairs), batch_size=None), DataLoader(Items(dicts), 3),
        DataLoader(Stream(dicts), 3), DataLoader(Items(dicts), 3, collate_fn=as_dict), DataLoader(Stream(dicts), 3, collate_fn=as_dict),
        DataLoader(Items(pairs), 3, collate_fn=detection), DataLoader(Stream(pairs), 3, collate_fn=detection),
        DataLoader(Stream(pairs), 3, collate_fn=list), Stream(pairs), Stream(dicts),
        Stream([stacked]), DataLoader(Stream([stacked]), batch_size=None),  # batched before the loader
        Stream([{"image": stacked[0], "label": stacked[1]}]),
    ):  # fmt: skip
        pictures, targets = read(source)
        torch.testing.assert_close(pictures, PICTURES, rtol=0, atol=0)
        assert targets == [0, 1, 2, 3, 0, 1, 2]
    for source in (
        DataLoader(Stream(list(PICTURES)), 3),
        Stream([PICTURES]),
        DataLoader(Stream(list(PICTURES)), 3, collate_fn=list),
    ):
        pictures, targets = read(source)
        torch.testing.assert_close(pictures, PICTURES, rtol=0, atol=0)
        assert targets is None


class Numbers(Dataset):
    """Numbers that the loader's collate_fn makes pictures of."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index):
        return {"number": index}


def pictures_of(batch):
    if any(item["number"] == 5 for item in batch):
        raise KeyError("five")
    numbers = [item["number"] for item in batch]
    return PICTURES[numbers], torch.tensor(numbers) % 4


def test_a_collate_fn_that_makes_the_pictures_is_used():
    loader = DataLoader(Numbers(), 2, sampler=[6, 2, 0], collate_fn=pictures_of, num_workers=1)
    source = Source(network(), loader)
    batches = list(source.batches())
    torch.testing.assert_close(torch.cat([b.pictures for b in batches]), PICTURES[[6, 2, 0]], rtol=0, atol=0)
    assert [b.indices for b in batches] == [[6, 2], [0]]
    assert [b.targets for b in batches] == [[2, 2], [0]]
    torch.testing.assert_close(source[3], PICTURES[3], rtol=0, atol=0)
    assert source.target(3) == 3
    failing = Source(network(), DataLoader(Numbers(), 2, collate_fn=pictures_of))
    assert [i for b in failing.batches() for i in b.indices] == [0, 1, 2, 3, 6]
    assert failing.skipped[0] == "picture 4: the loader's collate_fn raised KeyError: 'five'."


def test_grey_pictures_in_one_array():
    grey = nl.Network(nn.Sequential(nn.Conv2d(1, 2, 3)), (1, 20, 28), False)
    levels = arrays()[..., 0]
    for source in (
        levels,
        torch.from_numpy(levels),
        TensorDataset(torch.from_numpy(levels)),
        DataLoader(Stream(list(torch.from_numpy(levels))), 7),
    ):
        torch.testing.assert_close(
            read(source, grey)[0][:, 0], torch.from_numpy(levels).float() / 255, rtol=0, atol=1e-6
        )
    assert Source(grey, levels[0]).total == Source(grey, torch.from_numpy(levels[:1])).total == 1
    assert Source(network(), arrays()[0]).total == Source(network(), PICTURES[0]).total == 1


BAD_ITEMS = {
    "two pictures": ([PICTURES[0], PICTURES[1]], r"A list of 2 pictures is no \(picture, target\) pair"),
    "two paths": (["a.png", "b.png"], "A list of 2 pictures"),
    "unknown keys": ({"photo of": 1, "caption": "x"}, "A dictionary of 'photo of', 'caption' has no picture under a known name .*image"),
    "empty": ((), "An empty tuple is no picture"),
    "views": ((("a", "b"), 1), "A tuple is no picture"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ITEMS)
def test_an_item_that_cannot_be_read_is_skipped_with_its_reason(name):
    item, says = BAD_ITEMS[name]
    source = Source(network(), Items([PICTURES[0], item, PICTURES[2]]))
    assert [b.indices for b in source.batches()] == [[0, 2]]
    with pytest.raises(nl.LensError, match=says):
        source[1]
    with pytest.raises(nl.LensError, match=rf"None of 2 pictures could be read\. The first: picture 0: {says}"):
        list(Source(network(), Items([item, item])).batches())
    assert source.target(1) == (1 if name == "views" else None)


def test_a_file_that_the_dataset_cannot_read_is_skipped(tmp_path):
    class Folder(Items):
        def __getitem__(self, index):
            return Image.open(self.items[index]).convert("RGB"), index

    (tmp_path / "1.png").write_bytes(b"no picture")
    for i in (0, 2):
        Image.fromarray(arrays()[i]).save(tmp_path / f"{i}.png")
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for source in (Folder(files), DataLoader(Folder(files), 2)):
        opened = Source(network(), source)
        assert [t for b in opened.batches() for t in b.targets] == [0, 2]
        assert "picture 1: the dataset raised UnidentifiedImageError" in opened.skipped[0]


def test_what_is_normalized_already_is_told_and_not_skipped_in_silence():
    mean = std = (0.5, 0.25, 0.25)
    net = nl.Network(small().model, SHAPE, (mean, std))
    ready = (PICTURES - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    with pytest.raises(nl.LensError, match=r"None of 7 pictures.*look normalized already.*normalize=False"):
        nl.dataset_examples(net, "3", TensorDataset(ready, torch.zeros(7)), progress=False)
    one = nl.dataset_examples(net, "3", [PICTURES[0], ready[1]], progress=False)
    assert one.count == 1
    assert "picture 1: Values from" in one.skipped[0]


# ---- other kinds ----


@cache
def signals(channels: int = 2) -> nl.Network:
    return nl.Network(nn.Sequential(nn.Conv1d(channels, 3, 5), nn.ReLU()), (channels, 30), False)


def test_signals_of_many_forms(tmp_path):
    x = torch.randn(7, 2, 30, generator=torch.Generator().manual_seed(1)) * 50
    np.save(tmp_path / "all.npy", x.numpy())
    (tmp_path / "each").mkdir()
    for i, signal in enumerate(x):
        np.save(tmp_path / "each" / f"{i}.npy", signal.numpy())
    for source in (
        x, x.numpy(), list(x), tmp_path / "all.npy", tmp_path / "each", TensorDataset(x, torch.arange(7)), x.tolist(),
        DataLoader(TensorDataset(x), 3), DataLoader(Stream(list(x)), 3), [(s, "sick") for s in x], [s.unbind() for s in x],
        [{"audio": {"array": s.numpy(), "path": "a.wav", "sampling_rate": 16000}, "label": 1} for s in x], Stream([(x, x)]),
    ):  # fmt: skip
        torch.testing.assert_close(read(source, signals())[0], x, rtol=0, atol=0)
    for source in (x[:, 0], list(x[:, 0]), x[:, 0].tolist(), x[:, :1]):
        torch.testing.assert_close(read(source, signals(1))[0], x[:, :1], rtol=0, atol=0)
    for one in (x[0, 0], x[0, :1], x[0, 0].tolist(), x[:1, 0].tolist()):
        torch.testing.assert_close(read(one, signals(1))[0], x[:1, :1], rtol=0, atol=0)
    assert Source(signals(), x[0]).total == 1


def test_vectors_and_volumes():
    table = nl.Network(nn.Sequential(nn.Linear(4, 3)), (4,), False)
    rows = torch.arange(20.0).reshape(5, 4)
    for source in (
        rows,
        rows.tolist(),
        [tuple(r) for r in rows.tolist()],
        [(r.tolist(), 1) for r in rows],
        DataLoader(TensorDataset(rows), 2),
    ):
        torch.testing.assert_close(read(source, table)[0], rows, rtol=0, atol=0)
    torch.testing.assert_close(read(rows[0].tolist(), table)[0], rows[:1], rtol=0, atol=0)
    assert read([(r.tolist(), 1) for r in rows], table)[1] == [1] * 5
    scans = torch.rand(3, 1, 5, 6, 7)
    net = nl.Network(nn.Sequential(nn.Conv3d(1, 2, 3)), (1, 5, 6, 7), False)
    for source in (scans, scans[:, 0], list(scans), DataLoader(TensorDataset(scans, torch.zeros(3)), 2)):
        torch.testing.assert_close(read(source, net)[0], scans, rtol=0, atol=0)


def test_other_kinds_have_no_pictures_of_their_own():
    with pytest.raises(nl.LensError, match=r"no signals of its own; pass dataset=.* signals \(C,L\), here \(2, 30\)"):
        source_of(signals())
    net = nl.Network(signals().model, (2, 30), False)
    net.samples["a"] = np.ones((2, 30))
    assert source_of(net).total == 1, "its samples are not cropped"
    with pytest.raises(
        nl.LensError, match=r"None of 1 pictures could be read.*reads signals \(C,L\) of \(2, 30\), got \(2, 29\)"
    ):
        list(Source(signals(), [np.ones((2, 29))]).batches())


def test_what_can_be_gone_through_again_is_not_kept():
    class Endless:
        def __iter__(self):
            while True:
                yield from PICTURES

    source = Source(network(), Endless())
    assert source.total is None
    assert source.one_by_one
    assert next(source.batches(5)).indices == [0, 1, 2, 3, 4]
