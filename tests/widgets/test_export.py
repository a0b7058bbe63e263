"""What an exported page holds, and what cannot be exported."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from models import small
from PIL import Image
from torch.utils.data import TensorDataset

import nn_lens as nl
from nn_lens.engine.pictures import images
from nn_lens.sessions import evidence, prints
from nn_lens.widgets import export
from nn_lens.widgets.table import TABLE


def stored(text: str) -> dict:
    return json.loads(re.search(r'id="stored">(.*?)</script>', text, re.S)[1])


def test_the_page_holds_the_layers_that_were_named(tmp_path):
    lens = nl.Lens(small(), unit="3:2")
    lens.to_html(tmp_path / "page.html", layers=["0", "3"])
    text = (tmp_path / "page.html").read_text()
    data = stored(text)
    assert [d["name"] for d in data["traits"]["_network"]["layers"]] == ["0", "3"]
    asked = [(a["question"]["what"], a["question"].get("layer")) for a in data["answers"]]
    assert ("maps", "0") in asked
    assert ("page", "3") in asked
    assert not [a for a in data["answers"] if "error" in a and a["question"]["what"] in ("maps", "page", "filters")]
    lens.close()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The data of a page of two layers, with a locked place, and the panel that wrote it."""
    dataset = torch.rand(12, 3, 20, 28, generator=torch.Generator().manual_seed(0))
    net = small()
    lens = nl.Lens(
        nl.Session(net, dataset, cache=False), unit="3:2@1,3", compare=nl.Session(small(seed=1), cache=False)
    )
    path = tmp_path_factory.mktemp("export") / "page.html"
    lens.to_html(path, layers=["0", "3"])
    yield stored(path.read_text()), lens
    lens.close()


def answers(data, what):
    return [answer for answer in data["answers"] if answer["question"]["what"] == what]


def test_a_question_is_stored_under_its_fields_and_nothing_else(exported):
    data, lens = exported
    key = lens._picture["key"]
    for answer in data["answers"]:
        what, *names = sorted(answer["question"], key=lambda name: name != "what")
        assert set(names) == TABLE.kinds[answer["question"][what]].fields
    (attribution,) = answers(data, "attribution")
    assert attribution["question"] == {"what": "attribution", "picture": key, "target": 0}
    assert attribution["messages"][0]["head"]["method"] == "saliency"
    assert len(attribution["messages"]) > 1, "a message for each method"


def test_building_blocks_are_stored_with_the_images_they_are_drawn_with(exported):
    data, _ = exported
    found = answers(data, "blocks")
    assert [answer["question"]["layer"] for answer in found] == ["0", "3"]
    for answer in found:
        heads = [message["head"] for message in answer["messages"]]
        assert [head["type"] for head in heads] == ["blocks", "page", "blocks"]
        assert heads[1]["channels"] == heads[0]["units"]
        assert not answer["messages"][0]["buffers"][0], "the groups' images come with the last"
        assert answer["messages"][-1]["buffers"][0]


def test_of_pages_the_finished_are_stored_small(exported):
    data, _ = exported
    for what in ("page", "negative"):
        for answer in answers(data, what):
            (message,) = answer["messages"]
            assert message["head"]["finished"]
            assert base64.b64decode(message["buffers"][0])[:3] == b"\xff\xd8\xff", "a JPEG"


def test_the_arithmetic_of_a_locked_neuron_is_stored(exported, tmp_path):
    data, lens = exported
    (answer,) = answers(data, "arithmetic")
    asked = {"what": "arithmetic", "picture": lens._picture["key"], "layer": "3", "channel": 2, "row": 1, "column": 3}
    assert answer["question"] == asked
    maps = nl.activations(lens.session.net, lens.picture, "3").maps
    assert answer["messages"][0]["head"]["value"] == pytest.approx(maps[2, 1, 3], abs=1e-4)
    view = nl.FiltersView(lens.session, unit="3:2")
    view.to_html(tmp_path / "page.html")
    view.close()
    assert not answers(stored((tmp_path / "page.html").read_text()), "arithmetic")


def test_the_traits_say_how_to_make_the_panel_again(exported):
    """The page writes the code itself: of a sample picture by its name, compared with another network."""
    data, lens = exported
    traits = data["traits"]
    assert [sample["name"] for sample in traits["_samples"]] == list(lens._pictures.samples)
    assert traits["_picture"]["name"] in lens._pictures.samples
    assert traits["_compared"]
    assert (traits["_kind"], traits["view"]) == ("Lens", "")
    assert traits["_selection"] == {"layer": "3", "channel": 2, "row": 1, "column": 3}
    assert not data["compared"]["traits"]["_compared"]


