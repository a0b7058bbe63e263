"""The widgets without a browser: traits, the conversation, errors, and their end."""

from __future__ import annotations

import gc
import io
import json
import threading
import time
import weakref

import ipywidgets
import numpy as np
import pytest
import torch
import traitlets
from conversation import Conversation
from models import Failing, small
from PIL import Image

import nn_lens as nl
from nn_lens.engine.pictures import images
from nn_lens.widgets import frames

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))


@pytest.fixture
def lens():
    panel = nl.Lens(small(), picture=PICTURE)
    yield panel
    panel.close()


@pytest.fixture
def talk(lens):
    return Conversation(lens)


def test_unit_and_layer_follow_each_other(lens):
    assert (str(lens.unit), lens.layer) == ("0:0", "0")
    lens.unit = "3:7"
    assert lens.unit == nl.Unit("3", 7)
    assert lens.layer == "3"
    lens.layer = "0"
    assert str(lens.unit) == "0:5", "the channel stays, or becomes the layer's last"
    lens._selection = {"layer": "3", "channel": 2, "row": None, "column": None}
    assert str(lens.unit) == "3:2"
    lens.unit = nl.Unit("3", 1, 1, 3)
    assert lens._selection == {"layer": "3", "channel": 1, "row": 1, "column": 3}


@pytest.mark.parametrize(("trait", "value", "says"), [
    ("unit", "3:99", "channels 0 to 7"), ("unit", "nonsense", "is no unit"), ("layer", "33", "Nearest: 3"),
    ("picture", "no_such.jpg", "no file"), ("picture", b"text", "not a picture"), ("view", "moon", "There is no view"),
])  # fmt: skip
def test_wrong_values_are_named_and_nothing_is_lost(lens, trait, value, says):
    lens.unit = "3:2"
    before = (lens.unit, lens.layer, lens.picture, lens.view)
    with pytest.raises(nl.LensError, match=says):
        setattr(lens, trait, value)
    assert (lens.unit, lens.layer, lens.picture, lens.view) == before


def test_traits_can_be_watched_and_linked(lens):
    seen = []
    lens.observe(lambda change: seen.append(str(change.new)), "unit")
    lens.unit = "3:4"
    lens.unit = "3:4"
    assert seen == ["3:4"]
    other = nl.ActivationsView(lens.session)
    traitlets.link((lens, "unit"), (other, "unit"))
    lens.unit = "3:6"
    assert str(other.unit) == "3:6"
    other.unit = "0:1"
    assert str(lens.unit) == "0:1"
    text = ipywidgets.Text()
    traitlets.dlink((lens, "unit"), (text, "value"), str)
    lens.unit = "3:1"
    assert text.value == "3:1"
    other.close()


def test_a_picture_is_compared_by_identity(lens):
    seen = []
    lens.observe(lambda change: seen.append(change.new), "picture")
    lens.picture = PICTURE.copy()
    lens.picture = lens.picture
    assert len(seen) == 1
    lens.picture = PICTURE
    assert lens.picture is PICTURE
    lens.picture = PICTURE
    assert len(seen) == 2
    lens.picture = np.asarray(PICTURE)
    assert isinstance(lens.picture, Image.Image)
    lens.picture = None
    assert lens._picture is None


def test_maps_are_the_engines(lens, talk):
    (head, buffers), end = talk.ask("maps", layer="3")
    assert end[0]["type"] == "done"
    maps = nl.activations(lens.session.net, PICTURE, "3").maps
    expected, ranges, signed = images.map_levels(maps)
    assert (head["count"], head["height"], head["width"]) == maps.shape
    assert head["colour"] == ("diverging" if signed else "sequential")
    np.testing.assert_array_equal(np.frombuffer(buffers[0], np.uint8).reshape(maps.shape), expected)
    np.testing.assert_allclose(np.frombuffer(buffers[1], np.float32).reshape(-1, 2), ranges, rtol=1e-6)
    np.testing.assert_allclose(np.frombuffer(buffers[2], np.float32), maps.max((1, 2)), rtol=1e-6)


