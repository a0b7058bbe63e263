"""The cache: limits, damage, and keys that follow the weights."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pytest
import torch
from models import small

import nn_lens as nl
from nn_lens.sessions import kept_images, requests
from nn_lens.sessions.cache import Cache


def arrays(seed: int = 0, count: int = 1000):
    return {"image": np.random.default_rng(seed).random(count).astype(np.float32), "note": np.array("")}


def test_kept_entries_outlive_the_process(tmp_path):
    Cache(tmp_path).put("a", arrays(1), keep=True)
    found = Cache(tmp_path).get("a")
    np.testing.assert_array_equal(found["image"], arrays(1)["image"])
    assert Cache(tmp_path).get("b") is None
    Cache(tmp_path).put("only in memory", arrays(2))
    assert Cache(tmp_path).get("only in memory") is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other", "text"])
def test_damage_is_noticed_dropped_and_replaced(tmp_path, damage):
    Cache(tmp_path).put("a", arrays(1), keep=True)
    Cache(tmp_path).put("b", arrays(2), keep=True)
    file = Cache(tmp_path)._file("a")
    data = bytearray(file.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "empty":
        data = bytearray()
    elif damage == "other":
        data = bytearray(Cache(tmp_path)._file("b").read_bytes())
    else:
        data = bytearray(b"<html>disk full</html>" * 10)
    file.write_bytes(data)
    cache = Cache(tmp_path)
    assert cache.get("a") is None
    assert cache.dropped == 1
    assert not file.exists()
    cache.put("a", arrays(1), keep=True)
    np.testing.assert_array_equal(Cache(tmp_path).get("a")["image"], arrays(1)["image"])


def test_memory_and_disk_have_limits(tmp_path):
    cache = Cache(tmp_path, memory_bytes=10_000, disk_bytes=20_000)
    for i in range(20):
        cache.put(str(i), arrays(i), keep=True)
    assert cache._used <= 10_000
    assert sum(f.stat().st_size for f in tmp_path.glob("*.npz")) <= 20_000
    assert cache.get("19") is not None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file" / "folder")
    cache.put("a", arrays(), keep=True)
    assert cache.get("a") is not None


def test_many_threads(tmp_path):
    cache, wrong = Cache(tmp_path, memory_bytes=30_000), []

    def work(seed):
        for i in range(30):
            key = str((seed + i) % 7)
            cache.put(key, arrays(int(key)), keep=True)
            found = cache.get(key)
            if found is not None and not np.array_equal(found["image"], arrays(int(key))["image"]):
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert cache.dropped == 0


def page(session, *channels):
    return list(session.run(lambda s: requests.page(s, [nl.Unit("3", c) for c in channels])))


def test_maximizing_images_are_there_at_once_the_second_time(tmp_path):
    first = nl.Session(small(), cache=tmp_path)
    found = page(first, 0, 1)
    assert len(found) > 10
    assert [p.finished for p in found[-2:]] == [False, True]
    first.close()
    second = nl.Session(small(), cache=tmp_path)
    again = page(second, 0, 1)
    assert len(again) == 1
    np.testing.assert_array_equal(again[0].images, found[-1].images)
    more = page(second, 1, 2)
    np.testing.assert_array_equal(more[0].images[0], found[-1].images[1])
    second.close()


def test_damaged_maximizing_images_are_made_again(tmp_path):
    session = nl.Session(small(), cache=tmp_path)
    found = page(session, 0)
    session.close()
    for file in tmp_path.glob("*.npz"):
        file.write_bytes(file.read_bytes()[:-7])
    session = nl.Session(small(), cache=tmp_path)
    again = page(session, 0)
    assert len(again) > 1
    assert session.cache.dropped == 1
    np.testing.assert_array_equal(again[-1].images, found[-1].images)
    session.close()


def test_results_follow_the_weights(tmp_path):
    net = small()
    session = nl.Session(net, cache=tmp_path)
    picture = torch.rand(3, 20, 28)

    def maps():
        return session.run(lambda s: requests.maps(s, picture, "p", "3"))[0]

    before, key = maps(), session.run(lambda s: iter([s.fingerprint()]))[0]
    assert maps().version == before.version
    with torch.no_grad():
        net.model[3].weight.mul_(-1)
    after = maps()
    assert after.version != before.version
    assert not np.array_equal(after.levels, before.levels)
    assert session.run(lambda s: iter([s.fingerprint()]))[0] != key
    np.testing.assert_allclose(after.largest, nl.activations(net, picture, "3").maps.max((1, 2)), rtol=1e-5)
    session.close()


def test_the_session_never_touches_the_users_model():
    net = small()
    net.model.train()
    session = nl.Session(net, cache=False)
    optimizer = torch.optim.SGD(net.model.parameters(), lr=0.01)
    wrong = []
    stop = threading.Event()

    def look():
        while not stop.is_set():
            page(session, 0)
            if not net.model.training or not all(p.requires_grad for p in net.model.parameters()):
                wrong.append("flags")

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(60):
        optimizer.zero_grad()
        net.model(torch.rand(4, 3, 20, 28)).square().sum().backward()
        optimizer.step()
    stop.set()
    thread.join()
    session.close()
    assert not wrong


def test_a_model_that_cannot_be_copied_takes_turns():
    net = small()
    net.model.lock = threading.Lock()  # cannot be copied
    session = nl.Session(net, cache=False)
    assert session.run(lambda s: requests.maps(s, torch.rand(3, 20, 28), "p", "0"))[0].total == 6
    assert "cannot be copied" in session.note
    session.close()


def test_large_layers_come_in_parts():
    session = nl.Session(small(), cache=False)
    picture = torch.rand(3, 20, 28)
    whole = session.run(lambda s: requests.maps(s, picture, "p", "0"))[0]
    part = session.run(lambda s: requests.maps(s, picture, "p", "0", 2, 2))[0]
    assert (part.start, len(part.levels), part.total) == (2, 2, 6)
    np.testing.assert_array_equal(part.levels, whole.levels[2:4])
    np.testing.assert_array_equal(part.ranges, whole.ranges[2:4])
    filters = session.run(lambda s: requests.filters(s, "0", 4, 7))[0]
    assert (filters.start, len(filters.levels), filters.total) == (4, 2, 6), "it ends with the layer"
    session.close()


# ---- a folder that others use, fill, break and forge ----

_KERNEL = """
import sys
from pathlib import Path
import numpy as np
from nn_lens.sessions.cache import Cache

