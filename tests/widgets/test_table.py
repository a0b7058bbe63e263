"""The table of questions and views: complete on both sides, and what follows from it."""

from __future__ import annotations

import pytest
from conversation import Conversation
from models import small

import nn_lens as nl
from nn_lens.sessions.prints import FIGURES
from nn_lens.widgets.geometry import Geometry
from nn_lens.widgets.groups import grouped
from nn_lens.widgets.messages import MESSAGES
from nn_lens.widgets.messages import network as described
from nn_lens.widgets.questions import _ABOUT, _UNIT_BYTES, WORK, Look, fields, fields_of_layers
from nn_lens.widgets.strings import STRINGS
from nn_lens.widgets.table import FIELDS, TABLE, read


def look(unit="3:2", key="p", net=None):
    net = net or small()
    layers = {layer["name"]: layer for layer in described(net)["layers"]}
    unit = nl.Unit.parse(unit)
    return Look(unit, layers, Geometry.of(net), lambda: unit, None, key)


def test_every_kind_has_its_work_and_its_message_and_nothing_else_has():
    assert WORK.keys() == MESSAGES.keys() == TABLE.kinds.keys()


def test_every_word_is_known_and_every_name_leads_somewhere():
    assert _ABOUT.keys() == FIELDS.keys()
    for kind in TABLE.kinds.values():
        assert set(kind.about) <= FIELDS.keys(), kind
        assert ("part" in kind.about) == (kind.name in _UNIT_BYTES), kind
        assert kind.views, kind
        assert kind.views <= TABLE.views.keys(), kind
        assert kind.stored in ("", *TABLE.kinds), kind
        assert kind.replies in ("last", "all"), kind
        assert kind.when in ("at once", "at rest", "at a place", "at a locked place", "on demand"), kind
        assert kind.urgency in (0, 1, 2, 3), kind
    for view in TABLE.views.values():
        assert view.title
        assert set(view.tabs) <= TABLE.tabs.keys(), view
    assert {tab for view in TABLE.views.values() for tab in view.tabs} == TABLE.tabs.keys(), "no tab is empty"
    assert FIGURES.keys() <= TABLE.views.keys()
    assert tuple(TABLE.views) == nl.Lens.VIEWS


def test_a_misspelled_column_is_an_error():
    row = {"about": ["layer"], "when": "at once", "urgency": 0, "views": [], "urgent": 1}
    with pytest.raises(TypeError, match="urgent"):
        read({"page_units": 12, "part_bytes": 1, "kinds": {"field": row}, "tabs": {}, "views": {}})


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("maps", {"picture": "p", "layer": "3", "start": 0, "count": 8}),
        ("filters", {"layer": "3", "start": 0, "count": 8}),
        ("scores", {"picture": "p"}),
        ("page", {"layer": "3", "channels": [0, 1, 2, 3, 4, 5, 6, 7]}),
        ("negative", {"layer": "3", "channel": 2}),
        ("blocks", {"picture": "p", "layer": "3"}),
        ("attribution", {"picture": "p", "target": 0}),
        ("ablation", {"picture": "p", "layer": "3", "channel": 2, "factor": 0, "where": None}),
        ("here", None),
        ("arithmetic", None),
    ],
)
def test_fields_follow_from_what_is_looked_at(kind, expected):
    assert fields(TABLE.kinds[kind], look()) == expected


def test_fields_of_a_locked_place_and_without_a_picture():
    asked = {"picture": "p", "layer": "3", "channel": 2, "row": 1, "column": 3}
    assert fields(TABLE.kinds["arithmetic"], look("3:2@1,3")) == asked
    assert fields(TABLE.kinds["maps"], look(key=None)) is None


@pytest.mark.parametrize(
    ("channel", "channels", "unit_bytes", "part"),
    [
        (0, 8, 100, (0, 8)),
        (5, 8, 2 << 20, (4, 2)),  # two of 2 MiB in 4 MiB
        (7, 7 + 1, 3 << 20, (7, 1)),
        (6, 7, 2 << 20, (6, 1)),
        (3, 5, 5 << 20, (3, 1)),  # one is larger than a part
        (3, 5, 0, (0, 5)),
    ],
)
def test_parts_hold_four_megabytes(channel, channels, unit_bytes, part):
    assert TABLE.part(channel, channels, unit_bytes) == part