def test_the_compared_network_answers_for_its_own_layers(exported):
    data, _ = exported
    ours, theirs = (answers(part, "maps")[0]["messages"][0] for part in (data, data["compared"]))
    assert ours["buffers"][0] != theirs["buffers"][0]
    assert data["compared"]["traits"]["_counterparts"]["3"] == "3"


def test_a_unit_of_another_layer_is_not_selected(tmp_path):
    lens = nl.Lens(nl.Session(small(), cache=False), unit="3:2")
    lens.view = "filters"
    lens.to_html(tmp_path / "page.html", layers=["0"])
    data = stored((tmp_path / "page.html").read_text())
    assert data["traits"]["_selection"] == {"layer": "0", "channel": 0, "row": None, "column": None}
    assert answers(data, "negative")[0]["question"] == {"what": "negative", "layer": "0", "channel": 0}
    lens.close()


def test_the_browsers_own_questions_go_on(tmp_path):
    lens = nl.Lens(small(), unit="3:2")
    assert [head["type"] for head, _ in lens._conversation.answers("filters", layer="3", start=0, count=8)] == [
        "filters"
    ]
    with pytest.raises(nl.LensError, match="has no filters"):
        list(lens._conversation.answers("filters", layer="2", start=0, count=6))
    assert not lens._conversation._recorded
    lens.close()


def test_what_cannot_be_written_is_named(tmp_path):
    lens = nl.Lens(small(), unit="3:2")
    with pytest.raises(nl.LensError, match="cannot be written: there is no folder"):
        lens.to_html(tmp_path / "no" / "page.html")
    with pytest.raises(nl.LensError, match="There is no layer 'moon'"):
        lens.to_html(tmp_path / "page.html", layers=["moon"])
    with pytest.raises(nl.LensError, match="at least one layer"):
        lens.to_html(tmp_path / "page.html", layers=[])
    lens.close()


def coloured_share(image):
    """The share of pixels that are no grey: titles, frames and empty axes have none."""
    values = np.asarray(image.convert("RGB")).astype(int)
    return (np.ptp(values, axis=2) > 24).mean()


PRINTED = (
    "filters", "maximization", "unit", "activations", "arithmetic", "blocks", "examples", "directions", "attribution",
    "ablation", "incoming", "embedding", "contributions", "mistakes",
)  # fmt: skip


X = torch.rand(12, 3, 20, 28, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def printing():
    lens = nl.Lens(
        nl.Session(small(), TensorDataset(X, torch.arange(12) % 4), cache=False),
        unit="3:2@1,1",
        picture=np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8),
    )
    yield lens
    lens.close()


@pytest.mark.parametrize("view", PRINTED)
def test_views_are_printed(view, tmp_path, printing):
    printing.save_png(tmp_path / "view.png", view, dpi=120)
    image = Image.open(tmp_path / "view.png")
    assert image.info["dpi"][0] == pytest.approx(120, abs=0.1)
    assert np.asarray(image.convert("L")).std() > 3
    assert coloured_share(image) > 0.001, "more than axes with a title"


def test_every_view_with_a_figure_is_tried_above():
    assert set(PRINTED) == prints.FIGURES.keys()


def test_a_tab_is_printed_with_all_that_it_shows(tmp_path, printing):
    printing.save_png(tmp_path / "evidence.png", "evidence", dpi=60)
    parts = []
    for view in (
        "unit",
        "examples",
        "attribution",
        "contributions",
        "ablation",
        "incoming",
        "directions",
        "embedding",
        "mistakes",
    ):
        printing.save_png(tmp_path / f"{view}.png", view, dpi=60)
        parts.append(np.asarray(Image.open(tmp_path / f"{view}.png")))
    whole = np.asarray(Image.open(tmp_path / "evidence.png"))
    head = round(prints.HEAD * 60)
    assert len(whole) == head + sum(len(part) - head for part in parts)
    embedding = parts[-1][head:]
    np.testing.assert_array_equal(whole[-len(embedding) :, : embedding.shape[1]], embedding)
    printing.view = "evidence"
    printing.save_png(tmp_path / "shown.png", dpi=60)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "shown.png")), whole)
    printing.view = ""


