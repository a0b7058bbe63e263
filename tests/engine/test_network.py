"""Layer tables, input specifications, layouts, and leaving no trace."""

from __future__ import annotations

import contextlib
import gc
import weakref

import numpy as np
import pytest
import torch
from models import Failing, Functional, same, small, squeezenet, state, torchvision_network
from PIL import Image
from torch import nn

import nn_lens as nl

SAMPLE = np.random.default_rng(0).random((40, 50, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1", "resnet18", "vgg11"])
def test_layer_table_of_torchvision(name):
    net = torchvision_network(name)
    assert net.input_shape == (3, 224, 224)
    modules = dict(net.model.named_modules())
    names = [layer.name for layer in net.layers]
    assert len(set(names)) == len(names)
    leaves = {n for n, m in modules.items() if n and not list(m.children())}
    assert leaves <= set(names), "every module without children is listed"
    shapes = {}

    def note(name):
        return lambda _module, _inputs, output: shapes.setdefault(name, tuple(output.shape[1:])) and None

    handles = [m.register_forward_hook(note(n)) for n, m in modules.items() if n]
    net.model.eval()(torch.zeros(1, 3, 224, 224))
    for handle in handles:
        handle.remove()
    assert {layer.name: layer.output_shape for layer in net.layers} == {n: shapes[n] for n in names}
    assert all(layer.channels == shapes[layer.name][0] for layer in net.layers)
    assert all(layer.reason is None for layer in net.layers)


def test_layers_come_in_the_order_of_the_forward_pass():
    names = [layer.name for layer in torchvision_network("resnet18").layers]
    assert names[:4] == ["conv1", "bn1", "relu", "maxpool"]
    assert (
        names.index("layer1.0.conv2") < names.index("layer1.0") < names.index("layer1.1.conv1") < names.index("layer1")
    )


def test_unknown_layer_names_the_nearest():
    with pytest.raises(nl.LensError, match=r"features\.3"):
        torchvision_network("squeezenet1_1")["feature.3"]
    net = nl.Network(Attention(), (3, 16, 16))
    with pytest.raises(nl.LensError, match="not called as a module"):
        net["unused"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0:6", "channels 0 to 5"),
        ("0:1@9,0", "9 rows and 13 columns"),
        ("nothing", "is no unit"),
        ("zero:1", "no layer 'zero'"),
    ],
)
def test_units_outside_are_named(text, says):
    with pytest.raises(nl.LensError, match=says):
        small().unit(text)


SLIPS = {
    "bare model": (lambda net: nl.receptive_field(net.model, "0"), "wrap it once"),
    "no layer": (lambda net: nl.activations(net, SAMPLE, ""), "no layer ''"),
    "no goal": (lambda net: nl.maximize(net, None), "A goal is"),
    "half a step": (lambda net: nl.maximize(net, "0:1", steps=1.5), "whole number"),
    "a side": (lambda net: nl.Network(net.model, 28), "channels, height, width"),
    "channels last": (lambda net: nl.Network(net.model, (20, 28, 3)), "channels, height, width"),
    "a folder": (lambda net: net.picture("."), "is a folder"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_slips_are_named(name):
    slip, says = SLIPS[name]
    with pytest.raises(nl.LensError, match=says):
        slip(small())


def test_input_shape_is_tried_from_the_first_layer():
    assert nl.Network(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 26 * 26, 3))).input_shape == (
        1,
        28,
        28,
    )
    assert nl.Network(nn.Sequential(nn.Linear(7, 3))).input_shape == (7,)
    with pytest.raises(nl.LensError, match=r"\(3, 224, 224\).*\(3, 28, 28\)"):
        nl.Network(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(12, 3)))
    with pytest.raises(nl.LensError, match="Module"):
        nl.Network("resnet18")


