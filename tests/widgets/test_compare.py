"""Two networks side by side: one selection, one picture, two of everything else."""

from __future__ import annotations

import json
import threading

import ipywidgets
import numpy as np
import pytest
import torch
from conversation import Conversation
from models import small, torchvision_network
from PIL import Image

import nn_lens as nl
from nn_lens.widgets.compare import counterparts

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))


@pytest.fixture
def pair():
    lens = nl.Lens(nl.Session(small(), cache=False), picture=PICTURE, compare=nl.Session(small(seed=1), cache=False))
    yield lens, lens.compared
    lens.close()


def test_the_selection_and_the_picture_are_shared(pair):
    lens, other = pair
    assert lens._compared == other.model_id
    assert lens.picture is other.picture
    lens.unit = "3:4"
    assert str(other.unit) == "3:4"
    lens._selection = {"layer": "0", "channel": 2, "row": 1, "column": 1}
    assert str(other.unit) == "0:2@1,1"
    lens.picture = PICTURE.rotate(90)
    assert other.picture is lens.picture
    lens.view = "filters"
    assert other.view == "filters"
    assert lens.code() == 'nl.Lens(net, unit="0:2@1,1", view="filters", compare=other)'


def test_each_answers_for_its_own_network(pair):
    ours, theirs = (Conversation(panel).ask("maps", layer="3")[0] for panel in pair)
    assert bytes(ours[1][0]) != bytes(theirs[1][0])
    for panel, answer in zip(pair, (ours, theirs), strict=True):
        largest = np.frombuffer(answer[1][2], np.float32)
        own = nl.activations(panel.session.net, PICTURE, "3").maps.max((1, 2))
        np.testing.assert_allclose(largest, own, rtol=1e-4, atol=1e-6)


def test_other_architectures_go_side_by_side_at_the_same_depth():
    first, second = torchvision_network("squeezenet1_1"), torchvision_network("resnet18")
    pairs = counterparts(first, second)
    assert set(pairs) == {layer.name for layer in first.layers if layer.reason is None}
    there = [layer.name for layer in second.layers if layer.reason is None]
    depths = [there.index(name) for name in pairs.values()]
    assert depths == sorted(depths)
    assert (depths[0], depths[-1]) == (0, len(there) - 1)
    assert all(name == other for name, other in counterparts(first, first).items())


def test_a_channel_beyond_the_others_last_becomes_its_last():
    lens = nl.Lens(
        torchvision_network("squeezenet1_1"), unit="features.12:500", compare=torchvision_network("resnet18")
    )
    most = lens.compared.session.net[lens.compared.unit.layer].channels
    assert lens.compared.unit.channel == min(500, most - 1)
    lens.close()


def test_both_trainings_are_recorded(pair):
    lens, other = pair
    lens.record(0)
    with torch.no_grad():
        other.session.net.model[0].weight += 1
    lens.record(1)
    lens._weights_may_have_moved()
    assert [s["step"] for s in other._steps] == [0, 1]
    lens.step = 0
    assert other.step == 0
    other.step = None
    assert lens.step == 0, "the other may be held at another step"
    lens.step = None
    assert other.step is None


def test_both_are_printed_and_exported(pair, tmp_path):
    lens, other = pair
    lens.unit = "3:2"
    lens.save_png(tmp_path / "both.png", "activations", dpi=50)
    alone = nl.Lens(other.session, unit="3:2", picture=PICTURE)
    alone.save_png(tmp_path / "one.png", "activations", dpi=50)
    alone.close()
    both, one = Image.open(tmp_path / "both.png"), Image.open(tmp_path / "one.png")
    assert both.width > 1.8 * one.width
    np.testing.assert_array_equal(np.asarray(both)[: one.height, -one.width :], np.asarray(one))
    lens.to_html(tmp_path / "both.html")
    text = (tmp_path / "both.html").read_text()
    data = json.loads(text.split('id="stored">')[1].split("</script>")[0])
    stacks = [
        next(a for a in part["answers"] if a["question"]["what"] == "maps")["messages"][0]["buffers"][0]
        for part in (data, data["compared"])
    ]
    assert stacks[0] != stacks[1]
    assert data["compared"]["traits"]["_counterparts"]["3"] == "3"


def test_wrong_networks_and_pictures_leave_nothing():
    before = set(ipywidgets.widgets.widget._instances)
    with pytest.raises(nl.LensError):
        nl.Lens(small(), compare="resnet18")
    with pytest.raises(nl.LensError, match="no file"):
        nl.Lens(small(), picture="missing.jpg", compare=small(seed=1))
    with pytest.raises(nl.LensError, match="takes unit"):
        nl.Lens(small(), compare=small(seed=1), colour="red")
    assert set(ipywidgets.widgets.widget._instances) == before


def test_a_network_that_cannot_see_the_picture_has_none():
    vectors = nl.Network(torch.nn.Sequential(torch.nn.Linear(20, 4), torch.nn.ReLU()), (20,), False)
    lens = nl.Lens(small(), picture=PICTURE, compare=vectors)
    assert lens.picture is not None
    assert lens.compared.picture is None
    lens.close()


def test_nothing_of_it_stays_behind(pair):
    lens, other = pair
    for panel in pair:
        Conversation(panel).ask("maps", layer="3")
    lens.close()
    assert (lens.comm, other.comm) == (None, None)
    assert not [t for t in threading.enumerate() if t.name.startswith("nn-lens") and t.is_alive()]
