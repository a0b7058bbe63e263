from __future__ import annotations

import numpy as np
import pytest
import torch
from models import same, small, squeezenet, state, torchvision_network
from torch import nn

import nn_lens as nl
from nn_lens.engine.maximizing.plan import read_goal
from nn_lens.networks.photos20 import STD


@pytest.mark.parametrize("layer", ["conv1", "relu1"])
def test_first_layer_units_are_exact(demo, layer):
    """In the ball the maximizer is the filter, in the box its sign; nothing random within them does better."""
    unit = f"{layer}:7"
    ball = nl.linear_maximizers(demo, unit, radius=1.0)
    box = nl.linear_maximizers(demo, unit, bound="box")
    assert ball.exact.all()
    assert box.exact.all()
    weights = ball.weights[0]
    # The network normalizes its pictures: each channel's weights are the filter's over its deviation.
    own = nl.filters(demo, "conv1").weights[7] / np.array(STD).reshape(3, 1, 1)
    rows, columns = np.nonzero(abs(weights).sum(0))
    window = weights[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    np.testing.assert_allclose(window / np.linalg.norm(window), own / np.linalg.norm(own), atol=1e-3)
    seen = weights != 0
    np.testing.assert_array_equal(box.images[0][seen], (weights[seen] > 0).astype(np.float32))
    g = np.random.default_rng(0)
    row, column = read_goal(demo, unit).centres[layer]

    def answer(picture: np.ndarray) -> float:
        with torch.no_grad(), demo.evaluation():
            maps = demo.outputs(torch.from_numpy(picture[None].astype(np.float32)), [layer])[layer]
        return float(maps[0, 7, row, column])

    for _ in range(20):
        noise = g.normal(size=weights.shape)
        assert answer(0.5 + noise / np.linalg.norm(noise)) < ball.activations[0]
        assert answer(g.uniform(size=weights.shape)) < box.activations[0]
    assert np.linalg.norm(ball.images[0] - 0.5) == pytest.approx(1.0, rel=1e-3)


def test_deeper_units_are_the_sum_of_the_filters_on_every_path():
    """Two convolutions without anything between: the linear combination is their composition, by hand."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.ReLU(), nn.Conv2d(3, 2, 3, bias=False))
    net = nl.Network(model, (1, 5, 5), False)
    found = nl.linear_maximizers(net, "2:1")
    a, b = model[0].weight.detach().numpy(), model[2].weight.detach().numpy()
    expected = np.zeros((5, 5))
    for k in range(3):
        for y in range(3):
            for x in range(3):
                expected[y : y + 3, x : x + 3] += b[1, k, y, x] * a[k, 0]
    np.testing.assert_allclose(found.weights[0, 0], expected, atol=1e-6)
    assert not found.exact[0], "a rectifier in between was left out"


def test_what_is_not_linear_is_not_called_exact(demo):
    assert not nl.linear_maximizers(demo, ["relu2:0", "relu2:1"]).exact.any()

    class Squared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.last = nn.Identity()

        def forward(self, x):
            return self.last(self.conv(x) ** 2)

    assert not nl.linear_maximizers(nl.Network(Squared(), (3, 9, 9), False), "last:0").exact[0]


def test_the_first_look_is_better_than_grey(demo):
    units = [f"relu2:{c}" for c in range(0, 96, 8)]
    found = nl.linear_maximizers(demo, units)
    grey = nl.activations(demo, torch.full(demo.input_shape, 0.5), "relu2").maps[::8].max((1, 2))
    assert (found.activations > grey).mean() > 0.7


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "vgg11"])
def test_other_networks(name):
    net = torchvision_network(name)
    layer = next(x.name for x in net.layers if x.kind == "MaxPool2d")
    before = state(net.model)
    found = nl.linear_maximizers(net, [f"{layer}:0", f"{layer}:1"])
    assert np.isfinite(found.images).all()
    assert abs(found.weights).max() > 0
    assert same(before, state(net.model))


def test_maximizing_starts_where_the_answer_is_exact(demo):
    first = next(nl.maximize_steps(demo, ["conv1:7", "conv1:9"]))
    exact = nl.linear_maximizers(demo, ["conv1:7", "conv1:9"])
    for picture, weights in zip(first.images, exact.weights, strict=True):
        seen = weights != 0
        assert np.corrcoef(picture[seen], weights[seen])[0, 1] > 0.95


def test_which_layers_come_first(demo):
    from nn_lens.engine.maximizing.linear import in_first_layer

    first = [x.name for x in demo.layers if in_first_layer(demo, x.name)]
    assert first == ["conv1", "norm1", "relu1"]


def test_a_real_first_layer(material):
    found = nl.linear_maximizers(squeezenet(material), ["features.0:3", "features.0:9"])
    assert found.exact.all()
    found.figure()


def test_mistakes_are_named():
    net = small()
    with pytest.raises(nl.LensError, match='"ball" or "box"'):
        nl.linear_maximizers(net, "0:1", bound="sphere")
    with pytest.raises(nl.LensError, match="above 0"):
        nl.linear_maximizers(net, "0:1", radius=-1)
    with pytest.raises(nl.LensError, match="vectors"):
        nl.linear_maximizers(nl.Network(nn.Sequential(nn.Linear(3, 2)), (3,), False), "0:1")
