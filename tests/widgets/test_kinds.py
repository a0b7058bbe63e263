"""The same panel for every kind of input: places told as rows and columns, slices of volumes, answers that are no classes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from conversation import Conversation
from PIL import Image
from torch import nn

import nn_lens as nl
from nn_lens.widgets import messages
from nn_lens.widgets.geometry import Geometry


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps, self.answer = nn.LSTM(3, 6, batch_first=True), nn.Linear(6, 4)

    def forward(self, x):
        return self.answer(self.steps(x)[0][:, -1])


def signals() -> nl.Network:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(2, 5, 7, padding=3), nn.ReLU(), nn.Conv1d(5, 6, 3, stride=2), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        nn.Linear(6, 3),
    )  # fmt: skip
    return nl.Network(model, (2, 41))


def volumes() -> nl.Network:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv3d(1, 4, (2, 3, 5)), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3))
    return nl.Network(model, (1, 6, 10, 14))


def sequences() -> nl.Network:
    torch.manual_seed(0)
    return nl.Network(Recurrent(), (9, 3))


def vectors() -> nl.Network:
    torch.manual_seed(0)
    return nl.Network(nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 2)), (7,), output_kind="values")


KINDS = {"signal": (signals, "0:1@4"), "volume": (volumes, "0:1@2,4,5"), "sequence": (sequences, "steps:1@4"), "vector": (vectors, "0:1")}  # fmt: skip


def data(net: nl.Network, count: int = 12) -> list[tuple[torch.Tensor, int]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.rand(net.input_shape, generator=generator), i % 2) for i in range(count)]


@pytest.fixture
def opened():
    panels = []

    def open_(net, **options):
        panels.append(nl.Lens(net, **options))
        return panels[-1], Conversation(panels[-1])

    yield open_
    for panel in panels:
        panel.close()


# ---- places ----


@pytest.mark.parametrize(("kind", "shape", "rows_and_columns"), [
    ("picture", (3, 20, 28), [3, 20, 28]), ("signal", (2, 41), [2, 1, 41]), ("volume", (1, 6, 10, 14), [1, 10, 14]),
    ("sequence", (9, 3), [3, 1, 9]), ("vector", (7,), [1, 1, 7]),
])  # fmt: skip
def test_an_input_has_rows_and_columns(kind, shape, rows_and_columns):
    assert Geometry(kind, shape).input == rows_and_columns


@pytest.mark.parametrize(("text", "grid", "row", "column", "share"), [
    ("a:1", (41,), None, None, 0.5), ("a:1@4", (41,), 0, 4, 0.5), ("a:1@4,5", (9, 9), 4, 5, 0.5),
    ("a:1@2,4,5", (8, 9, 9), 4, 5, 2.5 / 8), ("a:1@7,4,5", (8, 9, 9), 4, 5, 7.5 / 8), ("a:1@0,0,0", (1, 9, 9), 0, 0, 0.5),
])  # fmt: skip
def test_a_place_is_told_as_row_and_column_and_comes_back(text, grid, row, column, share):
    unit = nl.Unit.parse(text)
    told = Geometry("volume", (1, 16, 20, 20)).selection(unit)
    assert told == {"layer": "a", "channel": 1, "row": row, "column": column}
    seen = Geometry("volume", (1, 16, 20, 20), Geometry("volume", (1, 16, 20, 20)).share_for(unit, grid))
    assert seen.share == share
    assert seen.unit("a", 1, row, column, grid) == unit


def test_what_is_seen_of_a_grid():
    values = np.arange(2 * 4 * 3 * 5).reshape(2, 4, 3, 5)
    geometry = Geometry("volume", (1, 8, 6, 10), 0.3)  # of 4 slices the second
    np.testing.assert_array_equal(geometry.cut(values, 3), values[:, 1])
    np.testing.assert_array_equal(geometry.cut(values[:, 0], 2), values[:, 0])
    np.testing.assert_array_equal(geometry.cut(values[:, 0, 0], 1), values[:, 0, 0][:, None])
    assert (geometry.grid((4, 3, 5)), geometry.grid((5,)), geometry.grid((1, 1))) == ([3, 5], [1, 5], [1, 1])


def test_filters_are_laid_out_in_rows_and_columns():
    volume, signal, picture = (Geometry(kind, shape) for kind, shape in (("volume", (1, 8, 6, 10)), ("signal", (2, 9)), ("picture", (3, 9, 9))))  # fmt: skip
    filters = np.arange(2 * 3 * 2 * 3 * 4).reshape(2, 3, 2, 3, 4)
    laid = volume.lay(filters, gap=-1)
    assert list(laid.shape[1:]) == volume.filter((3, 2, 3, 4)) == [3, 3, 9]
    np.testing.assert_array_equal(laid[..., :4], filters[:, :, 0])
    np.testing.assert_array_equal(laid[..., 5:], filters[:, :, 1])
    assert (laid[..., 4] == -1).all()
    row = np.arange(10).reshape(2, 5, 1)
    assert signal.lay(row, 0).shape == (2, 1, 1, 5)
    assert signal.filter((5, 1)) == [1, 1, 5]
    assert signal.filter((2, 7)) == [2, 1, 7]
    assert picture.filter((5, 1, 1)) == [5, 1, 1], "pictures keep a tile for each input"


# ---- panels ----


@pytest.mark.parametrize("kind", KINDS)
def test_every_view_has_an_answer_or_says_why(kind, opened):
    make, unit = KINDS[kind]
    net = make()
    panel, talk = opened(net, unit=unit, dataset=data(net))
    assert panel._network["kind"] == kind
    assert "kernel" not in panel._views
    assert str(panel.unit) == unit
    layer, channel = panel.layer, panel.unit.channel
    about = {"layer": layer, "channel": channel}
    questions = {
        "maps": {"layer": layer}, "scores": {}, "field": {"layer": layer}, "page": {"layer": layer, "channels": [0, 1]},
        "negative": about, "blocks": {"layer": layer}, "examples": about, "attribution": {"target": 0},
        "ablation": {**about, "factor": 0}, "directions": about, "embedding": {"layer": layer},
        "contributions": {"layer": layer, "target": 0}, "later": {**about, "factor": 0, "target": 0},
    }  # fmt: skip
    for what, fields in questions.items():
        *answers, (end, _) = talk.ask(what, **fields)
        assert end["type"] == "done", (what, end)
        assert answers, what
    (head, buffers), _ = talk.ask("maps", layer=layer)
    assert [head["height"], head["width"]] == next(d["grid"] for d in panel._network["layers"] if d["name"] == layer)
    assert len(buffers[0]) == head["count"] * head["height"] * head["width"]
    for what, fields in (
        ("filters", {"layer": layer}),
        ("arithmetic", panel._selection),
        ("incoming", about),
        ("mistakes", {}),
    ):
        (end, _) = talk.ask(what, **fields)[-1] if panel.unit.place or what != "arithmetic" else ({"type": "done"}, [])
        assert end["type"] == "done" or "Error:" not in end["text"], (what, end)
    assert [sample["name"] for sample in panel._samples][:2] == [f"{ {'vector': 'input'}.get(kind, kind) } {i}" for i in (0, 1)]  # fmt: skip
    assert "net.samples" not in panel.code()


def test_maps_of_a_signal_are_one_row(opened):
    net = signals()
    x = torch.randn(net.input_shape, generator=torch.Generator().manual_seed(3))
    _, talk = opened(net, picture=x)
    (head, buffers), _ = talk.ask("maps", layer="2")
    with torch.no_grad():
        expected = net.model[:3](x[None])[0].numpy()
    assert (head["height"], head["width"], head["colour"]) == (1, expected.shape[1], "diverging")
    low, high = np.frombuffer(buffers[1], np.float32).reshape(-1, 2).T
    shown = low[:, None] + np.frombuffer(buffers[0], np.uint8).reshape(expected.shape) * (high - low)[:, None] / 255
    np.testing.assert_allclose(shown, expected, atol=np.abs(expected).max() / 127)
    where = np.frombuffer(buffers[-1], np.float32).reshape(-1, 3)
    np.testing.assert_array_equal(where, [[0, 0, row.argmax()] for row in expected])


def test_the_slice_of_a_volume_follows_the_unit_and_the_unit_the_slice(opened):
    net = volumes()
    x = torch.rand(net.input_shape, generator=torch.Generator().manual_seed(3))
    panel, talk = opened(net, picture=x, unit="0:2")
    with torch.no_grad():
        expected = net.model[0](x[None])[0].numpy()
    assert expected.shape == (4, 5, 8, 10)
    keys = set()
    for share, at in ((0.0, 0), (0.5, 2), (1.0, 4)):
        panel.slice = share
        keys.add(panel._picture["key"])
        (_, buffers), _ = talk.ask("maps", layer="0")
        low, high = np.frombuffer(buffers[1], np.float32).reshape(-1, 2).T
        levels = np.frombuffer(buffers[0], np.uint8).reshape(4, 8, 10)
        shown = low[:, None, None] + levels * (high - low)[:, None, None] / 255
        np.testing.assert_allclose(shown, expected[:, at], atol=np.abs(expected).max() / 127)
    assert len(keys) == 3, "each slice is asked for anew"
    panel.unit = "0:2@1,3,4"
    assert panel.slice == 1.5 / 5
    panel.slice = 0.9
    assert str(panel.unit) == "0:2@4,3,4"
    panel._selection = {"layer": "0", "channel": 1, "row": 7, "column": 0}
    assert str(panel.unit) == "0:1@4,7,0"
    assert panel.code() == 'nl.Lens(net, unit="0:1@4,7,0")'


def test_another_slice_runs_nothing_again(opened, monkeypatch):
    net = volumes()
    panel, talk = opened(net, picture=torch.rand(net.input_shape), unit="0:2")
    questions = {"maps": {"layer": "0"}, "attribution": {"target": 0}, "blocks": {"layer": "0"}, "scores": {}}
    before = {what: talk.ask(what, **fields) for what, fields in questions.items()}
    monkeypatch.delattr(nl.Network, "outputs")  # it cannot be run any more
    panel.slice = 0.1
    for what, fields in questions.items():
        again = talk.ask(what, **fields)
        assert again[-1][0]["type"] == "done", (what, again[-1])
        assert len(again) == len(before[what])
    assert again[0][0]["scores"] == before["scores"][0][0]["scores"]
    assert talk.ask("ablation", layer="0", channel=2, factor=0)[-1][0]["type"] == "error", "never asked before"


def test_a_signal_is_uploaded_as_an_array_file(opened):
    net = signals()
    panel, talk = opened(net)
    assert panel.picture is None
    file = io.BytesIO()
    np.save(file, np.ones((2, 41), np.float32))
    talk.tell({"type": "upload", "upload": 1, "index": 0, "count": 1, "name": "ones.npy"}, file.getvalue())
    np.testing.assert_array_equal(panel.picture, np.ones((2, 41)))
    assert panel._picture["name"] == "ones.npy"
    assert Image.open(io.BytesIO(panel._picture["data"])).size == (960, 160)
    talk.tell({"type": "upload", "upload": 2, "index": 0, "count": 1, "name": "x.npy"}, b"nonsense")
    assert "signals (C,L) of (2, 41)" in talk.sent[-1][0]["text"]
    np.save(file := io.BytesIO(), np.array([print, None], dtype=object), allow_pickle=True)
    talk.tell({"type": "upload", "upload": 3, "index": 0, "count": 1, "name": "x.npy"}, file.getvalue())
    assert talk.sent[-1][0]["type"] == "error"


def test_values_are_no_shares(opened):
    net = vectors()
    x = torch.arange(7.0)
    _, talk = opened(net, picture=x)
    (head, _), _ = talk.ask("scores")
    with torch.no_grad():
        expected = net.model(x[None])[0].sort(descending=True).values
    assert not head["shares"]
    np.testing.assert_allclose([value for _, value in head["scores"]], expected, rtol=1e-5)


class Boxes(nn.Module):
    """Answers with what is not one number for each class."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return [{"boxes": one} for one in self.conv(x).flatten(2).transpose(1, 2)]