def test_filters_are_the_engines(lens, talk):
    (head, buffers), _ = talk.ask("filters", layer="0")
    found = nl.filters(lens.session.net, "0").images()
    assert head["colour"] == "rgb"
    levels = np.frombuffer(buffers[0], np.uint8).reshape(head["count"], head["planes"], head["height"], head["width"])
    np.testing.assert_array_equal(levels.transpose(0, 2, 3, 1), found)
    *_, (end, _) = talk.ask("filters", layer="1")
    assert end["type"] == "error"
    assert "nearest layer that has" in end["text"]


def test_scores_are_the_networks(lens, talk):
    (head, _), _ = talk.ask("scores")
    assert head["scores"] == lens.session.net.predict(PICTURE)


def test_a_page_ends_with_what_the_engine_makes():
    lens = nl.Lens(nl.Session(small(), cache=False), picture=PICTURE)
    talk = Conversation(lens)
    messages = talk.ask("page", layer="3", channels=[0, 1, 2])
    pages = [m for m in messages if m[0]["type"] == "page"]
    last, pictures = pages[-1]
    assert last["finished"]
    expected = nl.maximize(lens.session.net, ["3:0", "3:1", "3:2"])
    tiles = images.rgb(expected.images)
    np.testing.assert_array_equal([np.asarray(Image.open(io.BytesIO(picture))) for picture in pictures], tiles)
    np.testing.assert_allclose(last["activations"], expected.activations, rtol=1e-5)
    assert len(pages) > 1, "it streams"
    assert (pages[0][0]["made"], last["made"]) == ([], [0, 1, 2])
    lens.close()


def test_a_page_stops_when_a_new_one_is_wanted(lens, talk):
    # The worker is held, so that no page is finished before it is replaced.
    held, go = threading.Event(), threading.Event()

    def hold(_):
        held.set()
        go.wait(20)
        yield 1

    lens.session.submit("hold", hold, lambda job, result: None)
    assert held.wait(20)
    first = talk.want("page", layer="3", channels=[0, 1])
    second = talk.want("page", layer="3", channels=[3])
    go.set()
    assert talk.until_end(first)[-1][0]["type"] == "cancelled"
    assert talk.until_end(second)[-1][0]["type"] == "done"
    held.clear()
    go.clear()
    lens.session.submit("hold", hold, lambda job, result: None)
    assert held.wait(20)
    third = talk.want("page", layer="0", channels=[3])
    talk.tell({"type": "stop", "what": "page"})
    go.set()
    assert talk.until_end(third)[-1][0]["type"] == "cancelled"


def test_every_question_of_a_storm_ends(lens, talk):
    numbers = [talk.want("maps", layer="03"[i % 2], start=i % 6, count=1) for i in range(100)]
    ends = [talk.until_end(n)[-1][0]["type"] for n in numbers]
    assert ends[-1] == "done"
    assert set(ends) <= {"done", "cancelled"}


def test_frames_of_a_page_that_was_left_do_not_hold_up_the_next(monkeypatch):
    """Nobody acknowledges them: the browser no longer knows the question."""
    monkeypatch.setattr(frames, "PATIENCE", 60)
    lens = nl.Lens(nl.Session(small(), cache=False), picture=PICTURE)
    talk = Conversation(lens)
    for channel in range(4):
        asked = talk.want("page", layer="0", channels=[channel])
        with talk.arrived:
            assert talk.arrived.wait_for(
                lambda asked=asked: any(c["id"] == asked and c.get("finished") is False for c, _ in talk.sent), 20
            ), "its first frame"
    lens.close()


def test_unacknowledged_frames_do_not_pile_up():
    lens = nl.Lens(nl.Session(small(), cache=False), picture=PICTURE)
    talk = Conversation(lens)
    began = time.monotonic()
    messages = talk.ask("page", layer="0", channels=list(range(6)))
    elapsed = time.monotonic() - began
    previews = [c for c, _ in messages if c["type"] == "page" and not c["finished"]]
    assert 1 <= len(previews) <= 2 + elapsed / frames.PATIENCE + 1, "two at once, then one whenever patience ends"
    began = time.monotonic()
    messages = talk.ask("page", layer="0", channels=list(range(6)))
    assert time.monotonic() - began < 1
    assert [c["type"] for c, _ in messages] == ["page", "done"]
    lens.close()


