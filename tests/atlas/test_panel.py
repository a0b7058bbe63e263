"""Panels on an atlas: alone, it shows what it holds and says what it does not; beside a network, what is finished is there at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from atlases import pictures
from conversation import Conversation, image_of
from models import small

import nn_lens as nl
from nn_lens.engine.pictures.images import pad, rgb
from nn_lens.sessions import climbs, evidence

UNIT = "3:2"


@pytest.fixture(scope="module")
def net() -> nl.Network:
    return small()


@pytest.fixture(scope="module")
def folder(net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("atlas")
    with ThreadPoolExecutor(1) as executor:
        nl.sweep(
            net, folder, ["0", "3", "4"], [UNIT, "3:4"], pictures(40), executor=executor, pixels=True, progress=False
        )
    return folder


@pytest.fixture
def alone(folder):
    lens = nl.Lens(nl.Atlas(folder), unit=UNIT)
    yield Conversation(lens)
    lens.close()


@pytest.fixture
def beside(net, folder):
    lens = nl.Lens(net, unit=UNIT, dataset=pictures(40), atlas=nl.Atlas(folder))
    yield Conversation(lens)
    lens.close()


def test_alone_it_is_the_panel_without_the_model(alone, net):
    lens = alone.panel
    assert repr(lens) == "<Lens of Sequential at 3:2>"
    assert [layer["name"] for layer in lens._network["layers"]] == ["0", "3", "4"]
    assert [layer["filter"] for layer in lens._network["layers"]] == [[3, 5, 5], [6, 3, 3], None]
    assert lens.code() == 'nl.Lens(atlas, unit="3:2")'
    assert not list(lens.session.net.model.parameters())
    lens.unit = "4:1"
    with pytest.raises(nl.LensError, match="holds no layer '1'"):
        lens.layer = "1"


def test_alone_it_shows_what_it_holds(alone, folder):
    atlas = nl.Atlas(folder)
    (head, buffers), end = alone.ask("page", layer="3", channels=list(range(8)))
    assert end[0]["type"] == "done"
    assert [a is None for a in head["activations"]] == [c not in (2, 4) for c in range(8)]
    assert head["notes"][0] == "not in the atlas"
    assert (image_of(buffers[2]) == rgb(atlas.images(UNIT).images)[0]).all()
    (head, buffers), _ = alone.ask("negative", layer="3", channel=2)
    assert (image_of(buffers[0]) == rgb(atlas.images(UNIT, negative=True).images)[0]).all()
    (head, _), _ = alone.ask("examples", layer="3", channel=2)
    assert (head["count"], head["total"], head["tiles"], head["finished"]) == (40, 40, 9, True)
    *_, (head, _), _ = alone.ask("trust", layer="3", channel=2)
    assert [b["text"] for b in head["badges"]] == [b.text for b in atlas.trust(UNIT)]
    (head, buffers), _ = alone.ask("filters", layer="0")
    assert (head["colour"], head["count"]) == ("rgb", 6)
    (head, _), _ = alone.ask("field", layer="3")
    assert head["size"] == [15, 15]


@pytest.mark.parametrize(
    ("what", "fields", "said"),
    [
        ("page", {"layer": "3", "channels": [0, 1]}, "holds no maximizing of 3:0; nl.sweep"),
        ("trust", {"layer": "3", "channel": 0}, "holds no trust of 3:0"),
        ("filters", {"layer": "4"}, "has no filters; the nearest layer that has is '3'"),
        ("incoming", {"layer": "3", "channel": 2}, "takes the network itself"),
        ("embedding", {"layer": "3"}, "takes the network itself"),
        ("directions", {"layer": "3", "channel": 2}, "takes the network itself"),
        ("mistakes", {}, "takes the network itself"),
        ("scores", {"picture": None}, "takes the network itself"),
        ("maps", {"picture": None, "layer": "3"}, "takes the network itself"),
    ],
)
def test_alone_it_says_what_it_does_not_hold(alone, what, fields, said):
    lens = alone.panel
    with pytest.raises(nl.LensError, match=said):
        list(
            lens._conversation.answers(
                what, **({"start": 0, "count": 8} if what in ("filters", "maps") else {}), **fields
            )
        )


def test_without_pixels_cards_have_the_numbers_of_the_pictures(net, tmp_path):
    with ThreadPoolExecutor(1) as executor:
        atlas = nl.sweep(net, tmp_path, "3", None, pictures(40), "examples", executor, progress=False)
    lens = nl.ExamplesView(atlas, unit=UNIT)
    head, buffers = list(lens._conversation.answers("examples", layer="3", channel=2))[-1]
    lens.close()
    assert head["tiles"] == 9
    levels = image_of(buffers[0])
    assert abs(int(np.median(levels)) - 128) <= 2  # grey, with a number in white
    assert levels.max() > 240


def test_beside_a_network_finished_results_are_there_at_once(beside, folder, monkeypatch):
    atlas = nl.Atlas(folder)
    monkeypatch.setattr(climbs, "Run", lambda *_, **__: pytest.fail("nothing is to be made"))
    monkeypatch.setattr("nn_lens.sessions.evidence.dataset_pass", lambda *_: pytest.fail("no pass is needed"))
    (_, buffers), _ = beside.ask("page", layer="3", channels=[2, 4])
    assert (image_of(buffers[0]) == rgb(atlas.images(UNIT).images)[0]).all()
    (head, _), _ = beside.ask("examples", layer="3", channel=2)
    assert head["count"] == 40
    *_, (head, _), _ = beside.ask("trust", layer="3", channel=2)
    assert [b["text"] for b in head["badges"]] == [b.text for b in atlas.trust(UNIT)]
    assert beside.panel.code().endswith(", atlas=atlas)")
    assert "maps" in [m[0]["type"] for m in beside.ask("maps", layer="3")]


def test_beside_a_network_pictures_that_the_atlas_does_not_hold_are_those_of_the_dataset(net, tmp_path, monkeypatch):
    with ThreadPoolExecutor(1) as executor:
        atlas = nl.sweep(net, tmp_path, "3", None, pictures(40), "examples", executor, progress=False)
    live = nl.dataset_examples(net, "3", pictures(40), progress=False).spectrum(UNIT, 9)
    passes = []
    own = evidence.dataset_pass
    monkeypatch.setattr(evidence, "dataset_pass", lambda *asked: passes.append(asked) or own(*asked))
    lens = nl.ExamplesView(net, unit=UNIT, dataset=pictures(40), atlas=atlas)
    head, buffers = list(lens._conversation.answers("examples", layer="3", channel=2))[-1]
    lens.close()
    assert not passes
    np.testing.assert_allclose(head["activations"], [e.activation for e in live], rtol=1e-5)
    greys = [x.mean(2).ravel() for x in (image_of(buffers[0]), np.concatenate(list(pad([e.patch for e in live])), 1))]
    assert np.corrcoef(*greys)[0, 1] > 0.8  # noise, as JPEG
    other = pictures(40)
    other[live[-1].index] = 0  # of another dataset, nothing is taken
    lens = nl.ExamplesView(net, unit=UNIT, dataset=other.flip(0), atlas=atlas)
    list(lens._conversation.answers("examples", layer="3", channel=2))
    lens.close()
    assert passes


def test_beside_a_network_what_is_missing_is_made(beside):
    messages = beside.ask("page", layer="3", channels=[2, 3])
    assert messages[-1][0]["type"] == "done"
    assert None not in messages[-2][0]["activations"]


def test_weights_that_moved_are_not_the_atlas_s(net, folder):
    net = small()
    lens = nl.Lens(net, unit=UNIT, dataset=pictures(40), atlas=nl.Atlas(folder))
    talk = Conversation(lens)
    before = talk.ask("page", layer="3", channels=[2])[-2][0]["activations"]
    with torch.no_grad():
        net.model[3].weight.mul_(3)
    after = talk.ask("page", layer="3", channels=[2])[-2][0]["activations"]
    lens.close()
    assert after[0] > 2 * before[0]


def test_an_atlas_of_another_network_is_refused(folder):
    with pytest.raises(nl.LensError, match="made of other weights or other code"):
        nl.Lens(small(seed=1), atlas=nl.Atlas(folder))
    with pytest.raises(nl.LensError, match=r"atlas= takes an nl.Atlas"):
        nl.Lens(small(), atlas=str(folder))


def test_a_page_of_an_atlas_stands_alone(alone, tmp_path):
    alone.panel.to_html(tmp_path / "page.html", layers=["3"])
    assert "not in the atlas" in (tmp_path / "page.html").read_text()