class Attention(nn.Module):
    """Tokens with a class token, channels-last maps, a layer that is never called and one that answers with a tuple."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 12, 4, 4)
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
        self.norm = nn.LayerNorm(12)
        self.last = nn.LayerNorm(12)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        x = self.embed(x)
        maps = self.last(x.permute(0, 2, 3, 1))
        tokens = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
        tokens = self.norm(tokens + self.attention(tokens, tokens, tokens)[0])
        return tokens[:, 0] + maps.mean((1, 2))


def test_tokens_and_channels_last_become_maps():
    net = nl.Network(Attention(), (3, 16, 24), False)
    assert net["norm"].channels == 12
    assert "attention" not in [layer.name for layer in net.layers]
    x = torch.rand(3, 16, 24)
    with torch.no_grad():
        model = net.model.eval()
        embedded = model.embed(x[None])
        tokens = embedded.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
        tokens = model.norm(tokens + model.attention(tokens, tokens, tokens)[0])
        expected = tokens[0, 1:].T.reshape(12, 4, 6)
        last = model.last(embedded.permute(0, 2, 3, 1))[0].permute(2, 0, 1)
    np.testing.assert_allclose(nl.activations(net, x, "norm").maps, expected, atol=1e-6)
    np.testing.assert_allclose(nl.activations(net, x, "last").maps, last, atol=1e-6)


def test_a_layer_without_a_known_layout_says_why():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3)
            self.fold = nn.Flatten(0)

        def forward(self, x):
            return self.fold(self.conv(x)).reshape(x.shape[0], -1)

    net = nl.Network(Odd(), (3, 8, 8))
    assert net["conv"].reason is None
    assert "per picture" in net["fold"].reason
    with pytest.raises(nl.LensError, match="cannot be shown"):
        nl.activations(net, SAMPLE, "fold")


CALLS = {
    "activations": lambda net: nl.activations(net, SAMPLE, net.layers[-1].name),
    "filters": lambda net: nl.filters(net, net.layers[0].name),
    "scores": lambda net: net.scores(SAMPLE),
    "receptive_field": lambda net: nl.receptive_field(net, net.layers[1].name),
    "maximize": lambda net: nl.maximize(net, f"{net.layers[1].name}:1", steps=2),
    "maximize_steps": lambda net: next(nl.maximize_steps(net, f"{net.layers[1].name}:1", steps=2)),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_calls_leave_no_trace(call, training):
    net = small()
    net.model.train(training)
    net.model[0].weight.requires_grad_(False)
    net.model[3].weight.grad = torch.ones_like(net.model[3].weight)
    before = state(net.model)
    CALLS[call](net)
    assert same(before, state(net.model))
    assert torch.equal(net.model[3].weight.grad, torch.ones_like(net.model[3].weight))


@pytest.mark.parametrize("call", ["activations", "scores", "maximize", "maximize_steps"])
@pytest.mark.parametrize("error", [RuntimeError("the cable is out"), KeyboardInterrupt()], ids=["fails", "interrupted"])
def test_failures_leave_no_trace(call, error):
    net = nl.Network(Failing(), (3, 12, 12), False)
    net.model.train()

    def forward(x):
        net.model.conv(x)
        raise error

    before = state(net.model)
    net.model.forward = forward
    goal = CALLS[call] if call != "activations" else lambda n: nl.activations(n, SAMPLE, "then")
    with pytest.raises(nl.LensError if isinstance(error, RuntimeError) else KeyboardInterrupt) as raised:
        goal(net)
    assert not isinstance(error, RuntimeError) or "the cable is out" in str(raised.value)
    assert same(before, state(net.model))


def test_a_closed_iterator_leaves_no_trace():
    net = nl.Network(Functional(), (3, 16, 16), False)
    before = state(net.model)
    steps = nl.maximize_steps(net, "c:1")
    for _, step in zip(range(3), steps, strict=False):
        assert step.images.shape[1] == 3
    steps.close()
    assert same(before, state(net.model))
    with contextlib.suppress(nl.LensError):
        net.scores(SAMPLE)


def test_half_precision_and_inference_tensors():
    net = nl.Network(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).bfloat16(),
        (3, 16, 16),
        False,
    )
    found = nl.activations(net, SAMPLE, "0").maps
    assert found.dtype == np.float32
    assert found.shape == (4, 14, 14)
    with torch.inference_mode():
        assert nl.maximize(net, "0:1", steps=2).images.shape[0] == 1


def test_a_model_may_be_moved_later():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    net, picture = nl.Network(model, (3, 12, 12)), np.random.default_rng(0).random((12, 12, 3)).astype(np.float32)
    before = nl.activations(net, picture, "2").maps
    model.double()
    assert np.allclose(nl.activations(net, picture, "2").maps, before, atol=1e-5)
    assert nl.maximize(net, "2:1", steps=2).images.shape[0] == 1
    model.to("meta")
    assert net.device == torch.device("meta")


def test_normalization_is_found_and_said():
    assert "ImageNet" in repr(torchvision_network("resnet18"))
    assert "no normalization" in repr(small())
    net = nl.Network(small().model, (3, 20, 28), ((0.5,), (0.25,)))
    x = torch.rand(3, 20, 28)
    direct = small().model.eval()((x[None] - 0.5) / 0.25)[0].detach().numpy()
    np.testing.assert_allclose(net.scores(x), direct, atol=1e-5)
    with pytest.raises(nl.LensError, match="3 channels"):
        nl.Network(small().model, (3, 20, 28), ((0.5, 0.5), (1, 1)))
    with pytest.raises(nl.LensError, match="label"):
        nl.Network(small().model, (3, 20, 28), labels=["one"])


def test_squeezenet_knows_the_cat(material):
    net = squeezenet(material)
    with Image.open(material / "images" / "chelsea.png") as picture:
        small = picture.convert("RGB").resize((385, 256), Image.Resampling.BILINEAR)
    crop = np.asarray(small.crop((80, 16, 304, 240)), np.float32) / 255
    (label, probability), *_ = net.predict(torch.from_numpy(crop).permute(2, 0, 1))
    assert label == "class 285"
    assert probability == pytest.approx(0.686, abs=0.002)
    assert net.predict(material / "images" / "chelsea.png", k=1)[0][0] == "class 285"


def test_a_model_that_writes_on_its_input_leaves_the_callers_alone():
    net = nl.Network(nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 3)), (1, 3, 4), False)
    picture = np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 3, 4)

    class Negative(nn.Module):
        def forward(self, x):
            return x.sub_(5).flatten(1)

    for model in (net.model, Negative()):
        net = nl.Network(model, (1, 3, 4), False)
        before = picture.copy()
        net.scores(picture)
        np.testing.assert_array_equal(picture, before)


def test_a_network_that_nobody_holds_goes_at_once():
    net = small()
    field = net["0"].receptive_field
    gone = weakref.ref(net), weakref.ref(net.model)
    gc.collect()
    gc.disable()
    try:
        del net
        assert [g() for g in gone] == [None, None]
    finally:
        gc.enable()
    assert small()["0"].receptive_field == field, "a layer holds its network"


def test_a_copy_measures_on_its_own_model(monkeypatch):
    net = small()
    known = net["0"].receptive_field
    copy = net.frozen_copy()
    assert copy["0"].receptive_field is known, "what is known is not measured again"
    calls = []
    net.model.register_forward_pre_hook(lambda *_: calls.append("original"))
    copy.model.register_forward_pre_hook(lambda *_: calls.append("copy"))
    assert copy["3"].receptive_field == small()["3"].receptive_field
    assert set(calls) == {"copy"}


def test_a_field_is_measured_once():
    net = small()
    field = nl.receptive_field(net, "3")
    calls = []
    net.model.register_forward_pre_hook(lambda *_: calls.append(1))
    assert nl.receptive_field(net, "3") is field
    assert net["3"].receptive_field is field
    assert not calls


def test_units_and_directions_are_read_alike():
    net = small()
    three = nl.Direction("3", [1.0] * 8)
    assert net.units("3:1") == (nl.Unit("3", 1),)
    assert net.units(["3:1", nl.Unit("0", 5), "3:1"]) == (nl.Unit("3", 1), nl.Unit("0", 5), nl.Unit("3", 1))
    assert net.units_and_directions([three, "3:7@0,1"]) == (three, nl.Unit("3", 7, 0, 1))
    assert net.units_and_directions("0", layers=True) == tuple(nl.Unit("0", c) for c in range(6))
    for read in (net.units, net.units_and_directions):
        with pytest.raises(nl.LensError, match="list of units is empty"):
            read([])
        with pytest.raises(nl.LensError, match="channels 0 to 5"):
            read(["3:1", "0:6"])
        with pytest.raises(nl.LensError, match="None is no unit"):
            read(None)
    with pytest.raises(nl.LensError, match="8 channels, the direction 2 numbers"):
        net.units_and_directions(nl.Direction("3", [1, 2]))
    with pytest.raises(nl.LensError, match="no layer '9'"):
        net.units_and_directions("9", layers=True)


def test_a_unit_as_a_direction():
    assert nl.Direction.of(nl.Unit("3", 2), 4) == nl.Direction("3", [0, 0, 1, 0])
    with pytest.raises(nl.LensError, match="not all of them 0"):
        nl.Direction.of(nl.Unit("3", 4), 4)


def test_classes_by_index_and_label():
    net = nl.Network(small().model, (3, 20, 28), False, ["cat", "dog", "eel", "elk"])
    assert [net.class_index(c) for c in (2, np.int64(1), torch.tensor(3), "elk")] == [2, 1, 3, 3]
    for wrong, says in (
        ("cats", "There is no class 'cats'; did you mean cat"),
        (4, "classes 0 to 3, not 4"),
        (-1, "classes 0 to 3, not -1"),
        (1.5, "an index or a label, got 1.5"),
    ):
        with pytest.raises(nl.LensError, match=says):
            net.class_index(wrong)
    with pytest.raises(nl.LensError, match=r"'cat'; pass its index, or one of `network\.labels`"):
        small().class_index("cat")
    with pytest.raises(nl.LensError, match="not with one score per class"):
        nl.Network(
            nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(2), nn.Unflatten(2, (3, 3, 4))), (3, 8, 8), False
        ).class_index(0)


def test_batches_keep_the_largest_layer_modest():
    assert nl.Network(nn.Sequential(nn.Linear(7, 3)), (7,)).batch_size() == 256
    assert small().batch_size() == 32
    # 16 maps of 512x512 are 2^22 numbers: one picture at a time; of half the channels, two; of a third not three, an odd number.
    for channels, pictures in ((16, 1), (8, 2), (5, 2), (32, 1)):
        assert nl.Network(nn.Sequential(nn.Conv2d(1, channels, 1)), (1, 512, 512), False).batch_size() == pictures


def test_batches_keep_what_is_kept_of_all_layers_modest(monkeypatch):
    net = small()
    numbers = sum(int(np.prod(net[name].output_shape)) for name in ("0", "3"))
    monkeypatch.setattr("nn_lens.engine.network.batch_size._KEPT", 5 * numbers)
    assert (net.batch_size(["0", "3"]), net.batch_size()) == (4, 32)
    found = [step.count for step in nl.dataset_examples_steps(net, ["0", "3"], torch.rand(6, *net.input_shape))]
    assert found == [4, 6]


def test_a_layer_that_cannot_be_shown_says_so():
    net = nl.Network(nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(0), nn.Unflatten(0, (2, -1))), (3, 8, 8), False)
    assert net["1"].receptive_field is None
    net["0"].require_shown()
    with pytest.raises(nl.LensError, match=r"Layer '1' \(Flatten\) cannot be shown"):
        net["1"].require_shown()