def pieces(data, number=1, size=1000):
    count = -(-len(data) // size)
    for i in range(count):
        head = {"type": "upload", "upload": number, "index": i, "count": count, "name": "mine.jpg"}
        yield head, memoryview(data[i * size : (i + 1) * size])


def jpeg():
    file = io.BytesIO()
    PICTURE.save(file, "JPEG")
    return file.getvalue()


def test_an_upload_becomes_the_picture(lens, talk):
    for head, piece in pieces(jpeg(), size=300):
        talk.tell(head, piece)
    assert lens.picture.size == PICTURE.size
    assert lens._picture["name"] == "mine.jpg"
    np.testing.assert_array_equal(np.asarray(lens.picture), np.asarray(Image.open(io.BytesIO(jpeg()))))


@pytest.mark.parametrize(("data", "says"), [(b"no picture at all", "not a picture"), (jpeg()[:900], "cut off")])
def test_a_bad_upload_is_named_and_nothing_is_lost(lens, talk, data, says):
    before = lens.picture
    for head, piece in pieces(data):
        talk.tell(head, piece)
    ((content, _),) = talk.sent
    assert content["type"] == "error"
    assert says in content["text"]
    assert lens.picture is before
    assert talk.ask("maps", layer="3")[-1][0]["type"] == "done"


def test_a_lost_piece_is_named(lens, talk):
    (first, a), (second, b), (third, c), *_ = pieces(jpeg(), size=300)
    talk.tell(first, a)
    talk.tell(third, c)
    assert "interrupted" in talk.sent[-1][0]["text"]
    talk.tell(second, b)
    assert len(talk.sent) == 1


def test_a_failing_model_is_named_and_the_panel_lives():
    net = nl.Network(Failing(), (3, 12, 12), False)
    panel = nl.Lens(net, picture=PICTURE)
    talk = Conversation(panel)
    net.model.fails = True
    for what, content in (("maps", {"layer": "then"}), ("scores", {}), ("page", {"layer": "then", "channels": [0]})):
        (end, _) = talk.ask(what, **content)[-1]
        assert end["type"] == "error", what
        assert "the cable is out" in end["text"]
    assert talk.ask("filters", layer="conv")[-1][0]["type"] == "done"
    panel.close()


def test_what_is_not_finite_is_sent_as_text_that_every_host_can_write():
    """JSON has no NaN: Jupyter writes a text in its place, others null, or what no browser reads."""
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3)
    )
    with torch.no_grad():
        model[0].weight[1] = torch.nan
    panel = nl.Lens(nl.Network(model, (3, 12, 16), False), unit="0:1", picture=torch.rand(3, 12, 16))
    talk = Conversation(panel)
    asked = {"layer": "0", "channel": 1, "target": 0, "factor": 0, "channels": [0, 1]}
    for what in ("maps", "filters", "scores", "page", "negative", "contributions", "ablation", "later", "attribution"):
        for head, _ in talk.ask(what, **asked):
            json.dumps(head, allow_nan=False)
    (head, _), _ = talk.ask("scores")
    assert [value for _, value in head["scores"]] == ["NaN"] * 3
    (_, buffers), _ = talk.ask("filters", layer="0")
    levels = np.frombuffer(buffers[0], np.uint8).reshape(4, -1)
    assert (levels[1] == 128).all(), "NaN is drawn as zero"
    assert levels[0].max() == 255 or levels[0].min() == 1
    panel.close()


