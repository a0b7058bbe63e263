"""Activations against a plain hook, and filters against the weights."""

from __future__ import annotations

import copy
import io
import threading

import numpy as np
import pytest
import torch
from models import Functional, material_network, small, squeezenet, torchvision_network
from PIL import Image
from torch import nn

import nn_lens as nl
from nn_lens.engine.network import capture
from nn_lens.engine.network.runner import Runner


def hooked(net, layer, x):
    """What the layer answers, by the plainest way there is."""
    found = []
    handle = net.model.get_submodule(layer).register_forward_hook(lambda m, i, o: found.append(o.detach().clone()))
    net.model.eval()
    with torch.no_grad():
        net.model(x)
    handle.remove()
    return found[0][0].numpy()


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1", "resnet18", "vgg11"])
def test_activations_are_what_a_hook_sees(name):
    net = torchvision_network(name)
    x = torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(v)[:, None, None] for v in nl.IMAGENET)
    for layer in (net.layers[1].name, net.layers[len(net.layers) // 2].name, net.layers[-1].name):
        maps = nl.activations(net, x, layer).maps
        expected = hooked(net, layer, ((x - mean) / std)[None])
        assert maps.dtype == np.float32
        np.testing.assert_allclose(maps, expected.reshape(maps.shape), rtol=1e-4, atol=1e-5)


def test_the_forward_stops_at_the_last_wanted_layer():
    net = small()
    calls = []
    handle = net.model[3].register_forward_hook(lambda *_: calls.append(1))
    nl.activations(net, torch.zeros(3, 20, 28), "1")
    assert not calls
    nl.activations(net, torch.zeros(3, 20, 28), "3")
    assert calls
    handle.remove()


def test_a_layer_before_an_inplace_rectifier_keeps_its_negative_values():
    net = small()
    x = torch.rand(3, 20, 28)
    with torch.no_grad():
        expected = net.model[0](x[None])[0].numpy()
    assert (expected < 0).any()
    np.testing.assert_allclose(nl.activations(net, x, "0").maps, expected, atol=1e-6)


def test_rows_stay_rows():
    net = nl.Network(nn.Sequential(nn.Conv2d(1, 1, 1, bias=False)), (1, 6, 9), False)
    nn.init.ones_(net.model[0].weight)
    picture = torch.zeros(1, 6, 9)
    picture[0, 4, 7] = 1
    found = nl.activations(net, picture, "0")
    assert found.maps.shape == (1, 6, 9)
    assert np.unravel_index(found.maps.argmax(), found.maps.shape) == (0, 4, 7)
    (unit, value), *_ = found.top(1, at=(4, 7))
    assert (str(unit), value) == ("0:0@4,7", 1.0)
    with pytest.raises(nl.LensError, match="6 rows by 9 columns"):
        found.top(1, at=(7, 4))


def test_top_is_by_maximum_with_ties_by_channel():
    net = nl.Network(nn.Sequential(nn.Conv2d(3, 5, 3)), (3, 8, 8), False)
    nn.init.zeros_(net.model[0].weight)
    with torch.no_grad():
        net.model[0].bias.copy_(torch.tensor([0.0, 2, 1, 2, -1]))
    top = nl.activations(net, torch.zeros(3, 8, 8), "0").top(4)
    assert [(u.channel, v) for u, v in top] == [(1, 2.0), (3, 2.0), (2, 1.0), (0, 0.0)]


def test_vectors_have_activations_too():
    net = nl.Network(nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 2)), (7,), False)
    v = np.arange(7, dtype=np.float32)
    maps = nl.activations(net, v, "0").maps
    assert maps.shape == (5, 1, 1)
    np.testing.assert_allclose(maps[:, 0, 0], net.model[0](torch.from_numpy(v)).detach(), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "shape", "normalize", "data"),
    [
        ("cifar10_resnet20", (3, 32, 32), nl.IMAGENET, ("cifar10_lossless20", "x", "y")),
        ("mnist_cnn_kerasjs", (1, 28, 28), False, ("mnist_10k_10k", "x_test", "y_test")),
        ("fashion_crp", (1, 28, 28), False, ("fashion_mnist_val5000", "val_set", "targets")),
    ],
)
def test_real_small_networks(material, name, shape, normalize, data):
    net = material_network(material, name, shape, normalize)
    with np.load(material / "data" / f"{data[0]}.npz") as npz:
        pictures, labels = npz[data[1]][:20], npz[data[2]][:20]
    right = sum(net.scores(p).argmax() == label for p, label in zip(pictures, labels, strict=True))
    assert right >= 16, "its own pictures are recognized"
    for layer in net.layers:
        if layer.reason is None:
            assert nl.activations(net, pictures[0], layer.name).maps.shape[0] == layer.channels


# ---- filters ----


def test_filters_are_the_weights_as_stored():
    net = torchvision_network("alexnet")
    found = nl.filters(net, "features.0")
    np.testing.assert_array_equal(found.weights, net.model.features[0].weight.detach())
    images = found.images()
    assert images.shape == (64, 11, 11, 3)
    assert images.dtype == np.uint8
    deep = nl.filters(net, "features.3").images()
    assert deep.shape == (192, 64, 5, 5)