def test_the_printed_embedding_is_of_the_pictures_that_the_panel_shows(printing, monkeypatch):
    monkeypatch.setattr(evidence, "_EMBEDDED", 5)
    figure = printing.session.run(lambda s: iter([prints.FIGURES["embedding"](s, nl.Unit("3", 2), None)]))[0]
    _, buffers = list(printing._conversation.answers("embedding", layer="3"))[-1]
    assert np.frombuffer(buffers[1], np.int32).tolist() == [0, 3, 6, 8, 11], "evenly out of twelve"
    points = figure.axes[0].collections[0].get_offsets()
    low, span = points.min(0), np.ptp(points, axis=0)
    shown = np.frombuffer(buffers[0], np.float32).reshape(-1, 2)
    np.testing.assert_allclose((points - low) / span, shown, atol=1e-5)


def test_single_views_print_themselves(tmp_path, demo):
    for made, view in ((nl.FiltersView, "filters"), (nl.ActivationsView, "activations")):
        panel = made(demo, unit="conv1:3", picture=demo.samples["cat"])
        panel.save_png(tmp_path / "shown.png", dpi=40)
        panel.save_png(tmp_path / "named.png", view, dpi=40)
        panel.close()
        shown, named = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("shown", "named"))
        np.testing.assert_array_equal(shown, named)


def test_all_of_a_panel_is_printed_and_what_is_not_says_why(tmp_path, demo):
    lens = nl.Lens(demo, unit="conv1:3", picture=demo.samples["cat"])
    lens.save_png(tmp_path / "all.png", dpi=80)
    lens.save_png(tmp_path / "maps.png", "activations", dpi=80)
    whole, part = Image.open(tmp_path / "all.png"), Image.open(tmp_path / "maps.png")
    assert whole.height > 2 * part.height
    with pytest.raises(nl.LensError, match="'kernel' has no figure"):
        lens.save_png(tmp_path / "x.png", "kernel")
    with pytest.raises(nl.LensError, match="'moon' has no figure; there are unit, filters"):
        lens.save_png(tmp_path / "x.png", "moon")
    with pytest.raises(nl.LensError, match="cannot be written"):
        lens.save_png(tmp_path / "no" / "x.png", "filters")
    lens.close()
    view = nl.FiltersView(demo, unit="conv1:3")
    view.save_png(tmp_path / "filters.png", dpi=80)
    view.close()


def test_a_print_says_what_it_is_of_and_has_all_maps(tmp_path, demo):
    lens = nl.Lens(demo, unit="relu2:3", picture=demo.samples["cat"])  # 96 maps
    lens.save_png(tmp_path / "maps.png", "activations", dpi=50)
    image = np.asarray(Image.open(tmp_path / "maps.png").convert("RGB")).astype(int)
    head = image[: round(prints.HEAD * 50)]
    assert np.ptp(head[:, :40], axis=2).max() > 40, "the picture, in its colours"
    assert (head[:, 60:300].min(2) < 100).sum() > 50, "words"
    maps = image[len(head) :]
    columns = np.flatnonzero((np.ptp(maps, axis=2) > 24).any(0))
    assert (np.ptp(maps, axis=2) > 24).any(1)[-len(maps) // 8 :].any(), "down to the last row"
    assert len(columns) > 200
    figure = lens.session.run(lambda s: iter([prints.FIGURES["activations"](s, lens.unit, lens.picture)]))[0]
    assert sum(bool(axes.images) for axes in figure.axes) == 96
    lens.close()


def test_a_page_says_what_it_holds(tmp_path):
    lens = nl.Lens(small(), unit="3:2")
    lens.to_html(tmp_path / "page.html", layers=["0", "3"])
    text = (tmp_path / "page.html").read_text()
    said = re.search(r"<header><h1>(.*?)</h1><p>(.*?)</p>", text, re.S)
    assert said[1].startswith("nn-lens: ")
    assert "2 layers, 0, 3, all units of each, and the evidence of 3:2." in re.sub(r" for the picture \w+", "", said[2])
    lens.close()


def test_images_and_the_real_pictures_that_lead_further_are_both_made_smaller():
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    pictures = [images.encode(picture, lossless=True) for picture in (noise, noise[:, :32])]
    smaller = export._smaller({"type": "page"}, pictures)
    assert [Image.open(io.BytesIO(picture)).size for picture in smaller] == [(64, 48), (32, 48)]
    assert all(len(small) < len(picture) for small, picture in zip(smaller, pictures, strict=True))
    assert export._smaller({"type": "maps"}, pictures) == pictures
