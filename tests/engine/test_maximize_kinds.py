"""Maximizing for every kind of input: what each reaches against noise, its range and canvas, and that it repeats."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import zoo
from torch import nn

import nn_lens as nl
from nn_lens.engine.maximizing import inputs
from nn_lens.engine.maximizing.plan import read_goal


class Steps(nn.Module):
    """A recurrent layer, and a linear one of its last step."""

    def __init__(self, recurrent: nn.Module, features: int) -> None:
        super().__init__()
        self.recurrent, self.last = recurrent, nn.Linear(features, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.recurrent(x)[0][:, -1])


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embed(x)).mean(1))


def signal() -> nl.Network:
    layers = [
        nn.Conv1d(2, 5, 7),
        nn.ReLU(),
        nn.MaxPool1d(3),
        nn.Conv1d(5, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(132, 3),
    ]
    return nl.Network(nn.Sequential(*layers), (2, 78))


def volume() -> nl.Network:
    layers = [nn.Conv3d(1, 4, 3), nn.ReLU(), nn.MaxPool3d(2), nn.Flatten(), nn.Linear(4 * 3 * 4 * 5, 3)]
    return nl.Network(nn.Sequential(*layers), (1, 8, 11, 12))


NETWORKS = {
    "signal": signal,
    "volume": volume,
    "lstm": lambda: nl.Network(Steps(nn.LSTM(4, 6, batch_first=True), 6), (11, 4)),
    "gru": lambda: nl.Network(Steps(nn.GRU(4, 3, batch_first=True, bidirectional=True), 6), (11, 4)),
    "encoder": lambda: nl.Network(Encoder(), (9, 5)),
    "vector": lambda: nl.Network(nn.Sequential(nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, 3)), (7,)),
}


def network(name: str) -> nl.Network:
    torch.manual_seed(3)
    return NETWORKS[name]()


def noise(net: nl.Network, shape: tuple[int, ...]) -> torch.Tensor:
    """64 random inputs: of one deviation, in [0,1] of the contrast of photographs, of vectors over all of [0,1]."""
    g = torch.Generator().manual_seed(7)
    if net.kind == "vector":
        return torch.rand(64, *shape, generator=g)
    x = torch.randn(64, *shape, generator=g)
    return (0.5 + 0.2 * x).clamp(0, 1) if net.kind == "volume" else x


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_comes_to_life_where_noise_drives_it(name):
    net = network(name)
    for layer in [x for x in net.layers if x.kind != "Dropout"]:
        units = [nl.Unit(layer.name, c) for c in range(min(3, layer.channels))]
        found = nl.maximize(net, units, steps=24)
        plan = read_goal(net, units)
        with net.evaluation(), torch.no_grad():
            maps = net.outputs(noise(net, plan.shape), [layer.name])[layer.name]
        place = plan.centres.get(layer.name, (0, 0))
        best = maps[(slice(None), slice(0, 3), *place)].amax(0).numpy()
        assert (found.activations >= best).all(), (layer.name, found.activations, best)
        assert found.images.shape == (len(units), *plan.shape)
        assert np.isfinite(found.images).all()
        assert found.kind == net.kind
        lively = best > 0
        assert not any(note for note, alive in zip(found.notes, lively, strict=True) if alive)


def test_the_canvas_is_the_field_and_a_margin():
    # A kernel of 7, pooling of 3, a kernel of 3 on steps of 3: 7 + 2 + 2 * 3 = 15 samples, with 16 more.
    assert nl.maximize(signal(), "3:1", steps=1).images.shape == (1, 2, 31)
    # 3 voxels and 16 more along each dimension, of which the input has fewer.
    assert nl.maximize(volume(), "0:1", steps=1).images.shape == (1, 1, 8, 11, 12)
    big = nl.Network(nn.Sequential(nn.Conv3d(1, 2, 3)), (1, 30, 25, 16))
    assert nl.maximize(big, "0:1", steps=1).images.shape == (1, 1, 19, 19, 16)
    assert nl.maximize(network("encoder"), "embed:1", steps=1).images.shape == (1, 9, 5)
    assert nl.maximize(signal(), "3:1@4", steps=1).images.shape == (1, 2, 78)


def test_sizes_have_as_many_numbers_as_places():
    assert nl.maximize(signal(), "0:1", steps=1, size=40).images.shape == (1, 2, 40)
    assert nl.maximize(volume(), "0:1", steps=1, size=(7, 9, 5)).images.shape == (1, 1, 7, 9, 5)
    assert nl.maximize(volume(), "0:1", steps=1, size=6).images.shape == (1, 1, 6, 6, 6)
    assert nl.maximize(network("lstm"), "recurrent:1", steps=1, size=[14]).images.shape == (1, 14, 4)
    with pytest.raises(nl.LensError, match="size is a length"):
        nl.maximize(signal(), "0:1", steps=1, size=(4, 5))
    with pytest.raises(nl.LensError, match="takes no size"):
        nl.maximize(network("vector"), "0:1", steps=1, size=4)


def test_the_neuron_is_the_last_of_a_recurrent_layer_and_the_middle_where_all_see_all():
    # Step 10 of 0 to 10 has seen all; of a network that reads both ways, each has, and step 5 is in the middle.
    assert read_goal(network("lstm"), "recurrent:1").centres == {"recurrent": (10,)}
    assert read_goal(network("gru"), "recurrent:1").centres == {"recurrent": (5,)}
    net = network("lstm")
    found = nl.maximize(net, "recurrent:2", steps=6)
    with torch.no_grad():
        answer = net.model.recurrent(torch.from_numpy(found.images))[0]
    assert found.activations[0] == pytest.approx(float(answer[0, 10, 2]), rel=1e-4)


@pytest.mark.parametrize("name", ["signal", "volume", "lstm", "encoder", "vector"])
def test_the_same_bits_again_and_the_same_in_company(name):
    net = network(name)
    layer = net.layers[-1].name
    alone, again = (nl.maximize(net, f"{layer}:1", steps=32) for _ in range(2))
    np.testing.assert_array_equal(alone.images, again.images)
    np.testing.assert_array_equal(alone.history, again.history)
    page = nl.maximize(net, [f"{layer}:{c}" for c in (0, 1, 2)], steps=32)
    assert np.abs(alone.images[0] - page.images[1]).max() <= 1 / 255


def test_ranges():
    x = nl.maximize(signal(), nl.objectives.logit(1), steps=8).images
    assert np.sqrt((x**2).mean()) == pytest.approx(1, rel=0.1)
    assert x.min() < 0
    assert np.abs(x).max() < 4
    x = nl.maximize(volume(), nl.objectives.logit(1), steps=8).images
    assert 0 <= x.min() < x.max() <= 1
    assert x.std() == pytest.approx(0.2, rel=0.15)


@pytest.mark.parametrize(("kind", "shape"), [("signal", (2, 60)), ("sequence", (60, 2))])
def test_what_a_network_normalizes_with_is_the_middle_and_the_unit(kind, shape):
    model = nn.Sequential(nn.Flatten(), nn.Linear(120, 3))
    net = nl.Network(model, shape, ([10.0, -5.0], [2.0, 0.5]), kind=kind)
    x = nl.maximize(net, nl.objectives.logit(0), steps=8).images[0]
    x = x if kind == "signal" else x.T
    assert x.mean(1) == pytest.approx([10, -5], abs=1)
    assert x.std(1).mean() == pytest.approx((2 + 0.5) / 2, rel=0.35)
    grey = inputs.rest(net, 2, shape).numpy()
    assert grey.shape == (2, *shape)
    assert (grey == np.array([10, -5]).reshape((2, 1) if kind == "signal" else (1, 2))).all()


def test_a_planted_signal_is_found():
    wave = torch.sin(torch.linspace(0, 9, 24)) * torch.hann_window(24)
    model = nn.Sequential(nn.Conv1d(1, 3, 24, bias=False), nn.ReLU(), nn.Conv1d(3, 2, 1, bias=False))
    with torch.no_grad():
        model[0].weight[1, 0] = wave
        model[2].weight.zero_()
        model[2].weight[1, 1] = 1
    net = nl.Network(model, (1, 24))
    found = nl.maximize(net, "2:1", transforms=nl.transforms.jitter(0), steps=96)
    assert np.corrcoef(found.images[0, 0], wave)[0, 1] > 0.95


def test_penalties_and_parametrizations_know_the_kind():
    o, p = nl.objectives, nl.parametrizations
    for name, axes in {"signal": (2,), "volume": (2, 3, 4), "lstm": (1,)}.items():
        net = network(name)
        found = nl.maximize(net, -1 * o.total_variation(), steps=2)
        x = found.images.astype(float)
        assert found.activations[0] == pytest.approx(-sum(np.abs(np.diff(x, axis=a)).mean() for a in axes), rel=1e-4)
        calm = nl.maximize(net, o.logit(1) - o.blur(1.0) - o.l2(0), steps=2)
        assert np.isfinite(calm.activations).all()
        own = noise(net, net.input_shape)[0]
        begun = next(
            nl.maximize_steps(net, o.logit(1), parametrization=p.from_picture(own), transforms=nl.transforms.NONE)
        )
        assert np.corrcoef(begun.images.ravel(), own.ravel())[0, 1] > 0.98
    with pytest.raises(nl.LensError, match="have none"):
        nl.maximize(network("vector"), o.total_variation(), steps=1)
    with pytest.raises(nl.LensError, match="maco is for pictures"):
        nl.maximize(signal(), "0:1", parametrization=p.maco(), steps=1)


def test_figures_of_every_kind():
    for name, goal in {"signal": "0:1", "volume": "0:1", "lstm": "recurrent:1", "vector": "0:1"}.items():
        net = network(name)
        found = nl.maximize(net, [goal, goal[:-1] + "2"], steps=2)
        assert f"Maximizing {net.kind} of {goal}" in found.alt_text
        assert len(found.figure().axes) == 2


def test_restarts_and_linear_maximizers_of_kinds():
    net = signal()
    found = nl.restarts(net, "3:1", 3, steps=6)
    assert found.images.shape == (3, 2, 31)
    assert len(found.figure().axes) == 3
    assert nl.restarts(volume(), "0:1", 2, steps=2).images.shape[0] == 2
    linear = nl.linear_maximizers(net, "0:3")
    assert linear.exact.all()
    # The filter itself, as far as it reaches, at a root mean square of one.
    seen = linear.images[0][:, np.abs(linear.images[0]).sum(0) > 0]
    weight = net.model[0].weight[3].detach().numpy()
    np.testing.assert_allclose(seen, weight / np.sqrt((weight**2).mean()), rtol=1e-4)
    linear.figure()
    with pytest.raises(nl.LensError, match="has no box"):
        nl.linear_maximizers(net, "0:3", bound="box")


def test_pooling_of_signals_and_volumes_is_linearized():
    """Max pooling becomes the mean: by hand, half of each of two neighbouring kernels."""
    model = nn.Sequential(nn.Conv1d(1, 1, 1, bias=False), nn.MaxPool1d(2))
    with torch.no_grad():
        model[0].weight.fill_(3.0)
    found = nl.linear_maximizers(nl.Network(model, (1, 8)), "1:0")
    assert sorted(found.weights[found.weights != 0]) == pytest.approx([1.5, 1.5])
    model = nn.Sequential(nn.Conv3d(1, 1, 1, bias=False), nn.MaxPool3d(2))
    with torch.no_grad():
        model[0].weight.fill_(4.0)
    found = nl.linear_maximizers(nl.Network(model, (1, 4, 4, 4)), "1:0")
    assert found.weights[found.weights != 0] == pytest.approx([0.5] * 8)


def test_a_class_that_wins_nowhere_says_so():
    torch.manual_seed(0)
    net = nl.Network(zoo.UNet(), (1, 32, 40))
    found = [nl.maximize(net, nl.objectives.logit(c), steps=4) for c in range(3)]
    off = [c for c in range(3) if found[c].activations[0] == 0]
    assert off
    assert all("wins at no place of this picture" in found[c].notes[0] for c in off)
    at = nl.maximize(net, nl.objectives.logit(off[0], at=(16, 20)), steps=4)
    with torch.no_grad():
        answer = net.model.eval()(torch.from_numpy(at.images))
    np.testing.assert_allclose(at.activations[0], answer[0, off[0], 16, 20], rtol=1e-3, atol=1e-5)
    assert at.notes == ("",)
