"""Why this answer, unit by unit, without a browser: what is sent is what the engine says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conversation import Conversation, image_of
from models import Closed, small
from PIL import Image
from reference.planted import picture, planted
from torch.utils.data import TensorDataset

import nn_lens as nl
from nn_lens.sessions import why
from nn_lens.widgets.overlay import laid_over

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))
X = torch.rand(37, 3, 20, 28, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(37) % 4


@pytest.fixture
def lens():
    panel = nl.Lens(nl.Session(small(), TensorDataset(X, TARGETS), cache=False), unit="3:2", picture=PICTURE)
    yield panel
    panel.close()


@pytest.fixture
def talk(lens):
    return Conversation(lens)


# ---- contributions ----


def test_contributions_come_at_once_and_then_with_more_of_each(lens, talk):
    *messages, (end, _) = talk.ask("contributions", layer="3", target=0)
    assert end["type"] == "done"
    net = lens.session.net
    best = int(net.scores(PICTURE).argmax())
    expected = nl.contributions(net, PICTURE, best, "3", why.UNITS)
    first, last = messages[0], messages[-1]
    for head, _ in (first, last):
        assert [u["channel"] for u in head["units"]] == [u.channel for u in expected.units]
        np.testing.assert_allclose([u["value"] for u in head["units"]], expected.values, rtol=1e-4, atol=1e-6)
        assert head["score"] == pytest.approx(head["total"] + head["rest"])
    assert [bool(b) for b in first[1]] == [True, False, False, False], "what they add is there before their pictures"
    assert first[0]["control"] is None
    assert [bool(b) for b in last[1]] == [True, True, True, True]
    control = last[0]["control"]
    assert [u["channel"] for u in control["units"]] == [u.channel for u in expected.control.units]
    assert control["similarity"] == pytest.approx(expected.similarity_to_control)
    tile = image_of(last[1][1])[:, :28].astype(int)
    np.testing.assert_allclose(tile, laid_over(expected.maps[0], net.picture(PICTURE).numpy(), 24), atol=1)
    examples = nl.dataset_examples(net, "3", X, why.EXAMPLES, progress=False)
    assert last[0]["examples"] == why.EXAMPLES
    own = examples.top[expected.units[0]][0].patch
    sheet = image_of(last[1][3])
    width = sheet.shape[1] // (len(expected.units) * why.EXAMPLES)
    top, left = (sheet.shape[0] - own.shape[0]) // 2, (width - own.shape[1]) // 2
    np.testing.assert_array_equal(sheet[top : top + own.shape[0], left : left + own.shape[1]], own)


def test_the_first_contributions_do_not_wait_for_the_page_of_images(lens, talk):
    number = talk.want("page", layer="3", channels=list(range(6)))
    with talk.arrived:
        assert talk.arrived.wait_for(lambda: talk.sent, 60)
    other = talk.want("contributions", layer="3", target=0)
    ends = [talk.until_end(n)[-1] for n in (number, other)]
    assert [end["type"] for end, _ in ends] == ["done", "done"]
    order = [(m["id"], m["type"]) for m, _ in talk.sent]
    assert order.index((other, "contributions")) < order.index((number, "done"))


def test_a_page_gives_way_once_the_chosen_unit_has_its_image(lens, talk):
    """What else the panel shows has its turn then; a unit without its image comes first again."""
    urgency = []
    submit = lens.session.submit
    lens.session.submit = lambda slot, work, deliver, level=0: (
        urgency.append(level) or submit(slot, work, deliver, level)
    )
    talk.ask("page", layer="3", channels=[1, 2])
    assert urgency[0]() == 2
    lens.unit = "3:5"
    assert urgency[0]() == 1


def test_targets_of_the_panel_are_ranks_indices_units_and_pairs(lens, talk):
    net = lens.session.net
    order = [int(i) for i in np.argsort(-net.scores(PICTURE))]
    pairs = (([0, f"#{order[3]}"], (order[0], order[3])), ([0, 2], (order[0], order[2])))
    for target, meant in ((1, order[1]), ("#2", 2), *pairs):
        head, _ = talk.ask("contributions", layer="3", target=target)[0]
        expected = nl.contributions(net, PICTURE, meant, "3", why.UNITS, control=False)
        assert head["target"] == expected.target
        np.testing.assert_allclose([u["value"] for u in head["units"]], expected.values, rtol=1e-4, atol=1e-6)
        attributed = [m for m in talk.ask("attribution", target=target) if "target" in m[0]]
        assert attributed[0][0]["target"] == expected.target
    refused = talk.ask("contributions", layer="3", target=9)[-1][0]["text"]
    assert "has 4 classes, of which none is number 10" in refused


def test_of_a_unit_the_layer_before_it_is_looked_at(lens, talk):
    head, _ = talk.ask("contributions", layer="3", target="3:2")[0]
    assert head["layer"] == "2"
    expected = nl.contributions(lens.session.net, PICTURE, "3:2", "2", why.UNITS, control=False)
    assert head["target"] == expected.target
    assert "No layer is before 0" in talk.ask("contributions", layer="0", target="0:1")[-1][0]["text"]


def test_why_no_part_of_the_picture_is_shown_is_said():
    panel = nl.Lens(nl.Network(Closed(), (3, 20, 24), False), picture=PICTURE, unit="then:1", dataset=X[:5])
    *messages, (end, _) = Conversation(panel).ask("contributions", layer="then", target=0)
    assert end["type"] == "done"
    first, last = messages[0], messages[-1]
    assert (first[0]["unfollowed"], first[1][1]) == ("", b"")
    assert last[0]["unfollowed"].startswith("Closed from the input to layer 'then': no gradient comes through")
    assert [bool(buffer) for buffer in last[1]] == [True, False, True, True], "all else is there"
    panel.close()


# ---- steering ----


def test_the_slider_steers_a_unit_at_a_place(lens, talk):
    net = lens.session.net
    maps = nl.activations(net, PICTURE, "3").maps
    row, column = (int(i) for i in np.unravel_index(np.abs(maps[2]).argmax(), maps[2].shape))
    head, _ = talk.ask("ablation", layer="3", channel=2, factor=2, where=[row, column])[0]
    expected = nl.steer(net, PICTURE, "3:2", times=2, place=(row, column))
    assert head["place"] == f"at {row},{column}"
    assert head["present"] == pytest.approx(maps[2, row, column], rel=1e-4)
    assert head["value"] == pytest.approx(2 * maps[2, row, column], rel=1e-4)
    for one in head["rows"]:
        index = int(one["label"].removeprefix("class "))
        assert one["after"] == pytest.approx(expected.after[0, index], abs=1e-5)


def test_a_slider_at_rest_shows_the_first_classes_and_the_strongest_units_behind(lens, talk):
    net = lens.session.net
    head, _ = talk.ask("ablation", layer="1", channel=4, factor=1)[0]
    order = np.argsort(-net.scores(PICTURE))
    assert [row["label"] for row in head["rows"]] == [f"class {c}" for c in order]
    assert all(row["before"] == row["after"] for row in head["rows"])
    later, _ = talk.ask("later", layer="1", channel=4, factor=1, target=0)[0]
    for unit in later["units"]:
        maps = np.abs(nl.activations(net, PICTURE, unit["layer"]).maps)
        assert unit["channel"] == int(maps.reshape(len(maps), -1).max(1).argmax())
        assert unit["before"] == unit["after"]
    assert later["moved"] == []


def test_a_silent_unit_wakes_to_the_right_of_where_it_is():
    panel = nl.Lens(nl.Network(planted(), (1, 24, 32), False), unit="1:1", picture=picture(None))
    talk = Conversation(panel)
    for factor, value in ((0, 0), (1, 0), (2, 0.5), (3, 1.0)):
        head, _ = talk.ask("ablation", layer="1", channel=1, factor=factor, where=[10, 11])[0]
        assert head["present"] == 0
        # The largest of its layer is 1, of the unit that answers wherever it is bright.
        assert head["value"] == pytest.approx(2 * value)
        block = next(one for one in head["rows"] if one["label"] == "class 0")
        assert block["after"] - block["before"] == pytest.approx(3 * 2 * value, abs=1e-4)
    panel.close()


def test_later_layers_and_contributions_follow(lens, talk):
    net = lens.session.net
    head, (sheet,) = talk.ask("later", layer="1", channel=4, factor=0, target=0)[0]
    assert [u["layer"] for u in head["units"]] == ["2", "3", "4"]
    with torch.no_grad():
        y = net.model.eval()[:2](net.picture(PICTURE)[None])
        off = y.clone()
        off[:, 4] = 0
        for unit, depth in zip(head["units"], (3, 4, 5), strict=True):
            before, after = (net.model[2:depth](t.clone())[0] for t in (y, off))
            assert unit["channel"] == int((after - before).abs().flatten(1).amax(1).argmax())
            peak = before[unit["channel"]].flatten()
            assert unit["before"] == pytest.approx(float(peak[peak.abs().argmax()]), rel=1e-4)
        pooled = [net.model[2:7](t.clone()).flatten() for t in (y, off)]
    weights = net.model[8].weight[int(net.scores(PICTURE).argmax())].detach()
    moved = [float((weights * (pooled[1] - pooled[0])).abs().max())]
    assert head["layer"] in ("6", "7")
    assert abs(head["moved"][0]["after"] - head["moved"][0]["before"]) == pytest.approx(moved[0], rel=1e-3)
    assert image_of(sheet).shape[1] % 6 == 0


# ---- mistakes ----


def test_mistakes_are_the_engines_and_a_click_shows_one(lens, talk):
    *_, (head, (sheet,)), (end, _) = talk.ask("mistakes")
    assert end["type"] == "done"
    expected = nl.mistakes(lens.session.net, TensorDataset(X, TARGETS), progress=False)
    assert (head["count"], head["total"], head["finished"]) == (37, 37, True)
    assert head["wrong"] == expected.wrong_count
    assert head["accuracy"] == pytest.approx(expected.overall)
    assert [(r["index"], r["trueIndex"]) for r in head["rows"]] == [m[:2] for m in expected.wrong[: len(head["rows"])]]
    assert head["pairs"][0]["count"] == expected.confusions[0].pictures
    tiles = image_of(sheet)
    width = tiles.shape[1] // len(head["rows"])
    first = (X[head["rows"][0]["index"]].permute(1, 2, 0).numpy() * 255).round()
    np.testing.assert_allclose(tiles[:, :width], first, atol=1)
    row = head["rows"][0]
    talk.tell({"type": "dataset", "index": row["index"]})
    answer, _ = talk.ask("attribution", target=[0, f"#{row['trueIndex']}"])[0]
    assert answer["target"] == f"{row['said']} rather than {row['true']}"


def test_without_classes_mistakes_are_what_it_is_least_sure_of():
    panel = nl.Lens(small(), picture=PICTURE, dataset=X)
    talk = Conversation(panel)
    *_, (head, _), _ = talk.ask("mistakes")
    assert head["accuracy"] is None
    assert head["rows"][0]["true"] is None
    shares = [row["probability"] for row in head["rows"]]
    assert shares == sorted(shares)
    panel.close()


# ---- two networks, and a page ----


def test_two_networks_side_by_side_answer_each_for_itself():
    panel = nl.Lens(small(), picture=PICTURE, unit="3:2", compare=small(seed=3))
    assert panel.compared is not None
    for one in (panel, panel.compared):
        talk = Conversation(one)
        head, _ = talk.ask("contributions", layer="3", target=0)[0]
        net = one.session.net
        expected = nl.contributions(net, PICTURE, int(net.scores(PICTURE).argmax()), "3", why.UNITS, control=False)
        np.testing.assert_allclose([u["value"] for u in head["units"]], expected.values, rtol=1e-4, atol=1e-6)
    panel.close()


def test_an_exported_page_holds_them(tmp_path, lens):
    lens.view = "evidence"
    lens.to_html(tmp_path / "page.html", layers=["3"])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    for what in ("contributions", "ablation", "later", "mistakes"):
        assert f'"question":{{"what":"{what}"' in text, what
    assert '"where":null' in text
