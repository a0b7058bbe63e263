"""Incoming connections: weights against autograd, and sources in every way that layers are put together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from models import Failing, Functional, same, small, state, torchvision_network
from reference.ablating import weights_by_autograd
from torch import nn

import nn_lens as nl
from nn_lens.engine.reading.incoming import incoming


def everything(found) -> dict[str, float]:
    return {str(unit): weight for unit, weight in found}


def stirred(model: nn.Module, seed: int = 0) -> nn.Module:
    """BatchNorms as after training: none the identity, some with a negative scale."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_var, 0.3, 3)
            nn.init.normal_(module.running_mean)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return model.eval()


def gains(net: nl.Network, target: str, source: str, unit: int, place: tuple[int, int]) -> list[float]:
    """By autograd: what a unit of the layer `target` gains where a channel of `source` grows by 1 everywhere."""
    shape = net[source].output_shape
    given: list[torch.Tensor] = []
    out: list[torch.Tensor] = []

    def answer(x: torch.Tensor) -> torch.Tensor:
        given[:] = [x]
        net.model(torch.full((1, *net.input_shape), 0.5))
        return out.pop()

    with ExitStack() as stack:
        for name, hook in ((source, lambda m, i, o: given[0]), (target, lambda m, i, o: out.append(o))):
            stack.callback(net.model.get_submodule(name).register_forward_hook(hook).remove)
        start = torch.rand(1, *shape, generator=torch.Generator().manual_seed(1))
        flat = len(net[target].output_shape) == 1
        return weights_by_autograd(answer, start, unit, None if flat else place).tolist()


def chain(*modules: nn.Module, shape: tuple[int, ...] = (4, 19, 25)) -> nl.Network:
    return nl.Network(stirred(nn.Sequential(*modules)), shape, False)


def linear_chains() -> list[tuple[str, Callable[[], nl.Network], str, str]]:
    """(what, network, target, source): nothing but linear maps from source to target."""
    first = lambda: nn.Conv2d(4, 6, 3)  # noqa: E731
    return [
        ("convolution", lambda: chain(first(), nn.Conv2d(6, 5, 3)), "1", "0"),
        ("oblong", lambda: chain(first(), nn.Conv2d(6, 5, (3, 5), dilation=(2, 1))), "1", "0"),
        ("groups", lambda: chain(first(), nn.Conv2d(6, 8, 3, groups=2)), "1", "0"),
        ("depthwise", lambda: chain(first(), nn.Conv2d(6, 12, 3, groups=6)), "1", "0"),
        ("transposed", lambda: chain(first(), nn.ConvTranspose2d(6, 5, 3)), "1", "0"),
        ("transposed groups", lambda: chain(first(), nn.ConvTranspose2d(6, 4, 3, groups=2)), "1", "0"),
        ("norm", lambda: chain(first(), nn.Conv2d(6, 5, 3, bias=False), nn.BatchNorm2d(5)), "2", "0"),
        ("plain norm", lambda: chain(first(), nn.Conv2d(6, 5, 3), nn.BatchNorm2d(5, affine=False)), "2", "0"),
        ("two norms", lambda: chain(first(), nn.Conv2d(6, 5, 3), nn.BatchNorm2d(5), nn.BatchNorm2d(5)), "3", "0"),
        ("pooled", lambda: chain(first(), nn.Conv2d(6, 5, 3), nn.AvgPool2d(2), nn.BatchNorm2d(5)), "3", "0"),
        ("from a norm", lambda: chain(first(), nn.BatchNorm2d(6), nn.Conv2d(6, 5, 3)), "2", "1"),
        ("circular", lambda: chain(first(), nn.Conv2d(6, 5, 3, padding=1, padding_mode="circular")), "1", "0"),
        ("reflected", lambda: chain(first(), nn.Conv2d(6, 5, 3, padding=1, padding_mode="reflect")), "1", "0"),
        ("flatten", lambda: chain(first(), nn.Flatten(), nn.Linear(6 * 5 * 9, 7), shape=(4, 7, 11)), "2", "0"),
        ("mean", lambda: chain(first(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 7)), "3", "1"),
        ("vector", lambda: chain(nn.Linear(9, 6), nn.Linear(6, 5), nn.BatchNorm1d(5), shape=(9,)), "2", "0"),
        ("shuffled", lambda: chain(first(), nn.ChannelShuffle(3), nn.Conv2d(6, 8, 3, groups=2)), "2", "0"),
        ("weight norm", lambda: chain(first(), nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 5, 3))), "1", "0"),
    ]  # fmt: skip


