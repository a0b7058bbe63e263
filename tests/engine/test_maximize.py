"""Maximizing images: what they reach, that they repeat, and that dead units come to life."""

from __future__ import annotations

import gc
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from models import Functional, material_network, small, squeezenet, torchvision_network
from torch import nn

import nn_lens as nl
from nn_lens.engine.maximizing.defaults import transform_of
from nn_lens.engine.maximizing.maximize import Run
from nn_lens.engine.maximizing.plan import read_goal


def test_the_same_call_gives_the_same_bits():
    net = small()
    a, b = (nl.maximize(net, ["3:0", "3:5"], steps=12) for _ in range(2))
    np.testing.assert_array_equal(a.images, b.images)
    np.testing.assert_array_equal(a.activations, b.activations)
    np.testing.assert_array_equal(a.history, b.history)
    assert not np.array_equal(a.images, nl.maximize(net, ["3:0", "3:5"], steps=12, seed=1).images)


@pytest.mark.parametrize("layer", ["conv1", "relu2", "relu3", "classifier"])
def test_alone_or_in_a_batch(demo, layer):
    """At rest: what differs in the last bit at one step differs to the eye 100 steps later."""
    units = [f"{layer}:{c}" for c in (0, 12)]
    together = nl.maximize(demo, units)
    page = nl.maximize(demo, [f"{layer}:{c}" for c in (0, 3, 7, 12, 13)])
    for i, unit in enumerate(units):
        alone = nl.maximize(demo, unit)
        for other, row in ((together, i), (page, (0, 3)[i])):
            assert np.abs(alone.images[0] - other.images[row]).max() <= 1 / 255
            assert alone.activations[0] == pytest.approx(other.activations[row], rel=1e-3)


def test_alone_or_in_a_batch_of_squeezenet(material):
    net = squeezenet(material)
    page = nl.maximize(net, [f"features.9:{c}" for c in range(3)])
    alone = nl.maximize(net, "features.9:1")
    assert np.abs(alone.images[0] - page.images[1]).max() <= 1 / 255


def test_types_ranges_and_shapes(demo):
    steps = []
    found = nl.maximize(demo, ["relu2:1", "relu2:2"], steps=5, on_step=steps.append)
    field = nl.receptive_field(demo, "relu2")
    side = field.size[0] + 16
    assert found.images.shape == (2, 3, side, side)
    assert found.images.dtype == found.activations.dtype == np.float32
    assert 0 <= found.images.min() < found.images.max() <= 1
    assert found.history.shape == (5, 2)
    assert found.steps == 5
    assert len(found.notes) == 2
    assert [s.index for s in steps] == list(range(5))
    np.testing.assert_array_equal(np.stack([s.activations for s in steps]), found.history)
    assert nl.maximize(demo, "relu2:1", steps=2, size=(40, 50)).images.shape == (1, 3, 40, 50)
    assert nl.maximize(demo, "relu2:1@3,3", steps=2).images.shape == (1, 3, 64, 64)


def test_activations_are_the_layers_own_answer(demo):
    found = nl.maximize(demo, nl.objectives.neuron("block4:5@3,4"), steps=10)
    maps = nl.activations(demo, torch.from_numpy(found.images[0]), "block4").maps
    assert found.activations[0] == pytest.approx(maps[5, 3, 4], rel=1e-3)
    mean = nl.maximize(demo, nl.objectives.channel("block4:5"), steps=10)
    maps = nl.activations(demo, torch.from_numpy(mean.images[0]), "block4").maps
    assert mean.activations[0] == pytest.approx(maps[5].mean(), rel=1e-3)


def test_a_maximizing_image_beats_every_sample_picture(demo):
    units = [f"relu3:{c}" for c in range(0, 176, 16)]
    found = nl.maximize(demo, units)
    best = np.max([nl.activations(demo, p, "relu3").maps.max((1, 2)) for p in demo.samples.values()], 0)
    assert (found.activations > best[::16]).mean() > 0.9


