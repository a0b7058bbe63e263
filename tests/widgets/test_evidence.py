"""Evidence in the panel, without a browser: what is sent is what the engine says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conversation import Conversation, image_of
from models import small
from PIL import Image
from torch.utils.data import TensorDataset

import nn_lens as nl
from nn_lens.engine.evidence.attribution.methods import METHODS
from nn_lens.engine.pictures import images
from nn_lens.sessions.evidence import nearest_codes
from nn_lens.widgets.overlay import laid_over, pooled

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))
COARSE = torch.rand(37, 3, 4, 5, generator=torch.Generator().manual_seed(0))  # a JPEG keeps smooth pictures as they are
X = torch.nn.functional.interpolate(COARSE, (20, 28), mode="bilinear", align_corners=True)
TARGETS = torch.arange(37) % 4


@pytest.fixture
def lens():
    panel = nl.Lens(small(), picture=PICTURE, dataset=TensorDataset(X, TARGETS))
    yield panel
    panel.close()


@pytest.fixture
def talk(lens):
    return Conversation(lens)


def test_examples_are_the_engines(lens, talk):
    *_, (head, buffers), (end, _) = talk.ask("examples", layer="3", channel=2)
    assert end["type"] == "done"
    assert head["finished"]
    assert (head["count"], head["total"], head["skipped"]) == (37, 37, 0)
    found = nl.dataset_examples(lens.session.net, "3", X, progress=False)
    expected = found.spectrum("3:2", 9)
    np.testing.assert_allclose(head["activations"], [e.activation for e in expected], rtol=1e-5)
    tiles = images.pad([e.patch for e in expected])
    assert head["tiles"] == len(tiles)
    shown = image_of(buffers[0]).astype(int)
    assert abs(shown - images.sheet(tiles, len(tiles))).mean() < 8, "a JPEG of the same patches"
    quantiles, counts, edges = (np.frombuffer(b, np.float32) for b in buffers[1:])
    np.testing.assert_allclose(quantiles, found.quantiles("3:2", np.linspace(0, 1, 101)), rtol=1e-5)
    assert counts.sum() == 37
    assert len(edges) == len(counts) + 1
    assert head["liveliness"]["value"] == pytest.approx(found.active("3:2"))


def test_another_unit_of_the_layer_goes_on_with_its_pass(lens, talk):
    talk.ask("examples", layer="3", channel=2)
    calls = []
    handle = lens.session.network().model.register_forward_pre_hook(lambda _m, inputs: calls.append(len(inputs[0])))
    messages = talk.ask("examples", layer="3", channel=4)
    handle.remove()
    assert [m[0]["type"] for m in messages] == ["examples", "done"]
    assert sum(calls) <= 9, "only the pictures in the middle are looked at again, to find their places"


def test_badges_come_one_by_one(lens, talk):
    messages = talk.ask("trust", layer="3", channel=2)
    lists = [head["badges"] for head, _ in messages if head["type"] == "trust"]
    assert messages[-1][0]["type"] == "done", messages[-1]
    assert [len(x) for x in lists] == list(range(len(lists)))
    assert {b["name"] for b in lists[-1]} >= {"liveliness", "percentile", "transfer", "agreement", "randomized"}
    assert all(b["text"] for b in lists[-1])
    agreement = next(b for b in lists[-1] if b["name"] == "agreement")
    assert agreement["value"] == pytest.approx(nl.restarts(lens.session.net, "3:2").agreement, abs=1e-4)


def test_attributions_are_the_engines(lens, talk):
    messages = talk.ask("attribution", target=0)
    heads = [head for head, _ in messages if head["type"] == "attribution"]
    assert len(heads) == len(METHODS)
    top = int(lens.session.net.scores(PICTURE).argmax())
    for (head, buffers), name in zip(messages, (h["method"].replace(" ", "_") for h in heads), strict=False):
        assert "reason" not in head, head
        expected = nl.attribute(lens.session.net, PICTURE, top, name, control=True)
        assert head["alt"] == expected.alt_text
        # By hand: the table's orange or blue over the grey picture, as opaque as the map is strong; nothing is pooled at 20x28.
        grey = 255 * expected.picture.mean(0)
        for i, values in enumerate((expected.map, expected.control)):
            shown = image_of(buffers[0])[:, i * 28 : (i + 1) * 28].astype(float)
            most = np.percentile(abs(values), 99)
            for y, x in ((0, 0), (7, 13), (19, 27), np.unravel_index(values.argmax(), values.shape)):
                opaque = min(1, abs(values[y, x]) / most) if most else 0
                ink = images.colour_table(images.DIVERGING)[218 if values[y, x] > 0 else 38]
                below = 247 + 0.45 * (grey[y, x] - 247)
                np.testing.assert_allclose(shown[y, x], below * (1 - opaque) + ink * opaque, atol=1)
    *_, (head, _), _ = talk.ask("attribution", target="3:2")
    assert head["target"].startswith("3:2")


def test_ablation_follows_the_slider(lens, talk):
    for scale in (0.0, 2.0):
        (first, _), (second, _), _ = talk.ask("ablation", layer="3", channel=2, factor=scale)
        expected = nl.ablate(lens.session.net, PICTURE, "3:2", scale)
        for row in first["rows"]:
            index = int(row["label"].removeprefix("class "))
            assert row["before"] == pytest.approx(expected.before[0, index], abs=1e-5)
            assert row["after"] == pytest.approx(expected.after[0, index], abs=1e-5)
            assert row["control"] == pytest.approx(expected.control.delta[0, index], abs=1e-5)
        assert "accuracy" not in first
        known = nl.ablate(lens.session.net, X, "3:2", scale, targets=TARGETS)
        assert second["accuracy"]["count"] == 37
        assert second["accuracy"]["change"] == pytest.approx(known.accuracy_change, abs=1e-6)


def test_what_feeds_a_unit_with_its_pictures(lens, talk):
    messages = [m for m in talk.ask("incoming", layer="3", channel=2) if m[0]["type"] == "incoming"]
    first, last = messages[0][0], messages[-1][0]
    expected = nl.incoming(lens.session.net, "3:2", 8)
    assert [(u["layer"], u["channel"]) for u in first["units"]] == [(u.layer, u.channel) for u in expected.units]
    np.testing.assert_allclose([u["weight"] for u in last["units"]], expected.weights, rtol=1e-5)
    assert not any(u["picture"] for u in first["units"])
    assert all(u["picture"] for u in last["units"])
    shown = image_of(messages[-1][1][0])
    pictures = [images.rgb(nl.maximize(lens.session.net, list(expected.units)).images)]
    tiles = images.pad(list(pictures[0]))
    assert abs(shown.astype(int) - images.sheet(tiles, len(tiles))).mean() < 8
    (end, _) = talk.ask("incoming", layer="0", channel=0)[-1]
    assert end["type"] == "error"
    assert "nl.filters" in end["text"]


def test_networks_without_pictures_say_so():
    net = nl.Network(torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)), (5,), False)
    panel = nl.Lens(net, unit="1:0")
    talk = Conversation(panel)
    (end, _) = talk.ask("examples", layer="1", channel=0)[-1]
    assert end["type"] == "error"
    assert "pass dataset=" in end["text"]
    panel.close()
    panel = nl.ExamplesView(net, unit="1:0", dataset=torch.rand(30, 5))
    head, _ = Conversation(panel).ask("examples", layer="1", channel=0)[-2]
    assert (head["tiles"], head["count"]) == (9, 30)
    panel.close()


def test_a_failing_dataset_is_named(lens):
    panel = nl.ExamplesView(small(), dataset=[b"no picture"] * 3)
    talk = Conversation(panel)
    for _ in range(2):
        (end, _) = talk.ask("examples", layer="3", channel=0)[-1]
        assert end["type"] == "error"
        assert "None of 3 pictures could be read" in end["text"]
    panel.close()


def test_a_unit_stands_beside_random_directions(lens, talk):
    *_, (head, buffers), (end, _) = talk.ask("directions", layer="3", channel=2)
    assert end["type"] == "done"
    assert head["count"] == 37
    assert [row["name"] for row in head["rows"]] == ["3:2", "random 1", "random 2", "random 3"]
    wanted = ["3:2", *nl.directions.random(lens.session.net, "3", 3)]
    found = nl.dataset_examples(lens.session.net, wanted, X, progress=False)
    for row, unit in zip(head["rows"], found.units, strict=True):
        top, values = found.top[unit], found.values(unit)
        np.testing.assert_allclose(row["activations"], [e.activation for e in top], rtol=1e-4)
        assert row["apart"] == pytest.approx((values.max() - values.mean()) / values.std(), rel=1e-3)
    patches = [e.patch for unit in found.units for e in found.top[unit]]
    shown = image_of(buffers[0]).astype(int)
    assert abs(shown - images.sheet(images.pad(patches), len(patches))).mean() < 8


def test_pictures_are_laid_out_first_quickly_then_well(lens, talk):
    *reading, first, second, (end, _) = talk.ask("embedding", layer="3")
    assert end["type"] == "done"
    counts = [head["read"] for head, _ in reading]
    assert counts[0] == 0
    assert counts[-1] == 37
    assert counts == sorted(set(counts)), "while pictures are read it says how many"
    assert {head["total"] for head, _ in reading} == {37}
    assert [first[0]["method"], second[0]["method"]] == ["pca", "tsne"]
    for (head, buffers), method in ((first, "pca"), (second, "tsne")):
        points = np.frombuffer(buffers[0], np.float32).reshape(-1, 2)
        expected = nl.embedding(lens.session.net, X, "3", method).points
        low, span = expected.min(0), np.ptp(expected, axis=0)
        np.testing.assert_allclose(points, (expected - low) / span, atol=1e-4)
        assert np.frombuffer(buffers[1], np.int32).tolist() == list(range(37))
        thumbnail = image_of(buffers[2])[: head["height"], : head["width"]].astype(int)
        assert abs(thumbnail - images.rgb(X[:1].numpy())[0]).mean() < 10


def test_a_picture_of_the_dataset_becomes_the_picture(lens, talk):
    talk.tell({"type": "dataset", "index": 5})
    np.testing.assert_allclose(np.asarray(lens.session.net.picture(lens.picture)), X[5].numpy(), atol=1 / 255)
    assert lens._picture["name"] == "picture 5"


def test_views_of_evidence():
    lens = nl.Lens(small(), picture=PICTURE)
    lens.view = "evidence"
    with pytest.raises(nl.LensError, match="There is no view 'moon'; there are all, evidence, picture"):
        lens.view = "moon"
    lens.close()
    single = nl.FiltersView(small())
    with pytest.raises(nl.LensError, match="There is no view 'evidence'"):
        single.view = "evidence"
    single.close()
    for made in (nl.ExamplesView, nl.AttributionView):
        view = made(small(), unit="3:1", picture=PICTURE)
        assert str(view.unit) == "3:1"
        assert view.code() == f'nl.{made.__name__}(net, unit="3:1")'
        view.close()


def test_evidence_is_pooled_to_what_the_eye_can_see():
    map_ = np.zeros((113, 60))
    map_[3, 4], map_[112, 59] = 9, -4  # 113 rows in blocks of 3 are 38 cells, the last of 2 rows
    cells = pooled(map_, 56)
    assert cells.shape == (38, 20)
    assert cells[1, 1] == pytest.approx(1)  # 9 over 9 pixels
    assert cells[37, 19] == pytest.approx(-4 / 6)
    assert np.count_nonzero(cells) == 2
    small = np.arange(20.0).reshape(4, 5)
    np.testing.assert_array_equal(pooled(small, 56), small)


def test_nothing_is_hidden_by_a_map_of_zeros():
    picture = np.random.default_rng(0).random((3, 6, 7)).astype(np.float32)
    shown = laid_over(np.zeros((6, 7)), picture)
    np.testing.assert_allclose(shown[..., 0], 247 + 0.45 * (255 * picture.mean(0) - 247), atol=1)


def test_it_is_said_what_was_counted():
    net = small()
    plain, own = nl.Lens(net), nl.Lens(net, dataset=TensorDataset(X, TARGETS))
    assert plain._network["crops"] == len(plain._samples) > 0
    assert own._network["crops"] == 0
    plain.close()
    own.close()


def test_nearest_pictures_are_those_with_the_most_alike_codes():
    codes = np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0.9, 0.2], [0, 0, 1]])
    near = nearest_codes(codes, 2)
    from sklearn.neighbors import NearestNeighbors

    centred = codes - codes.mean(0)
    expected = NearestNeighbors(metric="cosine").fit(centred).kneighbors(centred, 3, return_distance=False)[:, 1:]
    np.testing.assert_array_equal(near, expected)


def test_the_embedding_knows_classes_and_neighbours(lens, talk):
    *_, (head, buffers), _ = talk.ask("embedding", layer="3")
    near, classes = (np.frombuffer(b, np.int32) for b in buffers[3:])
    assert head["near"] == 8
    assert near.reshape(-1, 8).shape == (37, 8)
    np.testing.assert_array_equal(classes, TARGETS.numpy())