def test_an_answer_that_is_none_leaves_all_else(opened):
    panel, talk = opened(nl.Network(Boxes(), (3, 12, 16)), picture=torch.rand(3, 12, 16))
    assert panel._network["answer"] is None
    (end, _) = talk.ask("scores")[-1]
    assert end["type"] == "error"
    assert "not with one score per class" in end["text"]
    assert talk.ask("maps", layer="conv")[-1][0]["type"] == "done"
    answers = talk.ask("attribution", target="conv:1")
    assert any("reason" not in head for head, _ in answers[:-1])


def test_a_network_of_one_layer(opened):
    panel, talk = opened(nl.Network(nn.Conv2d(3, 4, 3), (3, 9, 11)))
    assert panel.layer == "Conv2d"
    assert [d["name"] for d in panel._network["layers"]] == ["Conv2d"]
    assert talk.ask("maps", layer="Conv2d")[-1][0]["type"] == "done"


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_and_a_picture_for_print(kind, tmp_path):
    make, unit = KINDS[kind]
    net = make()
    panel = nl.ActivationsView(net, unit=unit, picture=data(net)[0][0])
    panel.to_html(tmp_path / "a.html")
    assert '"key":"picture' in (tmp_path / "a.html").read_text()
    panel.save_png(tmp_path / "a.png", dpi=40)
    assert Image.open(tmp_path / "a.png").width > 50
    panel.close()