def test_the_units_of_the_bundled_network_come_to_life(demo):
    """All of the first layers, every sixth of the deep ones, which take longest."""
    every = {"relu1": 1, "relu2": 1, "block2": 1, "relu3": 1, "relu4": 6, "block4": 6, "classifier": 1}
    for layer, step in every.items():
        units = [nl.Unit(layer, c) for c in range(0, demo[layer].channels, step)]
        usual = transform_of(demo, read_goal(demo, units[:1]))  # given, so that no unit is lifted that is on
        found = nl.maximize(demo, units, steps=16, transforms=usual)
        dead = [str(u) for u, a in zip(units, found.activations, strict=True) if a <= 0]
        assert not dead, f"dead after 16 steps: {dead}"


def dead_rectifier(model: nn.Module, bias: nn.Parameter) -> None:
    """Shifts a layer so that its rectifier is off on grey pictures."""
    with torch.no_grad():
        bias -= 0.3


@pytest.mark.parametrize("goal", ["relu", "pool", "flat"])
def test_dead_units_come_to_life_behind_pooling_too(goal):
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(3, 8, 5))
    model.add_module("relu", nn.ReLU(inplace=True))
    model.add_module("pool", nn.MaxPool2d(2))
    model.add_module("drop", nn.Dropout2d())
    model.add_module("flat", nn.Flatten())
    dead_rectifier(model, model.conv.bias)
    net = nl.Network(model, (3, 21, 21), False)
    channels = range(0, net[goal].channels, max(1, net[goal].channels // 6))
    units = [nl.Unit(goal, c) for c in channels]
    first = nl.maximize(net, units, steps=1)
    assert (first.history[0] <= 0).any(), "the test is about units that are off"
    assert (nl.maximize(net, units, steps=160).activations > 0).all()


def test_functional_and_inplace_rectifiers_come_to_life():
    torch.manual_seed(0)
    model = Functional()
    with torch.no_grad():
        model.c.weight *= 4
        model.c.bias -= 1
    net = nl.Network(model, (3, 16, 16), False)
    found = nl.maximize(net, [f"last:{c}" for c in range(7)], steps=120)
    assert (found.history[0] <= 0).any(), "the test is about units that are off"
    # The same units before their rectifier have a gradient everywhere: what they reach, the rectified must.
    free = nl.parametrizations.fourier(contrast=None)
    still = nl.transforms.jitter(0)
    before = nl.maximize(net, [f"c:{c}" for c in range(7)], steps=120, parametrization=free, transforms=still)
    reachable = before.activations > 0.05
    assert reachable.sum() >= 3
    assert (found.activations[reachable] > 0).all()


def test_a_unit_that_nothing_moves_is_noted():
    net = small()
    with torch.no_grad():
        net.model[3].weight[2] = 0
        net.model[3].bias[2] = -1
    found = nl.maximize(net, ["4:1", "4:2"], steps=6)
    assert found.activations[0] > 0
    assert found.notes[0] == ""
    assert found.activations[1] == 0
    assert "dead: no gradient in 6 steps from 3 starts" in found.notes[1]


@pytest.mark.parametrize(("channels", "side"), [(1, (28, 28)), (3, (20, 31)), (4, (17, 33))])
def test_other_channels_and_oblong_inputs(channels, side):
    net = small(channels, side)
    assert nl.maximize(net, nl.objectives.logit(1), steps=4).images.shape == (1, channels, *side)
    assert nl.maximize(net, "3:1", steps=4).images.shape[1] == channels


def test_vectors_are_maximized():
    net = nl.Network(nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 2)), (7,), False)
    found = nl.maximize(net, "0:2", steps=60)
    assert found.images.shape == (1, 7)
    # Of a linear unit, each number goes to the end of [0,1] that its weight's sign says.
    ends = (net.model[0].weight[2].detach().numpy() > 0).astype(float)
    assert 0 < ends.sum() < 7
    np.testing.assert_allclose(found.images[0], ends, atol=1e-3)
    found.figure()


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1", "resnet18", "vgg11"])
def test_torchvision_with_random_weights(name):
    net = torchvision_network(name)
    layer = {
        "alexnet": "features.3",
        "squeezenet1_1": "features.4",
        "resnet18": "layer2.0.conv1",
        "vgg11": "features.6",
    }[name]
    found = nl.maximize(net, [f"{layer}:0", f"{layer}:1"], steps=32)
    assert (found.history[-8:].max(0) > found.history[0]).all()


