"""Contributions: which units an answer comes from, and from where in the input they take it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import Closed, Failing, same, small, squeezenet, state
from reference.contributing import by_unit, output_and_gradient, part_of_input
from reference.planted import BLOCK, OTHER, STRIPES, inside, picture, planted
from torch import nn
from torch.nn import functional as F
from zoo import NETWORKS, Vision

import nn_lens as nl


@pytest.fixture(scope="module")
def net() -> nl.Network:
    return nl.Network(planted(), (1, 24, 32), False, ["block", "stripes", "neither"])


# ---- a network whose units are known ----


def test_the_units_that_decide_a_class_are_named_with_what_they_add(net):
    for target, unit, adds in (("block", BLOCK, 1.5), ("stripes", STRIPES, 2.0)):
        found = nl.contributions(net, picture(), target, "1")
        assert str(found.units[0]) == f"1:{unit}"
        # By hand: the unit answers 0.5 at one place, and counts 3 or 4 times that.
        assert found.values[0] == pytest.approx(adds, abs=1e-5)
        np.testing.assert_allclose(np.delete(found.by_channel, unit), 0, atol=1e-6)
        assert found.total == pytest.approx(adds, abs=1e-5)
        assert found.rest == pytest.approx({"block": 0.1, "stripes": -0.2}[target], abs=1e-5)
        assert found.score == pytest.approx(adds + found.rest, abs=1e-6)
    nothing = nl.contributions(net, picture(block=None), "block", "1")
    np.testing.assert_allclose(nothing.values, 0, atol=1e-6)


@pytest.mark.parametrize(("block", "stripes"), [((4, 5), (17, 24)), ((12, 20), (5, 8))])
def test_a_units_part_lies_on_its_evidence_where_its_stretched_map_does_not(net, block, stripes):
    x = picture(block, stripes)
    for target, unit, corner in (("block", BLOCK, block), ("stripes", STRIPES, stripes)):
        found = nl.contributions(net, x, target, "1", k=1)
        part = np.abs(found.maps[0])
        assert part[inside(corner)].sum() > 0.99 * part.sum() > 0
        activation = found.activations[unit]  # as large as the picture, so stretching leaves it
        assert activation.max() == pytest.approx(0.5, abs=1e-5)
        assert activation[inside(corner)].sum() == 0
    # Of a unit that nobody asks there is no part, wherever it answers.
    assert not np.abs(next(nl.contributions(net, x, "block", "1").each_map([f"1:{OTHER}"]))).any()


def test_this_rather_than_that_has_a_unit_for_and_one_against(net):
    found = nl.contributions(net, picture(), ("stripes", "block"), "1")
    assert [found.units[0].channel, found.units[-1].channel] == [STRIPES, BLOCK]
    np.testing.assert_allclose(found.values[[0, -1]], [2.0, -1.5], atol=1e-5)
    assert found.rest == pytest.approx(-0.3, abs=1e-5)
    assert found.target == "stripes rather than block"
    part = next(found.each_map([f"1:{BLOCK}"]))
    assert part[inside((4, 5))].sum() < 0
    assert np.abs(part[inside((4, 5))]).sum() > 0.99 * np.abs(part).sum()


def test_the_control_is_the_network_with_shuffled_weights(net):
    found = nl.contributions(net, picture(), "block", "1", k=2)
    twin = nl.contributions(nl.randomized(net), picture(), "block", "1", k=2, control=False)
    np.testing.assert_array_equal(found.control.by_channel, twin.by_channel)
    assert found.control.units == twin.units
    np.testing.assert_array_equal(found.control.maps, twin.maps)
    assert found.control.control is None
    assert -1 <= found.similarity_to_control <= 1
    assert twin.similarity_to_control is None


# ---- sums before linear heads ----


def test_sums_are_exact_before_the_head_of_the_bundled_network(demo):
    for name, sample in demo.samples.items():
        best = demo.class_index(demo.predict(sample, 1)[0][0])
        found = nl.contributions(demo, sample, best, "pool4", control=False)
        bias = float(demo.model.classifier.bias[best].detach())
        assert found.rest == pytest.approx(bias, abs=1e-4), name
        assert found.values.sum() == pytest.approx(found.total, abs=1e-4)


def test_sums_are_exact_before_the_head_of_a_residual_network_and_of_a_transformer():
    torch.manual_seed(0)
    model, options = NETWORKS["residual"]()
    found = nl.contributions(
        nl.Network(model, normalize=False, **options), torch.rand(3, 20, 24), 2, "2", control=False
    )
    assert found.rest == pytest.approx(float(model[5].bias[2].detach()), abs=1e-4)
    vision = Vision()
    net = nl.Network(vision, (3, 32, 48), False)
    found = nl.contributions(net, torch.rand(3, 32, 48), 1, "norm", control=False)
    # The head reads the class token alone, which has no place in the maps.
    assert found.rest == pytest.approx(float(vision.head.bias[1].detach()), abs=1e-4)
    assert found.activations.shape == (16, 4, 6)


def test_sums_are_exact_before_the_head_of_squeezenet(material):
    net = squeezenet(material, labels="imagenet")
    sample = material / "images" / "coffee.png"
    found = nl.contributions(net, sample, "espresso", "features.12", k=8)
    with torch.no_grad():
        x = net.normalized(net.picture(sample)[None])
        before = net.model.classifier[1](net.model.features(x))[0, net.class_index("espresso")]
    # Its head is a convolution, rectified, whose bias counts where it lets through.
    bias = float(net.model.classifier[1].bias[net.class_index("espresso")].detach())
    assert found.rest == pytest.approx(bias * float((before > 0).float().mean()), abs=1e-4)
    assert found.values[0] > 2 * found.control.values[0]


# ---- every kind of network, against plain torch ----


@pytest.mark.parametrize("name", NETWORKS)
def test_values_of_every_kind_of_network(name):
    torch.manual_seed(3)
    model, options = NETWORKS[name]()
    net = nl.Network(model, normalize=False, **options)
    draw = torch.rand if net.kind in ("picture", "volume") else torch.randn
    x = draw(*net.input_shape)
    at = {"at": (3, 5)} if net.output_kind == "dense" else {}
    arguments = options.get("inputs", lambda x: x)(x[None])

    def run():
        answer = model(*arguments) if isinstance(arguments, tuple) else model(arguments)
        return answer[options["output"]] if "output" in options else answer

    def target(answer):
        return answer[0, 0, 3, 5] if at else answer[0, 0]

    before = state(model)
    shown = [layer.name for layer in net.layers if layer.reason is None]
    for layer in shown[:1] + shown[-4:]:
        found = nl.contributions(net, x, 0, layer, control=False, **at)
        assert same(before, state(model))
        flags = [m.training for m in model.modules()]
        model.eval()
        output, gradient = output_and_gradient(model, run, net.module(layer), target)
        for module, flag in zip(model.modules(), flags, strict=True):
            module.training = flag
        expected = by_unit(net, layer, output * gradient).numpy()
        np.testing.assert_allclose(found.by_channel, expected, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found.values, np.sort(found.by_channel)[::-1])
        assert found.score == pytest.approx(found.total + found.rest)
        own = x.shape[1:] if net.kind in ("picture", "signal", "volume") else x.shape
        assert next(found.each_map(found.units[:1])).shape == tuple(own)
        assert same(before, state(model))
    nl.contributions(net, x, 0, shown[0], k=2, **at)._repr_png_()


@pytest.mark.parametrize("layer", [1, 3])
def test_parts_of_the_input_are_the_mean_over_noisy_copies(layer):
    net = small()
    model = net.model.eval()
    x = torch.rand(3, 20, 28, generator=torch.Generator().manual_seed(1))
    found = nl.contributions(net, x, 1, str(layer), k=3, seed=5)
    noise = torch.randn(4, 3, 20, 28, generator=torch.Generator().manual_seed(5)) * 0.1 * float(x.max() - x.min())
    _, gradient = output_and_gradient(model, lambda: model(x[None]), model[layer], lambda a: a[0, 1])
    for unit, map_ in zip(found.units, found.maps, strict=True):
        expected = part_of_input(model, x, layer, unit.channel, gradient, noise).sum(0)
        np.testing.assert_allclose(map_, expected, rtol=1e-3, atol=1e-6)
    again = nl.contributions(net, x, 1, str(layer), k=3, seed=5)
    np.testing.assert_array_equal(found.maps, again.maps)


def test_a_unit_is_a_target_too_so_that_one_can_walk_back():
    net = small()
    x = torch.rand(3, 20, 28)
    found = nl.contributions(net, x, "4:2@1,2", "1", k=4, control=False)
    maps = net.model[1](net.model[0](x[None])).detach().requires_grad_()
    value = net.model[4](net.model[3](net.model[2](maps)))[0, 2, 1, 2]
    (gradient,) = torch.autograd.grad(value, maps)
    np.testing.assert_allclose(found.by_channel, (maps * gradient)[0].sum((1, 2)).detach(), rtol=1e-3, atol=1e-6)
    assert found.target == "4:2@1,2"


# ---- awkward models ----


class NoCopy(nn.Module):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.conv(x)).mean((2, 3)))

    def __deepcopy__(self, _memo):
        raise RuntimeError("there is one of me")


def test_a_model_that_cannot_be_copied_has_no_control_and_says_so():
    net = nl.Network(NoCopy(), (3, 9, 12), False)
    found = nl.contributions(net, torch.rand(3, 9, 12), 1, "conv", k=2)
    assert found.control is None
    assert "no control: NoCopy cannot be copied: RuntimeError: there is one of me" in found.alt_text
    assert found.maps.shape == (2, 9, 12)
    assert nl.contributions(net, torch.rand(3, 9, 12), 1, "conv", control=False).note == ""


def test_channels_last_and_half_open_networks():
    net = small()
    x = torch.rand(3, 20, 28)
    expected = nl.contributions(net, x, 1, "3", control=False)
    net.model.to(memory_format=torch.channels_last)
    found = nl.contributions(nl.Network(net.model, (3, 20, 28), False), x, 1, "3", control=False)
    np.testing.assert_allclose(found.by_channel, expected.by_channel, rtol=1e-4, atol=1e-6)

    net = nl.Network(Closed(), (3, 12, 15), False)
    found = nl.contributions(net, torch.rand(3, 12, 15), 1, "then", k=1, control=False)
    assert found.values.shape == (1,)
    with pytest.raises(nl.LensError, match=r"from the input to layer 'then': no gradient comes through"):
        found.maps  # noqa: B018


def test_what_was_wrong_is_named():
    net, x = small(), torch.rand(3, 20, 28)
    before = state(net.model)
    for k in (0, 2.5, True):
        with pytest.raises(nl.LensError, match="k is a whole number of units, 1 or more, or None for all"):
            nl.contributions(net, x, 1, "3", k)
    with pytest.raises(nl.LensError, match=r"Layer '4' is not before 3:1@.*; layers before it are 0, 1, 2"):
        nl.contributions(net, x, "3:1", "4")
    with pytest.raises(nl.LensError, match="There is no layer 'nine'"):
        nl.contributions(net, x, 1, "nine")
    with pytest.raises(nl.LensError, match="classes 0 to 3, not 9"):
        nl.contributions(net, x, 9, "3")
    with pytest.raises(nl.LensError, match="These are contributions of '3', to which 1:2 does not belong"):
        list(nl.contributions(net, x, 1, "3").each_map(["1:2"]))
    assert same(before, state(net.model))
    found = nl.contributions(net, x, 1, "3", k=1)
    with torch.no_grad():
        net.model[0].weight.mul_(2)
    with pytest.raises(nl.LensError, match="The weights have changed since"):
        found.maps  # noqa: B018
    failing, x = nl.Network(Failing(), (3, 6, 7), False), torch.rand(3, 6, 7)
    failing.model.fails, kept = True, state(failing.model)
    with pytest.raises(nl.LensError, match="the cable is out"):
        nl.contributions(failing, x, 1, "conv")
    assert same(kept, state(failing.model))


def test_result_says_what_it_shows(net):
    found = nl.contributions(net, picture(), "block", "1", k=3)
    assert repr(found) == f"<{found.alt_text}>"
    assert found.alt_text.startswith("The 5 units of 1 add 1.5 to the 1.6 of block, first 1:1 +1.5, ")
    assert "; the rest is +0.1; with shuffled weights 1:" in found.alt_text
    figure = found.figure()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0] == "block\nscore 1.6"
    assert "1:1\nadds +1.5" in titles
    assert found._repr_png_()[:4] == b"\x89PNG"
