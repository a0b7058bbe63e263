"""Building blocks as the panel gets them: the places at once, then images of units, then those of groups."""

from __future__ import annotations

import io

import numpy as np
import pytest
from conversation import Conversation
from models import small
from PIL import Image

import nn_lens as nl
from nn_lens.sessions import blocks

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))


@pytest.fixture
def lens():
    made = nl.Lens(nl.Session(small(), cache=False), picture=PICTURE)
    yield made
    made.close()


def test_places_come_first_then_units_then_groups(lens):
    answer = Conversation(lens).ask("blocks", layer="1")
    kinds = [head["type"] for head, _ in answer]
    assert kinds == ["blocks", "page", "blocks", "done"]
    found = nl.building_blocks(lens.session.net, PICTURE, "1")
    head, buffers = answer[0]
    assert head["units"] == found.units
    assert head["drawn"] == len(found.units)
    np.testing.assert_array_equal(np.frombuffer(buffers[1], np.int32), found.strongest.ravel())
    np.testing.assert_allclose(np.frombuffer(buffers[2], np.float32), found.values.ravel(), rtol=1e-5)
    np.testing.assert_allclose(np.frombuffer(buffers[3], np.float32), found.groups.ravel(), rtol=1e-3, atol=1e-4)
    assert answer[1][0]["channels"] == found.units
    sheet = Image.open(io.BytesIO(answer[2][1][0]))
    assert (len(answer[0][1][0]), sheet.width % len(found.shares)) == (0, 0)


def test_images_of_groups_are_kept_for_next_time(lens, monkeypatch):
    talk = Conversation(lens)
    talk.ask("blocks", layer="1")
    monkeypatch.setattr("nn_lens.sessions.climbs.Run", None)
    assert [head["type"] for head, _ in talk.ask("blocks", layer="1")][-1] == "done"


def test_of_many_units_the_frequent_are_drawn(lens, monkeypatch):
    monkeypatch.setattr(blocks, "DRAWN", 2)
    answer = Conversation(lens).ask("blocks", layer="1")
    assert answer[0][0]["drawn"] == 2
    assert [c for head, _ in answer if head["type"] == "page" for c in head["channels"]] == answer[0][0]["units"][:2]


def test_an_old_picture_is_not_answered(lens):
    answer = Conversation(lens).ask("blocks", layer="1", picture="picture of yesterday")
    assert [head["type"] for head, _ in answer] == ["cancelled"]