cache, seed = Cache(Path(sys.argv[1]), memory_bytes=1, disk_bytes=int(sys.argv[2])), int(sys.argv[3])
random, wrong = np.random.default_rng(seed), 0
for i in range(int(sys.argv[4])):
    n = int(random.integers(20))
    cache.put(str(n), {"image": np.full(2000 + n, n, np.float32)}, keep=True)
    cache._memory.clear()
    found = cache.get(str(int(random.integers(20))))
    if found is not None:
        value = found["image"][0]
        wrong += not (found["image"] == value).all() or len(found["image"]) != 2000 + value
    print(i, flush=True)
sys.exit(wrong or cache.dropped)
"""


def kernel(folder, seed, rounds=200, limit=100_000):
    return subprocess.Popen(
        [sys.executable, "-c", _KERNEL, str(folder), str(limit), str(seed), str(rounds)], stdout=subprocess.PIPE
    )


def test_several_kernels_share_a_folder_and_one_is_killed_while_it_writes(tmp_path):
    killed = kernel(tmp_path, 0, rounds=10**6)
    others = [kernel(tmp_path, seed) for seed in (1, 2)]
    assert b"30" in iter(lambda: killed.stdout.readline().strip(), b""), "it works until it is killed"
    killed.kill()
    killed.wait()
    for other in others:
        other.communicate()
        assert other.returncode == 0, "no picture was wrong, and none was damaged"
    sizes = [f.stat().st_size for f in tmp_path.glob("*.npz")]
    assert 0 < sum(sizes) <= 100_000 + 2 * max(sizes), "the limit holds, but for what was written in between"
    for n in range(20):
        found = Cache(tmp_path).get(str(n))
        assert found is None or (found["image"] == n).all()


def test_what_a_killed_process_left_is_cleared_away_once_nobody_can_be_writing_it(tmp_path):
    for name, age in {"old.part": 7200, "new.part": 0, "future.part": -7200, "notes.txt": 7200}.items():
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    Cache(tmp_path, disk_bytes=100_000).put("a", arrays(), keep=True)
    assert sorted(f.name for f in tmp_path.iterdir() if f.suffix != ".npz") == ["new.part", "notes.txt"]


_FULL = """
import os, signal, sys, resource
from pathlib import Path
import numpy as np
from nn_lens.sessions.cache import Cache

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
cache = Cache(folder)
cache.put("before", {"image": np.ones(1000, np.float32)}, keep=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
cache.put("large", {"image": np.ones(100_000, np.float32)}, keep=True)
assert cache.get("large")["image"].all(), "the memory has it"
assert Cache(folder).get("large") is None
assert Cache(folder).get("before")["image"].all()
print(*sorted(f.partition(".")[2] for f in os.listdir(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of Unix")
def test_a_disk_that_fills_while_it_is_written_leaves_nothing_half(tmp_path):
    done = subprocess.run([sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["npz"]


@pytest.mark.parametrize("broken", [False, True])
def test_a_folder_that_can_only_be_read(tmp_path, monkeypatch, broken):
    Cache(tmp_path).put("a", arrays(1), keep=True)
    if broken:
        Cache(tmp_path)._file("a").write_bytes(b"not what was written")

    def refuse(*_args, **_more):
        raise PermissionError(13, "Permission denied")

    for name in ("replace", "unlink", "utime"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    cache = Cache(tmp_path)
    found = cache.get("a")
    assert found is None if broken else np.array_equal(found["image"], arrays(1)["image"])
    cache.put("b", arrays(2), keep=True)
    assert cache.get("b") is not None


def forged(key, **parts):
    """A file whose digest and key are right, with any content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", parts.pop("compression", zipfile.ZIP_STORED)) as made:
        for name, data in {"key.npy": npy(np.array(key)), **parts}.items():
            made.writestr(name.replace("_npy", ".npy"), data)
    return hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


class Runs:
    ran = False

    def __reduce__(self):
        return exec, ("from test_cache import Runs; Runs.ran = True",)


FORGED = {
    "pickle": lambda: {"image_npy": npy(np.array([Runs()], object), allow_pickle=True)},
    "bomb": lambda: {"image_npy": npy(np.zeros(20_000_000, np.float32)), "compression": zipfile.ZIP_DEFLATED},
    "too short": lambda: {"image_npy": npy(np.ones(4, np.float32))[:-3]},
    "huge": lambda: {"image_npy": npy(np.ones(4, np.float32)).replace(b"(4,), ", b"(4" + b"0" * 11 + b",)")},
    "header": lambda: {"image_npy": b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 0xFFFF},
    "code": lambda: {"image_npy": npy(np.ones(4)).replace(b"'<f8'", b"exit ")},
}


@pytest.mark.parametrize("how", FORGED)
def test_forged_entries_run_nothing_and_are_dropped(tmp_path, how):
    cache = Cache(tmp_path)
    cache._file("a").write_bytes(forged("a", **FORGED[how]()))
    assert cache.get("a") is None
    assert cache.dropped == 1
    assert not Runs.ran
    assert not cache._file("a").exists()


def test_what_is_no_file_is_not_waited_for(tmp_path):
    cache = Cache(tmp_path, disk_bytes=1 << 20)
    os.mkfifo(cache._file("pipe"))
    cache._file("folder").mkdir()
    with cache._file("large").open("wb") as sparse:
        sparse.truncate(70 << 20)
    assert [cache.get(key) for key in ("pipe", "folder", "large")] == [None] * 3
    cache.put("folder", arrays(), keep=True)
    assert cache.get("folder") is not None


@pytest.mark.parametrize(
    "change",
    [
        {"image": np.ones((3, 2, 2), np.float32)}, {"image": np.ones(3, np.float32)}, {"image": None},
        {"image": np.full((3, 9, 9), np.nan, np.float32)}, {"activation": np.ones(2)}, {"note": np.array(3)},
        {"steps": np.array("many")}, {"more": np.ones(1)}, {"real": np.ones((3, 2, 2), np.float32)},
    ],
    ids=str,
)  # fmt: skip
def test_an_edited_image_is_made_again_whatever_its_digest_says(tmp_path, change):
    session = nl.Session(small(), cache=tmp_path)
    found = page(session, 0, 1)[-1]
    keys = session.run(lambda s: iter([[kept_images.key_of(s, nl.Unit("3", c), 0) for c in (0, 1)]]))[0]
    kept = {**session.cache.get(keys[0]), **change}
    session.cache.put(keys[0], {name: a for name, a in kept.items() if a is not None}, keep=True)
    session.close()
    session = nl.Session(small(), cache=tmp_path)
    again = page(session, 0, 1)[-1]
    np.testing.assert_array_equal(again.images, found.images)
    np.testing.assert_array_equal(again.activations, found.activations)
    session.close()