def test_squeezenet_has_no_dead_page(material):
    net = squeezenet(material)
    for layer in ("features.4", "features.5", "features.9"):
        found = nl.maximize(net, [f"{layer}:{c}" for c in range(8)], steps=48)
        assert (found.activations > 0).all(), (layer, found.activations)


def test_steps_rest_by_themselves(demo):
    pictures = []
    found = nl.maximize(demo, ["relu2:3", "relu2:9"], on_step=lambda step: pictures.append(step.images))
    assert 24 <= found.steps <= 256
    assert len(pictures) == found.steps
    moves = [np.abs(b - a).mean() for a, b in pairwise(pictures)]
    assert moves[-1] < 1e-4 < 1e-2 < moves[0]
    assert np.abs(found.images - pictures[-1]).max() <= 1 / 255
    half = len(found.history) // 2
    assert (found.history[-24:].mean(0) >= found.history[:half].mean(0)).all()


def test_closing_stops_within_a_step(demo):
    calls = []
    handle = demo.model.relu2.register_forward_hook(lambda *_: calls.append(1))
    steps = nl.maximize_steps(demo, "relu2:0")
    next(steps)
    next(steps)
    steps.close()
    count = len(calls)
    assert list(steps) == []
    assert len(calls) == count
    handle.remove()