def test_an_unknown_question_is_named(lens, talk):
    talk.tell({"type": "want", "what": "moon", "id": 5})
    assert "'moon'" in talk.sent[-1][0]["text"]
    assert (talk.sent[-1][0]["id"], talk.sent[-1][0]["what"]) == (5, "moon")
    talk.tell({"type": "want", "what": "maps", "id": 6, "layer": "3", "picture": lens._picture["key"]})
    assert "maps without count, start; reload the page" in talk.until_end(6)[-1][0]["text"]
    assert "no layer" in talk.ask("maps", layer="7x")[-1][0]["text"]


def test_maps_of_a_picture_that_was_replaced_are_not_sent(lens, talk):
    old = lens._picture["key"]
    lens.picture = PICTURE.copy()
    assert talk.ask("maps", layer="3", picture=old)[-1][0]["type"] == "cancelled"


def test_changed_weights_are_noticed(lens):
    before = lens._weights
    lens._weights_may_have_moved()
    assert lens._weights == before
    with torch.no_grad():
        lens.session.net.model[0].weight.add_(1)
    lens._weights_may_have_moved()
    assert lens._weights != before


def test_views_stand_alone_and_share_a_session():
    session = nl.Session(small())
    views = [
        nl.FiltersView(session),
        nl.MaximizationView(session, unit="3:1"),
        nl.ActivationsView(session, picture=PICTURE),
    ]
    assert str(views[1].unit) == "3:1"
    for view in views:
        assert Conversation(view).ask("filters", layer="0")[-1][0]["type"] == "done"
    (worker,) = (t for t in threading.enumerate() if t.name == f"nn-lens {session.net.name}")
    for view in views[:2]:
        view.close()
    assert worker.is_alive()
    views[2].close()
    assert not worker.is_alive()


def test_closing_frees_everything():
    threads, widgets = threading.active_count(), len(ipywidgets.Widget.widgets)
    net = small()
    for _ in range(3):
        panel = nl.Lens(net, picture=PICTURE)
        talk = Conversation(panel)
        talk.want("page", layer="3", channels=[0])
        panel.close()
        panel.close()
    assert threading.active_count() == threads
    assert len(ipywidgets.Widget.widgets) == widgets
    gone = weakref.ref(panel)
    del panel, talk
    gc.collect()
    assert gone() is None


def test_a_lens_takes_a_model_a_network_or_a_session(lens):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3))
    panel = nl.Lens(model)
    assert panel.session.net.model is model
    panel.close()
    with pytest.raises(nl.LensError, match="Module"):
        nl.Lens(42)
    with pytest.raises(nl.LensError, match="no 'input_shape'"):
        nl.Lens(model, input_shape=(3, 20, 28))
    with pytest.raises(nl.LensError, match="channels 0 to 5"):
        nl.Lens(small(), unit="0:88")
    assert lens.code() == 'nl.Lens(net, unit="0:0")'
    assert repr(lens) == "<Lens of Sequential at 0:0>"
    net = small()
    net.samples = {"mine": PICTURE}
    with_sample = nl.Lens(net, unit="3:1@0,2")
    with_sample.view = "filters"
    assert with_sample.code() == 'nl.Lens(net, unit="3:1@0,2", picture=net.samples["mine"], view="filters")'
    again = eval(with_sample.code(), {"nl": nl, "net": net})
    assert (str(again.unit), again.picture, again.view) == ("3:1@0,2", PICTURE, "filters")
    again.close()
    with_sample.close()
    shipped = nl.Lens(small(), unit="3:1")
    assert shipped.code() == 'nl.Lens(net, unit="3:1")', "net.samples has none of the pictures that come with nn-lens"
    shipped.close()


class Folded(torch.nn.Module):
    """Answers by one module alone, whose output has more dimensions than a picture has places."""

    def __init__(self):
        super().__init__()
        self.fold = torch.nn.Unflatten(1, (2, 3, 5, 2))

    def forward(self, x):
        return self.fold(x.flatten(1)[:, :60]).flatten(1)[:, :4]


def test_a_network_with_nothing_to_show_says_why():
    with pytest.raises(
        nl.LensError, match=r"no layer that can be shown: fold \(Unflatten\): its output has 4 dimensions"
    ):
        nl.Lens(nl.Network(Folded(), (3, 20, 28)))