def test_two_networks_share_the_slice(opened):
    net = volumes()
    panel, _ = opened(net, picture=torch.rand(net.input_shape), compare=volumes())
    panel.slice = 0.2
    assert panel.compared.slice == 0.2
    panel.unit = "0:1@3,2,1"
    assert str(panel.compared.unit) == "0:1@3,2,1"


def test_a_number_of_the_model_that_a_cell_changes_is_seen(opened):
    class Gained(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gain = nn.Conv2d(3, 4, 3), 1.0
            self.after = nn.Identity()

        def forward(self, x):
            return self.after(self.conv(x) * self.gain).mean((2, 3))

    model = Gained()
    panel, talk = opened(nl.Network(model, (3, 9, 11)), picture=torch.rand(3, 9, 11))
    before = [np.frombuffer(buffers[2], np.float32) for _, buffers in talk.ask("maps", layer="after")[:-1]]
    weights = panel._weights
    model.gain = -1
    panel._weights_may_have_moved()
    assert panel._weights != weights
    after = [np.frombuffer(buffers[2], np.float32) for _, buffers in talk.ask("maps", layer="after")[:-1]]
    with torch.no_grad():
        expected = -model.conv(panel.session.net.picture(panel.picture)[None])[0]
    np.testing.assert_allclose(after[-1], expected.amax((1, 2)), rtol=1e-4, atol=1e-5)
    assert not np.allclose(before[-1], after[-1])
    model.after = nn.Tanh()
    *_, (_, buffers), _ = talk.ask("maps", layer="after")
    np.testing.assert_allclose(
        np.frombuffer(buffers[2], np.float32), expected.tanh().amax((1, 2)), rtol=1e-4, atol=1e-5
    )


def test_messages_of_evidence_are_drawn_by_kind():
    found = nl.attribute(signals(), torch.rand(2, 41), 1, "saliency")
    head, (sheet,) = messages.attribution(("saliency", found), Geometry("signal", (2, 41)))
    assert head["tiles"] == 1
    assert Image.open(io.BytesIO(sheet)).size == (360, 64)


def test_each_step_of_a_sequence_sees_those_before_it(opened):
    _, talk = opened(sequences())
    (head, _), _ = talk.ask("field", layer="steps")
    assert head["each"] == [None, [(0, i + 1) for i in range(9)]]
    (head, _), _ = talk.ask("field", layer="answer")
    assert (head["each"], head["size"], head["stride"]) == ([None, None], [1, 9], [0, 0])


class OwnTraining(nn.Module):
    """Has a train() of its own, which takes other arguments, as some models of the field do."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x).mean((2, 3))

    def train(self, loader, epochs):
        raise AssertionError("a training began")


@pytest.mark.parametrize(
    "make", [OwnTraining, lambda: torch.compile(nn.Sequential(nn.Conv2d(3, 4, 3)), backend="eager")]
)
def test_models_that_train_or_run_in_their_own_way(make, opened):
    model = make()
    net = nl.Network(model, (3, 12, 16), False)
    x = torch.rand(3, 12, 16, generator=torch.Generator().manual_seed(0))
    net.scores(x)
    layer = net.layers[0].name
    panel, talk = opened(net, picture=x, unit=f"{layer}:1")
    (head, buffers), (end, _) = talk.ask("maps", layer=layer)
    assert end["type"] == "done"
    conv = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    with torch.no_grad():
        expected = conv(net.picture(panel.picture)[None])[0]  # it holds 8 bits
    assert (head["height"], head["width"]) == expected.shape[1:]
    np.testing.assert_allclose(np.frombuffer(buffers[2], np.float32), expected.amax((1, 2)), rtol=1e-4, atol=1e-5)


def test_boxes_behind_an_upsampling_are_told_one_by_one(opened):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ConvTranspose2d(4, 2, 2, 2), nn.Conv2d(2, 3, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2),
    )  # fmt: skip
    _, talk = opened(nl.Network(model, (1, 12, 16)))
    (head, _), _ = talk.ask("field", layer="1")
    x = torch.rand(1, 1, 12, 16, requires_grad=True)
    rows = []
    for row in range(12):
        (gradient,) = torch.autograd.grad(model[:2](x)[0, :, row, 8].sum(), x)
        seen = gradient[0, 0].abs().sum(1).nonzero().flatten()
        rows.append((int(seen[0]), int(seen[-1]) + 1))
    assert head["each"][0] == rows
    (head, _), _ = talk.ask("field", layer="0")
    assert head["each"] == [None, None]