WRONG = {
    "two layers": (["relu1:0", "relu2:0"], {}, "relu1, relu2"),
    "nothing": ([], {}, "empty"),
    "steps": ("relu1:0", {"steps": 0}, "steps must be 1"),
    "channel": ("relu1:4000", {}, "channels 0 to 47"),
    "layer": ("relu11:0", {}, "relu1"),
    "direction": (nl.Direction("relu1", [1.0, 2.0]), {}, "48 channels, the direction 2"),
    "size": ("relu1:0", {"size": 0}, "size is a side"),
    "class": (nl.objectives.logit(77), {}, "classes 0 to 19"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_maximized_is_named(demo, name):
    goal, options, says = WRONG[name]
    with pytest.raises(nl.LensError, match=says):
        nl.maximize(demo, goal, **{"steps": 1, **options})


def total_variation(picture: np.ndarray) -> float:
    """Of a (C,H,W) picture: mean absolute difference of neighbours, down and to the right."""
    x = picture.astype(np.float64)
    return np.abs(x[:, 1:] - x[:, :-1]).mean() + np.abs(x[:, :, 1:] - x[:, :, :-1]).mean()


def test_objectives_add_up(demo):
    o = nl.objectives
    goal = o.channel("relu3:1") - 0.1 * o.total_variation() + o.neuron("relu3:2@3,3") / 2
    found = nl.maximize(demo, goal, steps=3)
    maps = nl.activations(demo, torch.from_numpy(found.images[0]), "relu3").maps
    terms = maps[1].mean(), -0.1 * total_variation(found.images[0]), maps[2, 3, 3] / 2
    assert min(map(abs, terms)) > 1e-3, "each term is large enough to be missed"
    assert found.activations[0] == pytest.approx(sum(terms), abs=1e-4)
    alone = nl.maximize(demo, -1 * o.total_variation(), steps=1)
    assert alone.activations[0] == pytest.approx(-total_variation(alone.images[0]), rel=1e-4)


def test_a_direction_is_maximized(demo):
    vector = np.zeros(176)
    vector[5] = 3.0
    direction = nl.maximize(demo, nl.Direction("relu3", vector), steps=96)
    unit = nl.maximize(demo, "relu3:5", steps=96)
    # At length 1 it is the unit itself, and reaches what that reaches from another start.
    row, column = Run(demo, "relu3:5").plan.centres["relu3"]
    with torch.no_grad(), demo.evaluation():
        maps = demo.outputs(torch.from_numpy(direction.images), ["relu3"])["relu3"]
    assert direction.activations[0] == pytest.approx(float(maps[0, 5, row, column]), rel=1e-4)
    assert direction.activations[0] > 0.85 * unit.activations[0]


class Template(nn.Module):
    """Answers with the similarity of the middle of its input to a known picture."""

    def __init__(self, template: torch.Tensor) -> None:
        super().__init__()
        self.conv = nn.Conv2d(template.shape[0], 3, template.shape[1:], bias=False)
        with torch.no_grad():
            self.conv.weight.normal_()
            self.conv.weight[1] = template - template.mean()
        self.relu = nn.ReLU(inplace=True)
        self.deeper = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.deeper.weight.zero_()
            self.deeper.weight[0, 1], self.deeper.bias[0] = 1, -1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.deeper(self.relu(self.conv(x))).mean((2, 3))


def disc(channels: int, height: int, width: int) -> torch.Tensor:
    """A soft coloured disc off the middle, on a slope."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    disc = torch.sigmoid((0.5 - ((y - 0.2) ** 2 + (x + 0.1) ** 2).sqrt()) * 10)
    return torch.stack([disc * (1 - 0.6 * c) + 0.2 * x * (c + 1) for c in range(channels)])


@pytest.mark.parametrize("shape", [(1, 21, 21), (3, 17, 25), (4, 19, 15)])
@pytest.mark.parametrize("unit", ["conv:1", "relu:1", "deeper:0"])
def test_a_planted_template_is_found(shape, unit):
    template = disc(*shape)
    net = nl.Network(Template(template), shape, False)
    options = {} if shape[0] != 4 else {"parametrization": nl.parametrizations.fourier(colours=torch.eye(4))}
    found = nl.maximize(net, unit, transforms=nl.transforms.jitter(0), steps=96, **options)
    assert np.corrcoef(found.images[0].ravel(), template.numpy().ravel())[0, 1] >= 0.95


def test_a_shared_module_is_maximized_at_its_first_call():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, padding=1)
            self.twice = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            return self.twice(self.twice(self.first(x)).relu()).mean((2, 3))

    torch.manual_seed(0)
    net = nl.Network(Shared(), (3, 18, 26), False)
    found = nl.maximize(net, "twice:1", steps=24)
    assert found.history[-1, 0] > found.history[0, 0]
    # Two 3x3 kernels see 5x5 pixels; with 16 more, of 18x26, the canvas is 18x21. Its middle, 9 down and 10.5 to the
    # right, is as near to neuron 8 as to 9 in the rows, and to neuron 10 in the columns.
    assert found.images.shape == (1, 3, 18, 21)
    with torch.no_grad():
        first_call = net.model.twice(net.model.first(torch.from_numpy(found.images)))
    assert found.activations[0] == pytest.approx(float(first_call[0, 1, 8, 10]), rel=1e-4)


def test_a_parallel_branch(material):
    net = material_network(material, "fashion_crp", (1, 28, 28))
    layers = [x.name for x in net.layers if x.reason is None and x.kind == "Conv2d"]
    for layer in layers:
        found = nl.maximize(net, [f"{layer}:0", f"{layer}:1"], steps=24)
        assert (found.history[-4:].mean(0) > found.history[0]).all(), layer


class Shy(nn.Module):
    """Its unit 1 is on for the given picture only: no gradient reaches it from noise."""

    def __init__(self, picture: torch.Tensor) -> None:
        super().__init__()
        first = nn.Conv2d(3, 2, picture.shape[1:])
        with torch.no_grad():
            weight = picture - picture.mean()
            first.weight[0], first.bias[0] = weight, -0.7 * (weight * picture).sum()
            first.weight[1], first.bias[1] = -weight, -0.7 * (weight * picture).sum()
        self.first, self.relu = first, nn.ReLU()
        self.second, self.last = nn.Conv2d(2, 3, 1, bias=False), nn.ReLU()
        with torch.no_grad():
            self.second.weight.zero_()
            self.second.weight[1, 0] = 1
            self.second.weight[2, 1] = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.second(self.relu(self.first(x)))).flatten(1)


def test_a_unit_that_a_real_picture_turns_on_is_never_dead(demo):
    shape = (3, 40, 40)
    real = demo.samples["coffee"]
    from nn_lens.engine.pictures.picture import read_picture

    net = nl.Network(Shy(read_picture(real, shape)), shape, False)
    net.samples.update(demo.samples)
    # Asked for, the contrast is not that of the samples, at which noise turns it on as well.
    found = nl.maximize(net, ["last:1", "last:2"], parametrization=nl.parametrizations.fourier(contrast=0.2))
    assert found.history[:64, 0].max() == 0, "the test is about a unit that noise leaves off"
    assert found.activations[0] > 0, found.notes
    assert found.notes[0] == ""
    assert found.activations[1] == 0
    assert "never above 0 on the 42 views of real pictures tried" in found.notes[1]


def test_a_page_splits_to_keep_to_its_memory(demo, monkeypatch):
    from nn_lens.engine.maximizing import maximize as module

    units = [f"relu3:{c}" for c in range(6)]
    whole = module.Run(demo, units)
    assert len(whole.batches) == 1
    monkeypatch.setattr(module, "MEMORY", 2 * whole.bytes_each + 1)
    parts = module.Run(demo, units)
    assert [len(b.rows) for b in parts.batches] == [2, 2, 2]
    a, b = nl.maximize(demo, units, steps=6), None
    monkeypatch.undo()
    b = nl.maximize(demo, units, steps=6)
    assert np.abs(a.images - b.images).max() <= 1 / 255


def test_memory_is_counted():
    """What a picture is said to keep for its backward pass is what autograd saves, counted by hand in bytes."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3))
    net = nl.Network(model, (3, 20, 24), False)
    # Fields of 3, 3, 4 and 8 pixels, and 16 more, as far as the input goes.
    for layer, canvas, expected in (
        ("0", (19, 19), 3 * 19 * 19 * 4),  # the convolution its input
        ("1", (19, 19), 3 * 19 * 19 * 4 + 4 * 17 * 17 * 4),  # the rectifier its answer
        ("2", (20, 20), 3 * 20 * 20 * 4 + 4 * 18 * 18 * 4 + 4 * 9 * 9 * 8),  # pooling its input, the same, and places
        ("3", (20, 24), 3 * 20 * 24 * 4 + 4 * 18 * 22 * 4 + 4 * 9 * 11 * 8 + 4 * 9 * 11 * 4),
    ):
        run = Run(net, f"{layer}:0")
        assert run.plan.shape == (3, *canvas)
        assert run.bytes_each == expected


def test_class_tokens_stand_apart():
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    vit = VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)
    net = nl.Network(vit, (3, 32, 32), False)
    layer = next(x.name for x in net.layers if x.kind == "EncoderBlock")
    assert net[layer].layout.grid == (4, 4)
    channel = nl.maximize(net, f"{layer}:3", steps=24)
    token = nl.maximize(net, nl.objectives.token(f"{layer}:3"), steps=24)
    for found in (channel, token):
        assert found.images.shape == (1, 3, 32, 32)
        assert found.history[-1, 0] > found.history[0, 0]
    with torch.no_grad(), net.evaluation():
        x = torch.from_numpy(token.images)
        answers = net.outputs(x, [layer, f"{layer}[0]"])
    assert answers[f"{layer}[0]"].shape == (1, 16, 1, 1)
    assert token.activations[0] == pytest.approx(float(answers[f"{layer}[0]"][0, 3]), rel=1e-4)
    with pytest.raises(nl.LensError, match="no token 1"):
        nl.maximize(net, nl.objectives.token(f"{layer}:3", 1), steps=1)


def test_padding_keeps_the_unit_in_the_middle(demo):
    padded = nl.maximize(demo, "relu2:5", transforms=nl.transforms.pad(12), steps=64)
    plain = nl.maximize(demo, "relu2:5", transforms=nl.transforms.jitter(0), steps=64)
    assert padded.images.shape == plain.images.shape
    assert padded.activations[0] == pytest.approx(plain.activations[0], rel=0.15)


def test_nothing_of_a_run_stays_in_memory(demo):
    def alive():
        gc.collect()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of modules that are looked at
            return sum(isinstance(o, torch.Tensor) for o in gc.get_objects())

    nl.maximize(demo, "relu2:5", steps=2)
    before = alive()
    for _ in range(3):
        nl.maximize(demo, "relu2:5", steps=2)
    assert alive() <= before
