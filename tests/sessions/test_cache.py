"""The cache: limits, damage, and keys that follow the weights."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from models import small

import nn_lens as nl
from nn_lens.sessions import requests
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
