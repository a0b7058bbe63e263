"""The lens during and after a training: steps are recorded, shown as they come, and gone through afterwards."""

from __future__ import annotations

import json
import threading
import warnings

import numpy as np
import pytest
import torch
from conversation import Conversation
from models import small
from PIL import Image

import nn_lens as nl
from nn_lens.sessions import checkpoints
from nn_lens.widgets import training

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))


@pytest.fixture
def net():
    return small()


@pytest.fixture
def lens(net, monkeypatch):
    monkeypatch.setattr(training, "OFTEN", 0)
    made = nl.Lens(nl.Session(net, cache=False), picture=PICTURE)
    yield made
    made.close()


@pytest.fixture
def talk(lens):
    return Conversation(lens)


def move(net, by=0.1):
    with torch.no_grad():
        net.model[0].weight += by


def stack_of(talk, what="filters"):
    head, buffers = talk.ask(what, layer="0", channel=0)[0]
    return head["weights"], bytes(buffers[0]), bytes(buffers[1])


def test_recorded_steps_are_shown_as_they_come_and_then_the_model_again(lens, net, talk):
    lens.record(0)
    assert lens.step == 0
    move(net)
    lens.record(10)
    assert (lens.step, [s["step"] for s in lens._steps]) == (10, [0, 10])
    move(net)
    lens._weights_may_have_moved()
    assert lens.step is None
    assert lens._weights not in [s["weights"] for s in lens._steps]


def test_the_slider_goes_back_to_what_was(lens, net, talk):
    first = stack_of(talk)
    lens.record(0)
    move(net)
    second = stack_of(talk) if lens.step is None else None
    lens.step = None
    second = stack_of(talk)
    assert second[1:] != first[1:]
    lens.step = 0
    assert stack_of(talk) == (lens._weights, *first[1:])
    lens._weights_may_have_moved()
    assert lens.step == 0, "a step that was chosen stays"
    lens.step = None
    assert stack_of(talk)[1:] == second[1:]


def test_answers_go_out_before_they_are_asked_for(lens, net, talk):
    """A running cell keeps the kernel from hearing the browser."""
    lens.record(7)
    expected = {c["what"]: c for c, _ in talk.sent if c["type"] == "expect"}
    assert set(expected) == {"filters", "maps", "scores"}
    for content in expected.values():
        assert content["weights"] == lens._weights
        answer = talk.until_end(content["id"])
        assert [c["type"] for c, _ in answer][-1] == "done"
    assert expected["maps"]["picture"] == lens._picture["key"]


def test_a_new_picture_brings_its_maps_with_it(lens, talk):
    lens.picture = PICTURE.rotate(90)
    expect = next(c for c, _ in talk.sent if c["type"] == "expect")
    assert (expect["what"], expect["picture"]) == ("maps", lens._picture["key"])
    pushed = talk.until_end(expect["id"])[1]
    asked = talk.ask("maps", layer="0")[0]
    assert [bytes(b) for b in pushed[1]] == [bytes(b) for b in asked[1]]
    lens.view = "kernel"
    lens.picture = PICTURE
    assert sum(c["type"] == "expect" for c, _ in talk.sent) == 1, "a view without maps needs none"


def test_who_looks_at_the_past_is_left_alone(lens, net, talk):
    lens.record(0)
    move(net)
    lens.record(1)
    lens.step = 0
    move(net)
    lens.record(2)
    assert lens.step == 0
    lens._weights_may_have_moved()
    assert (lens.step, [s["step"] for s in lens._steps]) == (0, [0, 1, 2])


def test_a_fast_loop_does_not_flood_the_browser(lens, net, talk, monkeypatch):
    monkeypatch.setattr(training, "OFTEN", 60)
    for step in range(20):
        move(net)
        lens.record(step)
    assert len([c for c, _ in talk.sent if c["type"] == "expect"]) == 3
    lens._weights_may_have_moved()
    assert len(lens._steps) == 20


def test_wrong_steps_are_named(lens, net):
    with pytest.raises(nl.LensError, match="No step was recorded"):
        lens.step = 3
    lens.record(5)
    lens.step = None
    with pytest.raises(nl.LensError, match="nearest 5"):
        lens.step = 3
    assert lens.step is None
    with pytest.raises(nl.LensError, match="whole number"):
        lens.record("five")


def test_a_full_disk_does_not_end_a_training(lens, talk, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.torch, "save", full)
    with pytest.warns(UserWarning, match="A step was not recorded.*No space left"):
        lens.record(3)
    assert any(c["type"] == "error" and "No space left" in c["text"] for c, _ in talk.sent)
    assert lens.step is None