@pytest.mark.parametrize(
    ("channel", "page"), [(0, range(0, 12)), (11, range(0, 12)), (12, range(12, 24)), (25, range(24, 26))]
)
def test_pages_have_twelve_units(channel, page):
    assert TABLE.page(channel, 26) == list(page)


def test_all_that_can_be_asked_of_layers():
    net = nl.Network(nl.demo().model, (3, 64, 64), False)
    at = look("conv1:3", net=net)
    names = list(at.layers)[:2]
    pages = fields_of_layers(TABLE.kinds["page"], at, names)
    for name in names:
        channels = [c for asked in pages if asked["layer"] == name for c in asked["channels"]]
        assert channels == list(range(net[name].channels))
    assert fields_of_layers(TABLE.kinds["field"], at, names) == [{"layer": name} for name in names]
    assert fields_of_layers(TABLE.kinds["negative"], at, names) == [{"layer": "conv1", "channel": 3}]


@pytest.mark.parametrize(
    ("made", "view", "shown"),
    [
        (nl.Lens, "", "picture here arithmetic overview filters maximization activations unit"),
        (nl.Lens, "all", "picture here arithmetic overview filters maximization activations unit"),
        (
            nl.Lens,
            "evidence",
            "picture here arithmetic unit examples attribution contributions ablation incoming directions embedding mistakes",
        ),
        (nl.Lens, "blocks", "picture here arithmetic blocks"),
        (nl.Lens, "here", "picture here arithmetic"),
        (nl.Lens, "examples", "examples"),
        (nl.Lens, "kernel", "kernel"),
        (nl.FiltersView, "", "filters"),
        (nl.ExamplesView, "", "examples"),
        (nl.ExamplesView, "all", "examples"),
        (nl.ActivationsView, "", "picture activations"),
        (nl.AttributionView, "", "picture attribution ablation"),
    ],
)
def test_which_views_are_shown(made, view, shown):
    assert TABLE.shown(view, made.VIEWS) == shown.split()


def test_every_view_says_what_it_shows_and_how_that_was_made():
    assert STRINGS["about"].keys() == TABLE.views.keys()
    for name, (shows, made) in STRINGS["about"].items():
        assert shows.endswith("."), name
        assert made.endswith("."), name
    assert [key for key, _ in STRINGS["keys"]][-1] == "h"
    assert all(item.keys() == {"title", "code", "says"} for item in STRINGS["menu"])


@pytest.mark.parametrize(
    ("layers", "most", "groups"),
    [
        ("stem a.conv a.relu a b.deep.conv head", 4, {"stem": 1, "a": 3, "b": 1, "head": 1}),
        (
            "stem a.conv a.relu a b.deep.conv head",
            9,
            {"stem": 1, "a.conv": 1, "a.relu": 1, "a": 1, "b.deep.conv": 1, "head": 1},
        ),
        ("a b c d e", 2, {"c": 3, "e": 2}),
    ],
)
def test_the_map_of_a_network_has_at_most_so_many_stops(layers, most, groups):
    assert {name: len(own) for name, own in grouped(layers.split(), most)} == groups
    assert [layer for _, own in grouped(layers.split(), most) for layer in own] == layers.split()


def test_every_stop_is_the_layers_strongest_unit():
    lens = nl.Lens(small())
    (head, pictures), _ = Conversation(lens).ask("overview")
    for stop in head["stops"]:
        maps = nl.activations(lens.session.net, lens.picture, stop["layer"]).maps.reshape(-1)
        assert stop["value"] == pytest.approx(float(maps.max()), rel=1e-5)
    assert [stop["layer"] for stop in head["stops"]] == [g["layers"][-1] for g in lens._network["groups"]]
    assert [picture[:4] for picture in pictures] == [b"\x89PNG"] * len(head["stops"])
    lens.close()
