"""Files that are not what they say: refused with their reason, nothing run, no more memory taken than they are long."""

from __future__ import annotations

import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from random import Random

import pytest
import torch
from torch import nn

import nn_lens as nl
from nn_lens.networks import pickled

RAN = []


def ran(*values):
    RAN.append(values)
    return OrderedDict()


class Runs:
    """What a pickle of it would run."""

    def __init__(self, call, *arguments):
        self.what = call, arguments

    def __reduce__(self):
        return self.what


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x)


@pytest.fixture(autouse=True)
def _nothing_runs():
    RAN.clear()
    yield
    assert not RAN


def refused(file, says, **options):
    with pytest.raises(nl.LensError, match=says) as raised:
        nl.load(file, **options)
    assert len(str(raised.value)) < 1200
    assert "<script" not in str(raised.value) or "'" in str(raised.value)
    assert str(raised.value).isprintable()
    if "is not read as a checkpoint" in str(raised.value):
        assert str(raised.value).count("torch.save(model.state_dict()") == 1, "the way out"
    return str(raised.value)


def written(folder: Path, pickle_bytes: bytes, **records: bytes) -> Path:
    """A file as torch.save lays it out, with any pickle in it."""
    file = folder / "made.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as parts:
        parts.writestr("made/data.pkl", pickle_bytes)
        parts.writestr("made/byteorder", "little")
        for name, data in records.items():
            parts.writestr(f"made/data/{name.strip('_')}", data)
        parts.writestr("made/version", "3\n")
    return file


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_pickle_that_would_run_code_is_refused_with_what_it_wanted(tmp_path, legacy, wrapped):
    evil = Runs(ran, 1)
    content = {"state_dict": {"conv.weight": torch.ones(1)}, "note": evil} if wrapped else evil
    torch.save(content, tmp_path / "evil.pt", _use_new_zipfile_serialization=not legacy)
    said = refused(tmp_path / "evil.pt", r"its pickle wants .*\.ran, .*would run code. Nothing of it was run")
    assert "torch.save(model.state_dict()" in said


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_of_every_protocol(tmp_path, protocol):
    for name, content in {"system": Runs(os.system, "touch ran"), "eval": Runs(eval, "RAN.append(1)")}.items():
        (tmp_path / "plain.pth").write_bytes(pickle.dumps(content, protocol))
        refused(tmp_path / "plain.pth", rf"wants \w+\.{name}" if protocol > 1 else "no checkpoint")
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(Net(), tmp_path / "whole.pt")
    refused(tmp_path / "whole.pt", r"wants .*Net.*Save the weights alone where they were made")
    torch.save({"model": Net(), "epoch": 1}, tmp_path / "yolo.pt")
    refused(tmp_path / "yolo.pt", r"wants .*Net")


def test_a_torchscript_archive_is_code(tmp_path):
    torch.jit.save(torch.jit.trace(Net().eval(), torch.rand(1, 3, 8, 8)), tmp_path / "scripted.pt")
    refused(tmp_path / "scripted.pt", "TorchScript archive, which is code")