def test_panels_of_one_session_look_at_one_moment(lens, net, monkeypatch):
    other = nl.ActivationsView(lens.session, picture=PICTURE)
    lens.record(0)
    move(net)
    lens.record(1)
    lens.step = 0
    assert (other.step, other._steps) == (0, lens._steps)
    other.step = None
    assert lens.step is None
    other.close()


def test_a_real_training_is_recorded_without_being_disturbed(net, monkeypatch):
    """The same losses with and without a lens that records and works."""
    monkeypatch.setattr(training, "OFTEN", 0)

    def train(net, record):
        torch.manual_seed(1)
        optimizer = torch.optim.SGD(net.model.parameters(), lr=0.05)
        losses = []
        for step in range(15):
            optimizer.zero_grad()
            loss = net.model(torch.rand(4, 3, 20, 28)).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            record(step)
        return losses

    alone = train(small(), lambda step: None)
    lens = nl.Lens(nl.Session(net, cache=False), picture=PICTURE)
    Conversation(lens)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(net, lens.record) == alone
    lens.close()


def test_a_model_that_cannot_be_copied_trains_on(monkeypatch):
    monkeypatch.setattr(training, "OFTEN", 0)
    net = small()
    net.model.lock = threading.Lock()  # cannot be copied
    lens = nl.Lens(nl.Session(net, cache=False), picture=PICTURE)
    talk = Conversation(lens)
    for step in range(5):
        net.model(torch.rand(2, 3, 20, 28)).sum().backward()
        with pytest.warns(UserWarning, match="cannot be copied.*no past"):
            lens.record(step)
    assert (lens.step, lens._steps) == (None, [])
    assert talk.ask("maps", layer="3")[-1][0]["type"] == "done"
    lens.close()


def test_every_answer_says_of_which_weights_it_is(lens, net, talk):
    lens.record(0)
    move(net)
    lens.record(1)
    for step in (0, 1):
        lens.step = step
        for what in ("scores", "maps", "filters", "ablation"):
            answer = talk.ask(what, layer="0", channel=0, factor=0)
            assert {head["weights"] for head, _ in answer} == {lens._steps[step]["weights"]}, what


def test_a_step_that_is_looked_at_and_recorded_again_is_the_new_one(lens, net, talk):
    for step in range(3):
        lens.record(step)
        move(net)
    lens.step = 1
    old = stack_of(talk)
    lens.record(0)
    assert lens.step is None, "step 1 was of the earlier training"
    move(net)
    lens.record(1)
    lens.step = 1
    assert stack_of(talk)[0] == lens._steps[1]["weights"] == lens._weights
    assert stack_of(talk)[1:] != old[1:]
    lens.step = 0
    move(net)
    lens.record(0)
    assert (lens.step, lens._weights) == (0, lens._steps[0]["weights"])
    assert stack_of(talk)[0] == lens._weights


def test_what_is_written_from_within_a_training_is_of_the_model_as_it_is(lens, net, monkeypatch, tmp_path):
    monkeypatch.setattr(training, "OFTEN", 60)
    for step in range(4):
        move(net)
        lens.record(step)
    lens.view = "filters"
    lens.to_html(tmp_path / "page.html", layers=["0"])
    data = json.loads((tmp_path / "page.html").read_text().split('id="stored">')[1].split("</script>")[0])
    answer = next(a for a in data["answers"] if a["question"]["what"] == "filters")
    assert answer["messages"][0]["head"]["weights"] == lens.session.checkpoints.last.version


def test_weights_that_move_behind_torchs_back_are_recorded(lens, net):
    for step in range(3):
        net.model[0].weight.data += 0.1
        lens.record(step)
    assert len({s["weights"] for s in lens._steps}) == 3
    lens.record(3)
    assert lens._steps[3]["weights"] == lens._steps[2]["weights"], "these stood still"


def test_a_panel_that_comes_later_shows_the_same_step(lens, net):
    lens.record(0)
    move(net)
    lens.record(1)
    lens.step = 0
    later = nl.ActivationsView(lens.session, picture=PICTURE)
    assert (later.step, later._weights) == (0, lens._weights)
    later.step = None
    assert lens.step is None
    later.close()


def test_a_closed_panel_records_nothing(lens):
    lens.close()
    with pytest.raises(nl.LensError, match="closed"):
        lens.record(0)
