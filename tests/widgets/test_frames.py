"""Frames at the pace of the browser."""

from __future__ import annotations

import itertools
import time

import pytest

from nn_lens.widgets import frames
from nn_lens.widgets.frames import Frames


@pytest.fixture
def sent(monkeypatch):
    monkeypatch.setattr(frames, "PATIENCE", 0.05)
    monkeypatch.setattr(frames, "PACE", 0.0)
    return []


def test_at_most_two_in_flight_and_the_newest_replaces_the_held(sent):
    pacer = Frames(lambda content, _: sent.append(content["n"]))
    for n in range(10):
        pacer.offer(lambda n=n: ({"n": n}, []))
    assert sent == [0, 1]
    pacer.acknowledge()
    assert sent == [0, 1, 9]
    pacer.acknowledge()
    assert sent == [0, 1, 9]
    pacer.offer(lambda: ({"n": 10}, []))
    assert sent == [0, 1, 9, 10]
    pacer.end()


def test_without_acknowledgements_the_newest_still_goes_out(sent):
    pacer = Frames(lambda content, _: sent.append(content["n"]))
    for n in range(50):
        pacer.offer(lambda n=n: ({"n": n}, []))
        time.sleep(0.005)
    time.sleep(0.2)
    assert sent[-1] == 49
    assert 3 <= len(sent) <= 12
    pacer.end()


def test_the_end_forgets_the_held_frame_and_waits_for_nobody(sent, monkeypatch):
    monkeypatch.setattr(frames, "PATIENCE", 5)
    pacer = Frames(lambda content, _: sent.append(content["n"]))
    for n in range(4):
        pacer.offer(lambda n=n: ({"n": n}, []))
    pacer.end()
    pacer.acknowledge()  # one that comes late
    assert sent == [0, 1]
    for n in range(4, 8):
        pacer.offer(lambda n=n: ({"n": n}, []))
    assert sent == [0, 1, 4, 5]
    pacer.end()


def test_frames_keep_their_distance(sent, monkeypatch):
    monkeypatch.setattr(frames, "PACE", 0.04)
    monkeypatch.setattr(frames, "PATIENCE", 5)
    times = []
    pacer = Frames(lambda content, _: times.append(time.monotonic()))
    for n in range(60):
        pacer.offer(lambda n=n: ({"n": n}, []))
        pacer.acknowledge()
        time.sleep(0.004)
    pacer.end()
    assert 3 <= len(times) <= 8
    assert min(b - a for a, b in itertools.pairwise(times)) >= 0.04