def test_networks_that_read_no_pictures():
    net = nl.Network(torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2)), (7,), False)
    panel = nl.Lens(net, picture=np.arange(7, dtype=np.float32))
    talk = Conversation(panel)
    assert talk.ask("maps", layer="0")[-1][0]["type"] == "done"
    assert talk.ask("filters", layer="0")[-1][0]["type"] == "done"
    (head, pictures), _ = talk.ask("page", layer="0", channels=[0, 1])[-2:]
    assert head["finished"]
    assert [Image.open(io.BytesIO(p)).size for p in pictures] == 2 * [(head["width"], head["height"])]
    panel.close()


def test_what_is_sent_goes_through_the_widgets_comm_until_it_is_closed(lens, monkeypatch):
    sent, over = [], threading.Event()

    def send(data=None, metadata=None, buffers=None):
        sent.append((data, buffers))
        if data.get("content", {}).get("type") in ("done", "cancelled"):
            over.set()

    monkeypatch.setattr(lens.comm, "send", send)
    question = {"type": "want", "what": "filters", "id": 1, "layer": "0", "start": 2, "count": 3}
    lens._handle_custom_msg(question, [])  # as ipywidgets calls it
    assert over.wait(20)
    own = [(d["content"], b) for d, b in sent if d["method"] == "custom"]
    assert [content["type"] for content, _ in own] == ["filters", "done"]
    assert own[0][0]["id"] == 1
    assert own[0][0]["weights"] == lens._weights
    levels = nl.filters(lens.session.net, "0").images()[2:5]
    shown = np.frombuffer(own[0][1][0], np.uint8).reshape(3, 3, 5, 5)
    np.testing.assert_array_equal(shown.transpose(0, 2, 3, 1), levels)
    count = len(own)
    conversation = lens._conversation
    lens.close()
    conversation.receive(question, [])
    conversation.refuse(nl.LensError("nobody hears it"))
    assert len([d for d, _ in sent if d["method"] == "custom"]) == count


def test_messages_of_a_question_are_told_by_their_kind(lens, talk):
    """A page that comes while something else is asked is a page; what the negative asks for is not."""
    (here, _), _ = talk.ask("here", layer="0", channels=[5, 1])
    assert (here["type"], here["layer"], here["channels"]) == ("page", "0", [5, 1])
    (negative, _), _ = talk.ask("negative", layer="0", channel=3)
    assert (negative["type"], negative["channels"]) == ("negative", [3])
    for what in ("maps", "filters"):
        assert talk.ask(what, layer="0")[0][0]["type"] == what


def test_a_closed_panel_lets_go_of_its_network():
    """A notebook keeps the panels that its cells gave."""
    net = small()
    panel = nl.Lens(nl.Session(net, cache=False), picture=PICTURE)
    Conversation(panel).ask("maps", layer="3")
    gone = weakref.ref(net)
    panel.close()
    del net
    gc.collect()
    assert gone() is None
    assert "closed" in repr(panel)


def test_only_documented_names_are_public():
    own = {name for name in dir(nl.Lens) if not name.startswith("_")}
    import anywidget

    assert own - set(dir(anywidget.AnyWidget)) == {
        "VIEWS", "code", "compared", "layer", "picture", "record", "save_png", "selected", "slice", "snapshot", "step", "to_html", "unit",
        "view",
    }  # fmt: skip


def test_pictures_to_choose_from_are_the_datasets_where_there_is_one():
    pictures = torch.rand(9, 3, 20, 28, generator=torch.Generator().manual_seed(0))
    lens = nl.Lens(small(), dataset=pictures)
    assert [sample["name"] for sample in lens._samples] == [f"picture {i}" for i in range(6)]
    np.testing.assert_allclose(np.asarray(lens.session.net.picture(lens.picture)), pictures[0].numpy(), atol=1 / 255)
    assert "net.samples" not in lens.code(), "the network itself has none"
    lens.close()
    plain = nl.Lens(small())
    assert "net.samples" not in plain.code()
    plain.close()