@pytest.mark.parametrize("kind", ["pt", "legacy", "safetensors"])
def test_a_file_cut_short_anywhere_is_refused(tmp_path, kind):
    from safetensors.torch import save_file

    state, file = Net().state_dict(), tmp_path / f"cut.{'safetensors' if kind == 'safetensors' else 'pt'}"
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "pt")
    whole = file.read_bytes()
    assert nl.load(file, like=Net).layers
    for length in sorted({1, 4, 9, 30, *range(50, len(whole), len(whole) // 12), len(whole) - 9, len(whole) - 1}):
        file.write_bytes(whole[:length])
        refused(file, "cut short|damaged|cannot be read|no checkpoint", like=Net)


@pytest.mark.parametrize("kind", ["pt", "legacy", "safetensors"])
def test_changed_bytes_are_refused_in_plain_words_or_give_a_network(tmp_path, kind):
    """Whatever is raised inside; torch's own message would recommend to run the code."""
    from safetensors.torch import save_file

    file = tmp_path / "changed.pt"
    if kind == "safetensors":
        save_file(Net().state_dict(), file)
    else:
        torch.save({"state_dict": Net().state_dict()}, file, _use_new_zipfile_serialization=kind == "pt")
    whole, random, refusals = file.read_bytes(), Random(4), []
    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(random.randint(1, 5)):
            changed[random.randrange(min(len(whole), 900))] = random.randrange(256)
        file.write_bytes(changed)
        try:
            nl.load(file, like=Net)
        except nl.LensError as error:
            refusals.append(str(error))
    assert len(refusals) > 50
    assert all(said.isprintable() and "weights_only" not in said for said in refusals)


def test_what_torch_does_not_read_is_said_in_our_words(tmp_path):
    """A pickle of harmless names, in an order that no state dict has."""
    harmless = b"\x80\x02ctorch\nfloat32\nq\x00)\x81q\x01."
    said = refused(written(tmp_path, harmless), "torch does not read its pickle|no weights|damaged")
    assert "weights_only" not in said
    file = tmp_path / "order.pt"
    torch.save(Net().state_dict(), file)
    file.write_bytes(file.read_bytes().replace(b"little", b"\x1b[1m\x00\x01"))
    refused(file, r"\\x1b\[1m|cut short or damaged")


def test_a_safetensors_header_that_declares_four_gigabytes(tmp_path):
    file = tmp_path / "huge.safetensors"
    file.write_bytes(struct.pack("<Q", 4 << 30) + b'{"a": 1}')
    refused(file, r"header says that it has 4294967296 bytes, and the file has 16")
    header = b'{"a":{"dtype":"F32","shape":[1073741824],"data_offsets":[0,4294967296]}}'
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    refused(file, "it is damaged")
    with file.open("wb") as opened:  # sparse: the bytes are there, and no list of weights has such a header
        opened.write(struct.pack("<Q", 9 << 20) + b"{")
        opened.truncate(10 << 20)
    refused(file, "header has 9 MB")


def test_names_with_markup_and_control_characters_are_quoted(tmp_path):
    state = {"<script>alert(1)</script>\x1b[31m\n.weight": torch.ones(2), "b" * 10_000: torch.ones(2)}
    torch.save(state, tmp_path / "markup.pt")
    said = refused(tmp_path / "markup.pt", r"'<script>alert\(1\)</script>\\x1b\[31m\\n.weight'")
    assert "b" * 100 not in said
    refused(tmp_path / "markup.pt", r"unexpected: <script>", like=Net)


def test_zip_bombs_are_refused(tmp_path):
    file = tmp_path / "bomb.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("bomb/data.pkl", pickle.dumps({}, 2))
        parts.writestr("bomb/data/0", bytes(50 << 20))
    assert file.stat().st_size < 1 << 20
    refused(file, "parts are compressed")
    with zipfile.ZipFile(file, "w") as parts:
        parts.writestr("notes.txt", "a zip file of something else")
    refused(file, "a zip file that torch.save has not written")
    with zipfile.ZipFile(file, "w") as parts:
        parts.writestr("bomb/data.pkl", pickle.dumps({}, 2))
        with pytest.warns(UserWarning, match="Duplicate"):
            parts.writestr("bomb/data.pkl", pickle.dumps({}, 2))
    refused(file, "parts overlap")
    torch.save({"w": torch.ones(3)}, file)
    told = b"\x0c\x00\x00\x00" * 2  # the size of its numbers, here and in the table of contents
    assert told in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(told, b"\xff\xff\xff\x0f" * 2))
    refused(file, "overlap|cut short or damaged")
    with zipfile.ZipFile(file, "w") as parts:
        parts.writestr("bomb/data.pkl", bytes(pickled.LARGEST + 1))
    refused(file, "longer than 4 MB")


ATTACKS = {
    "a list doubled by dictionaries": b"\x80\x02]q\x00(" + b"NN\x86" * 1000 + b"e0" + b"ccollections\nOrderedDict\nh\x00\x85R0" * 50 + b"}.",
    "memory asked for": b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\x00\x00\x00\x00\x10\x85R.",
    "a tensor asked for": b"\x80\x02ctorch\nFloatTensor\n\x8a\x05\x00\x00\x00\x00\x10\x85R.",
    "declared bytes": b"\x80\x05\x96\x00\x00\x00\x00\x10\x00\x00\x00.",
    "declared text": b"\x80\x04\x8d\x00\x00\x00\x00\x10\x00\x00\x00.",
    "a key that is nested deeply": b"\x80\x02})" + b"\x85" * 500_000 + b"Ns.",
    "an extension": b"\x80\x02\x82\x01.",
    "nothing": b"\x80\x02",
}  # fmt: skip


@pytest.mark.parametrize("how", ATTACKS)
def test_pickles_that_would_fill_the_memory_or_end_the_process(tmp_path, how):
    refused(written(tmp_path, ATTACKS[how]), "is not read as a checkpoint: ")


def test_a_tensor_that_is_larger_than_the_file(tmp_path):
    state = {"w": torch.ones(4)}
    torch.save(state, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as parts:
        own = parts.read("a/data.pkl")
    large = own.replace(b"K\x04t", b"J\xff\xff\xff\x7ft")  # the number of its elements
    assert large != own
    refused(written(tmp_path, large, _0=bytes(16)), r"would have 2147483647 numbers, and the file has \d+ bytes")
    refused(written(tmp_path, own), "the numbers of 1 of its tensors are missing")


def test_none_of_them_takes_memory(tmp_path):
    """In a process of its own: the most that it ever had, before and after."""
    files = []
    for i, attack in enumerate(ATTACKS.values()):
        files.append(written(tmp_path, attack).rename(tmp_path / f"{i}.pt"))
    (tmp_path / "huge.safetensors").write_bytes(struct.pack("<Q", 4 << 30) + b'{"a": 1}')
    code = (
        "import resource, sys\nimport nn_lens as nl\nnl.demo(); import nn_lens.networks.loading, safetensors.torch\n"
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nbefore = most()\n"
        "for file in sys.argv[1:]:\n"
        "    try:\n        nl.load(file)\n    except nl.LensError:\n        continue\n    raise SystemExit(file)\n"
        "print((most() - before) // 1024)\n"
    )
    limit = lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # noqa: E731
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, files), str(tmp_path / "huge.safetensors")],
        capture_output=True, text=True, preexec_fn=limit,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 120, "MB"