@pytest.mark.parametrize(("what", "make", "target", "source"), linear_chains(), ids=[c[0] for c in linear_chains()])
def test_weights_are_those_of_autograd(what, make, target, source):
    net = make()
    channels = net[target].channels
    for channel in {0, channels // 2, channels - 1}:
        found = everything(incoming(net, nl.Unit(target, channel), k=99))
        grid = net[target].layout.grid
        expected = gains(net, target, source, channel, (grid[0] // 2, grid[1] // 2))
        for c, weight in enumerate(expected):
            # Of another group there is no connection, and of a shuffled one no gain.
            assert found.get(f"{source}:{c}", 0.0) == pytest.approx(weight, abs=1e-4), (what, channel, c)
        groups = getattr(net.module(target), "groups", 1)
        assert len(found) == net[source].channels // groups
        assert all(name.startswith(f"{source}:") for name in found)


def test_strongest_first_with_norms_by_hand():
    net = chain(nn.Conv2d(4, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, (1, 2)), nn.BatchNorm2d(2), nn.ReLU())
    conv, norm = net.model[2], net.model[3]
    with torch.no_grad():
        conv.weight[1] = torch.tensor([[[3.0, 4]], [[5, -5]], [[-6, -2]]])
        norm.weight[1], norm.running_var[1] = -2, 4 - norm.eps
    found = incoming(net, "4:1")
    # gamma / sqrt(var + eps) is -1.
    assert [(str(u), w) for u, w in found] == [
        ("1:2", pytest.approx(8)), ("1:0", pytest.approx(-7)), ("1:1", pytest.approx(0)),
    ]  # fmt: skip
    np.testing.assert_allclose(found.norms, [40**0.5, 5, 50**0.5], rtol=1e-5)
    assert [str(u) for u, _ in incoming(net, "2:1", k=2)] == ["1:2", "1:0"]
    assert incoming(net, "2:1")[0][1] == pytest.approx(-8), "the convolution itself is not yet normalized"
    assert (len(found), found.count, found.through) == (3, 3, "2")
    assert found[-1][0] == found.units[2]
    assert found.weights.dtype == found.norms.dtype == np.float32
    assert incoming(net, "4:1@3,2").weights.tolist() == found.weights.tolist()
    assert found.alt_text == "3 of 3 units that feed 4:1 through 2, strongest 1:2 (+8)"


def test_rectifiers_pooling_and_dropout_on_either_side():
    net = small()
    for layer in ("3", "4", "5", "6", "7"):
        found = incoming(net, f"{layer}:2")
        assert {u.layer for u in found.units} == {"2"}, "the pooling, whose answer is what the convolution reads"
        expected = net.model[3].weight[2].sum((1, 2))
        assert everything(found) == pytest.approx(
            {f"2:{c}": float(w) for c, w in enumerate(expected.tolist())}, abs=1e-6
        )
    assert {u.layer for u in incoming(net, "8:2").units} == {"5"}


@pytest.mark.parametrize("inplace", [False, True])
def test_the_source_is_what_the_rectifier_gives(inplace):
    net = chain(
        nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace), nn.Dropout(), nn.Identity(), nn.Conv2d(6, 5, 3)
    )
    (layer,) = {u.layer for u in incoming(net, "5:0").units}
    assert layer in ("2", "3", "4"), "all three answer the very tensor that is read"


def test_linear_after_flatten_names_the_strongest_place():
    net = chain(nn.Conv2d(4, 3, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3 * 3 * 4, 5), shape=(4, 8, 11))
    weight = net.model[3].weight.detach()[2].view(3, 3, 4)
    found = incoming(net, "3:2")
    assert {u.layer for u in found.units} == {"1"}
    for (unit, value), norm, place in zip(found, found.norms, found.places, strict=True):
        mine = weight[unit.channel]
        assert value == pytest.approx(float(mine.sum()), abs=1e-6)
        assert norm == pytest.approx(float(mine.norm()), abs=1e-6)
        assert place == divmod(int(mine.abs().argmax()), 4)
    # A number of the flattened vector is a neuron of the map: it has the weights of its channel.
    assert everything(incoming(chain(nn.Conv2d(4, 3, 3), nn.Conv2d(3, 2, 3), nn.Flatten()), "2:400")).keys() == {
        "0:0", "0:1", "0:2",
    }  # fmt: skip


def test_fire_modules():
    net = torchvision_network("squeezenet1_1")
    fire = net.model.features[4]
    found = everything(incoming(net, "features.4.squeeze_activation:7", k=999))
    before = "features.3.expand{0}x{0}_activation:{1}"
    expected = {before.format(1 if i < 64 else 3, i % 64): fire.squeeze.weight[7, i, 0, 0].item() for i in range(128)}
    assert found == pytest.approx(expected, abs=1e-6)
    # A unit of the concatenation is one of its parts.
    part = incoming(net, "features.4:70", k=99)
    assert part.through == "features.4.expand3x3"
    expected = {
        f"features.4.squeeze_activation:{c}": float(w)
        for c, w in enumerate(fire.expand3x3.weight[6].sum((1, 2)).tolist())
    }
    assert everything(part) == pytest.approx(expected, abs=1e-6)
    # Behind the pooling, which is a layer of its own.
    assert {u.layer for u in incoming(net, "features.6.squeeze:1", k=999).units} == {"features.5"}
    # The input of this dropout is a concatenation again, and dropout has no effect here.
    assert len(incoming(net, "classifier.1:4", k=999)) == 512


def test_a_concatenation_that_no_layers_answer_is_its_container():
    net = nl.Network(Functional(), (3, 12, 12), False)
    found = everything(incoming(net, "c:1"))
    expected = net.model.c.weight[1].sum((1, 2))
    assert found == pytest.approx({f"join:{c}": float(w) for c, w in enumerate(expected.tolist())}, abs=1e-6)
    assert everything(incoming(net, "last:1")) == found


def test_a_layer_that_is_concatenated_twice_is_fed_by_both():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 2, 1), nn.Conv2d(4, 3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            a = self.a(x)
            return self.b(torch.cat([a, a], 1)).mean((2, 3))

    net = nl.Network(stirred(Twice()), (3, 9, 7), False)
    weight = net.model.b.weight[1].detach().sum((1, 2))
    expected = {"a:0": float(weight[0] + weight[2]), "a:1": float(weight[1] + weight[3])}
    assert everything(incoming(net, "b:1")) == pytest.approx(expected, abs=1e-6)


def test_residual_blocks():
    net = torchvision_network("resnet18")
    inside = incoming(net, "layer1.0.bn2:3", k=99)
    assert {u.layer for u in inside.units} == {"layer1.0.relu"}
    norm, conv = net.model.layer1[0].bn2, net.model.layer1[0].conv2
    scale = (norm.weight[3] / (norm.running_var[3] + norm.eps).sqrt()).item()
    expected = {f"layer1.0.relu:{c}": scale * float(w) for c, w in enumerate(conv.weight[3].sum((1, 2)).tolist())}
    assert everything(inside) == pytest.approx(expected, abs=1e-6)
    # The shared ReLU's second answer is no layer's but the block's.
    assert {u.layer for u in incoming(net, "layer1.1.conv1:3").units} == {"layer1.0"}
    assert {u.layer for u in incoming(net, "layer2.0.downsample.1:3").units} <= {"layer1", "layer1.1"}
    assert {u.layer for u in incoming(net, "fc:3").units} == {"avgpool"}
    # The block is the sum of what its last convolution gives and of what it reads.
    block = incoming(net, "layer1.0:3", k=99)
    assert everything(block) == pytest.approx({**expected, "maxpool:3": 1.0}, abs=1e-6)
    assert (block.through, block.share, block.notes) == ("layer1.0.conv2", 1.0, ())


@pytest.mark.parametrize(
    ("name", "unit", "layers"),
    [
        ("densenet121", "features.denseblock1.denselayer2.conv1:3", {"features.denseblock1.denselayer2.relu1"}),
        ("densenet121", "features.denseblock1.denselayer2.conv2:3", {"features.denseblock1.denselayer2.relu2"}),
        ("densenet121", "classifier:3", {"features", "features.norm5"}),
        ("googlenet", "inception3a.branch2.0.conv:3", {"maxpool2"}),
        ("googlenet", "fc:3", {"avgpool", "dropout"}),
        ("mobilenet_v3_small", "features.2.block.0.0:3", {"features.1", "features.1.block", "features.1.block.2.1"}),
        ("mobilenet_v3_small", "features.2.block.1.0:3", {"features.2.block.0.2", "features.2.block.0"}),
    ],
)
def test_torchvision(name, unit, layers):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nl.Network(getattr(torchvision.models, name)(weights=None, **({"init_weights": False, "aux_logits": False} if name == "googlenet" else {})))  # fmt: skip
    found = incoming(net, unit)
    assert {u.layer for u in found.units} <= layers
    assert found.alt_text


def test_inception_branches_are_the_sources_of_a_concatenation():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nl.Network(torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=False))
    found = incoming(net, "inception3b.branch1.conv:3", k=999)
    weight = net.model.inception3b.branch1.conv.weight[3, :, 0, 0].tolist()
    assert len(found) == 256
    # The branches end in a functional ReLU inside their container.
    names = [f"inception3a.branch{b}" + ("" if b == 1 else ".1") for b in (1, 2, 3, 4)]
    widths = [64, 128, 32, 32]
    expected = {}
    for name, width, start in zip(names, widths, np.cumsum([0, *widths]), strict=False):
        parent = name.removesuffix(".1")
        for c in range(width):
            found_name = f"{parent}:{c}" if f"{parent}:{c}" in everything(found) else f"{name}:{c}"
            expected[found_name] = weight[start + c]
    assert everything(found) == pytest.approx(expected, abs=1e-6)


def test_shuffled_channels_are_matched():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nl.Network(stirred(torchvision.models.shufflenet_v2_x0_5(weights=None)))
    found = incoming(net, "stage2.1.branch2.0:3", k=99)
    # Of the shuffled concatenation of two branches of 24 channels, the second half is read.
    weight = net.model.stage2[1].branch2[0].weight[3, :, 0, 0].tolist()
    branches = ("stage2.0.branch1", "stage2.0.branch2")
    layers = {b: {u.layer for u in found.units if u.layer.startswith(b)} for b in branches}
    last = {b: next(iter(names)) for b, names in layers.items()}
    expected = {}
    for i, w in enumerate(weight):
        position = 24 + i  # of the shuffled channels, 2 c + branch
        expected[f"{last[branches[position % 2]]}:{position // 2}"] = w
    assert everything(found) == pytest.approx(expected, abs=1e-6)


def test_transformers():
    torch.manual_seed(0)
    net = nl.Network(torchvision.models.VisionTransformer(24, 8, 2, 2, 16, 32, num_classes=5), (3, 24, 24), False)
    block = "encoder.layers.encoder_layer_0"
    first, second = (module for module in net.module(f"{block}.mlp") if isinstance(module, nn.Linear))
    found = incoming(net, f"{block}.mlp.0:5", k=99)
    assert everything(found) == pytest.approx(
        {f"{block}.ln_2:{c}": float(w) for c, w in enumerate(first.weight[5].tolist())}
    )
    found = incoming(net, f"{block}.mlp.3:5", k=99)
    assert {float(w) for w in found.weights} == set(second.weight[5].tolist())
    # The head reads the class token, which has no place.
    found, head = incoming(net, "heads.head:2", k=99), net.module("heads.head")
    assert {u.layer for u in found.units} <= {"encoder", "encoder.ln"}
    assert {u.channel: w for u, w in found} == pytest.approx(dict(enumerate(head.weight[2].tolist())))
    assert set(found.places) == {None}
    whole = incoming(net, f"{block}:5", k=99)
    assert everything(whole).keys() == {
        *(f"{block}.{layer}:{c}" for layer, count in (("mlp.2", 32), ("ln_1", 16)) for c in range(count)),
        "encoder.dropout:5",
    }  # fmt: skip
    assert whole.through == f"{block}.self_attention and {block}.mlp.3"
    normed = incoming(net, "encoder.layers.encoder_layer_1.ln_1:5", k=99)
    assert everything(normed) == pytest.approx(everything(whole)), "gamma is 1, and the scale is left out"
    assert normed.notes == (
        "the scale of layer_norm depends on the picture: only its own weights are folded in",
    )  # fmt: skip
    with pytest.raises(nl.LensError, match=r'conv_proj:3 reads the picture itself .*filters\(net, "conv_proj"\)'):
        incoming(net, "conv_proj:3")


def test_vectors():
    net = chain(nn.Linear(9, 6), nn.Sigmoid(), nn.Linear(6, 5), nn.Tanh(), shape=(9,))
    weight = net.model[2].weight[4]
    assert everything(incoming(net, "3:4")) == pytest.approx(
        {f"1:{c}": float(w) for c, w in enumerate(weight.tolist())}
    )
    with pytest.raises(nl.LensError, match=r'1:4 reads the input itself .*filters\(net, "0"\)\.weights\[4\]'):
        incoming(net, "1:4")


class Odd(nn.Module):
    """Convolutions as functions, with weights of their own and weights made from the picture."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.a, self.last = way, nn.Conv2d(3, 4, 3), nn.Identity()
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)
        self.kernel = nn.Parameter(torch.randn(5, 4, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        if self.way == "function":
            y = F.conv2d(weight=self.kernel, input=F.relu(y))
        elif self.way == "made":
            y = F.conv2d(y, self.kernel * x.mean())
        elif self.way == "norm":
            y = self.norm(F.conv2d(y, self.kernel[:4]))
        elif self.way == "between":
            y = F.conv2d(y.softmax(1), self.kernel)
        elif self.way == "places":
            y = F.linear(y, torch.eye(y.shape[-1]))
        elif self.way == "written":
            y = F.conv2d(y, self.kernel)
            y[:, 1] = 0
        return self.last(y).mean((2, 3))


def odd(way: str) -> nl.Network:
    torch.manual_seed(0)
    return nl.Network(Odd(way), (3, 7, 9), False)


def test_functions():
    net = odd("function")
    found = incoming(net, "last:2")
    assert everything(found) == pytest.approx(
        {f"a:{c}": float(w) for c, w in enumerate(net.model.kernel[2].flatten().tolist())}
    )
    assert found.through == "last"
    # A linear layer that mixes the places of each channel for itself, here not at all.
    assert everything(incoming(odd("places"), "last:2")) == pytest.approx({"a:2": 1.0})


@pytest.mark.parametrize(
    ("way", "match"),
    [
        ("made", r"last:1: the weights of conv2d are made from the picture; ask for a unit of a\."),
        ("norm", "no running statistics"),
        ("between", r"reads what softmax answers, which no layer gives as its own answer; ask for a unit of a\."),
        ("written", "it cannot be seen what makes it; ask for a unit of a"),
    ],
)
def test_what_is_no_weighted_sum_of_units_says_why(way, match):
    with pytest.raises(nl.LensError, match=match):
        incoming(odd(way), "last:1")


def test_mistakes_are_named():
    net = small()
    for layer in ("0", "1", "2"):
        with pytest.raises(
            nl.LensError, match=rf'{layer}:4 reads the picture itself through 0, .*\(net, "0"\)\.weights\[4\]'
        ):
            incoming(net, f"{layer}:4")
    np.testing.assert_array_equal(nl.filters(net, "0").weights[4], net.model[0].weight[4].detach())
    for k in (0, 1.5, True):
        with pytest.raises(nl.LensError, match="k is a whole number of units, 1 or more"):
            incoming(net, "3:1", k)
    with pytest.raises(nl.LensError, match=r'the last is "3:7"'):
        incoming(net, "3:8")
    pooled = chain(nn.MaxPool2d(2), nn.Conv2d(4, 3, 3))
    with pytest.raises(nl.LensError, match="0:1 is a part of the picture itself"):
        incoming(pooled, "0:1")
    assert {u.layer for u in incoming(pooled, "1:1").units} == {"0"}, (
        "the pooled picture is a layer, and can be asked for"
    )


def test_nothing_is_left_behind():
    net = torchvision_network("resnet18")
    before = state(net.model)
    incoming(net, "layer1.0.bn2:3")
    incoming(net, "layer1.0:3")
    with pytest.raises(nl.LensError, match="the picture itself"):
        incoming(net, "conv1:3")
    assert same(before, state(net.model))
    training = small()
    training.model.train()
    before = state(training.model)
    incoming(training, "3:1")
    assert same(before, state(training.model))
    failing = nl.Network(Failing(), (3, 8, 8), False)
    before = state(failing.model)
    failing.model.fails = True
    with pytest.raises(nl.LensError, match="the cable is out"):
        incoming(failing, "then:1")
    assert same(before, state(failing.model))


def test_the_figure_has_a_bar_per_unit():
    found = incoming(small(), "3:1")
    widths = [p.get_width() for p in found.figure().axes[0].patches]
    np.testing.assert_allclose(widths, found.weights)
    assert repr(found) == f"<{found.alt_text}>"
    assert found._repr_png_()[:4] == b"\x89PNG"
    incoming(torchvision_network("alexnet"), "classifier.1:3").figure()