def test_one_scale_per_filter_with_zero_at_128():
    net = small()
    with torch.no_grad():
        net.model[0].weight[0] = 0
        net.model[0].weight[1] *= 100
    found = nl.filters(net, "0")
    images = found.images().astype(int)
    assert (images[0] == 128).all()
    assert all(np.abs(image - 128).max() == 127 for image in images[1:])
    weight = found.weights[2].transpose(1, 2, 0)
    assert ((images[2] > 128) <= (weight > 0)).all()


def test_filters_of_groups_linear_and_transposed_layers():
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2),
        nn.ConvTranspose2d(8, 3, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(3, 5),
    )
    net = nl.Network(model, (4, 10, 10), False)
    assert nl.filters(net, "0").weights.shape == (8, 2, 3, 3)
    assert nl.filters(net, "0").images().shape == (8, 2, 3, 3)
    assert nl.filters(net, "1").weights.shape == (3, 8, 2, 2)
    assert nl.filters(net, "4").weights.shape == (5, 3, 1, 1)


def test_a_layer_without_filters_names_the_nearest_that_has():
    with pytest.raises(nl.LensError, match=r"features\.0"):
        nl.filters(torchvision_network("alexnet"), "features.1")


def test_real_first_layer_is_in_colour(material):
    assert nl.filters(squeezenet(material), "features.0").images().shape == (64, 3, 3, 3)


RESULTS = {
    "receptive field": (
        lambda net, x: nl.receptive_field(net, "3"),
        "Receptive field of 15x15 pixels, stride 4x4, offset -1,-1",
    ),
    "filters in colour": (lambda net, x: nl.filters(net, "0"), "6 filters"),
    "filters": (lambda net, x: nl.filters(net, "3"), "8 filters"),
    "activations": (lambda net, x: nl.activations(net, x, "3"), "8 activation maps"),
    "maximized": (lambda net, x: nl.maximize(net, "3:1", steps=2), "Maximizing image of 3:1 at activation"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_show_themselves(name):
    make, says = RESULTS[name]
    x = torch.rand(3, 20, 28, generator=torch.Generator().manual_seed(0))
    found, again = (make(small(), x) for _ in range(2))
    assert says in repr(found)
    assert repr(found) == repr(again), "another one of the same says the same"
    assert len(found.figure().axes) > 0
    png = Image.open(io.BytesIO(found._repr_png_()))
    assert len(np.unique(np.asarray(png.convert("L")))) > 8


def test_functional_network_is_captured():
    net = nl.Network(Functional(), (3, 12, 12), False)
    x = torch.rand(3, 12, 12)
    np.testing.assert_allclose(nl.activations(net, x, "join").maps, hooked(net, "join", x[None]), atol=1e-6)
    assert nl.activations(net, x, "join").maps.min() >= 0


# ---- somebody else's forward pass on the same model ----


class Interrupted(nn.Module):
    """Cannot be copied; while its first forward pass is under way, another thread takes a whole one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Conv2d(5, 2, 3)
        self.others: list[torch.Tensor] | None = None

    def __deepcopy__(self, memo: object) -> None:
        raise TypeError("holds a socket")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.others == []:
            self.others = None
            found = []
            thread = threading.Thread(target=lambda: found.append(self(2 * x)))
            thread.start()
            thread.join()
            self.others = found
        return self.last(self.second(self.first(x)))


def replaced(model, x):
    with capture.replace_outputs(Runner(model), {"second": lambda output: 0 * output}) as done:
        answer = model(x)
    assert done == {"second": 1}  # the other thread's calls are not counted
    return answer


def followed(model, x):
    answers = {}
    capture.follow(Runner(model), x, "second", answers.__setitem__)
    assert list(answers) == ["first", "second"]
    return answers["second"]


WATCHES = {
    "outputs": (lambda m, x: capture.outputs(Runner(m), x, ["second"])["second"], lambda m, x: m.second(m.first(x))),
    "input_of": (lambda m, x: capture.input_of(Runner(m), x, "second"), lambda m, x: m.first(x)),
    "follow": (followed, lambda m, x: m.second(m.first(x))),
    "trace": (lambda m, x: capture.trace(Runner(m), x)[1], lambda m, x: m.last(m.second(m.first(x)))),
    "replace_outputs": (replaced, lambda m, x: m.last(0 * m.second(m.first(x)))),
}


@pytest.mark.parametrize("name", WATCHES)
def test_another_threads_forward_is_neither_stopped_nor_changed(name):
    watch, expected = WATCHES[name]
    torch.manual_seed(0)
    model = Interrupted().eval()
    x = torch.rand(2, 3, 9, 11)
    with pytest.raises(TypeError, match="holds a socket"):
        copy.deepcopy(model)
    with torch.no_grad():
        mine, theirs = expected(model, x), model(2 * x)
    model.others = []
    torch.testing.assert_close(watch(model, x), mine)
    assert len(model.others) == 1, "the other forward pass came to its end"
    torch.testing.assert_close(model.others[0], theirs)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
