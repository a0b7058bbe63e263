"""Random small architectures that nobody thought of: their numbers are those of plain torch."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

import nn_lens as nl

FEW = settings(
    max_examples=12, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


class Join(nn.Module):
    """Two ways from the same input, summed or concatenated, with an upsampling or attention on the way."""

    def __init__(self, kind: str, channels: int) -> None:
        super().__init__()
        self.kind = kind
        self.way = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        if kind == "attention":
            self.attention = nn.MultiheadAttention(channels, 1, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.way(x))
        if self.kind == "residual":
            return F.relu(x + y)
        if self.kind == "concat":
            return torch.cat([x, y], 1)
        if self.kind == "upsample":
            return F.interpolate(F.max_pool2d(y, 2, ceil_mode=True), x.shape[2:], mode="nearest") + x
        tokens = y.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)


@st.composite
def networks(draw):
    """A network of three to six parts in eval mode, its statistics and weights random, and an input shape."""
    torch.manual_seed(draw(st.integers(0, 10**6)))
    channels = first = draw(st.integers(1, 4))
    parts: list[nn.Module] = []
    for _ in range(draw(st.integers(3, 6))):
        kind = draw(
            st.sampled_from(
                ["conv", "depthwise", "norm", "relu", "pool", "residual", "concat", "upsample", "attention"]
            )
        )
        if kind == "conv":
            wanted, size = draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 3]))
            stride, dilation = draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from([1, 2]))
            parts.append(nn.Conv2d(channels, wanted, size, stride, draw(st.integers(0, 1)), dilation))
            channels = wanted
        elif kind == "depthwise":
            parts.append(nn.Conv2d(channels, 2 * channels, 3, padding=1, groups=channels))
            channels *= 2
        elif kind == "norm":
            parts.append(draw(st.sampled_from([nn.BatchNorm2d(channels), nn.GroupNorm(1, channels)])))
        elif kind == "relu":
            parts.append(draw(st.sampled_from([nn.ReLU(), nn.GELU(), nn.LeakyReLU(0.2)])))
        elif kind == "pool":
            parts.append(draw(st.sampled_from([nn.MaxPool2d(2), nn.AvgPool2d(3, 2, 1)])))
        else:
            parts.append(Join(kind, channels))
            channels *= 2 if kind == "concat" else 1
    model = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    shape = first, draw(st.integers(24, 34)), draw(st.integers(24, 34))
    return model.eval(), shape


def kept(model, x, layer, change=None):
    """What a layer answers, and what the model does, by a plain hook; change: makes another output of it."""
    found = []

    def hook(_module, _inputs, output):
        found.append((output[0] if isinstance(output, tuple) else output).clone())
        return None if change is None else change(output)

    handle = model.get_submodule(layer).register_forward_hook(hook)
    answer = model(x)
    handle.remove()
    return found[0], answer


@FEW
@given(networks())
def test_activations_filters_and_ablation(made):
    model, shape = made
    net, x = nl.Network(model, shape, False), torch.rand(shape)
    with torch.no_grad():
        np.testing.assert_allclose(net.scores(x), model(x[None])[0], rtol=1e-3, atol=1e-5)
        shown = [layer for layer in net.layers if layer.reason is None]
        for layer in shown:
            raw, _ = kept(model, x[None], layer.name)
            module = model.get_submodule(layer.name)
            maps = nl.activations(net, x, layer.name).maps
            expected = raw[0] if raw.ndim == 4 else raw[0].reshape(*raw[0].shape, 1, 1)
            np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-4)
            if isinstance(module, nn.Conv2d):
                np.testing.assert_array_equal(nl.filters(net, layer.name).weights, module.weight)
        for layer in shown[:: max(1, len(shown) // 3)]:
            channel = layer.channels // 2

            def off(output, channel=channel):
                new = output.clone()
                new[:, channel] = 0
                return new

            _, answer = kept(model, x[None], layer.name, off)
            own = nl.ablate(net, [x], f"{layer.name}:{channel}", controls=0).after
            np.testing.assert_allclose(own, answer, rtol=1e-3, atol=1e-4)


def mixes_places(model, name):
    """Whether attention stands before or in a layer: then every place sees all."""
    for other, module in model.named_modules():
        if isinstance(module, (nn.MultiheadAttention, nn.GroupNorm)):
            return True
        if other == name:
            return False
    return False


@FEW
@given(networks())
def test_receptive_fields_hold_all_that_has_a_gradient(made):
    model, shape = made
    net = nl.Network(model, shape, False)
    x = torch.rand(1, *shape, requires_grad=True)
    for layer in net.layers:
        grid = layer.layout.grid if layer.reason is None else (1, 1)
        if grid == (1, 1) or mixes_places(model, layer.name):
            continue
        field = nl.receptive_field(net, layer.name)
        for place in ((0, 0), (grid[0] // 2, grid[1] // 2), (grid[0] - 1, grid[1] - 1)):
            raw, _ = kept(model, x, layer.name)
            (gradient,) = torch.autograd.grad(raw[0][(slice(None), *place)].sum(), x)
            seen = gradient[0].abs().sum(0).nonzero()
            if len(seen):
                low, high = seen.min(0).values, seen.max(0).values + 1
                box = field.box(*place)
                assert all(box[i] <= low[i] for i in (0, 1)), (layer, place)
                assert all(high[i] <= box[2 + i] for i in (0, 1)), (layer, place)


@FEW
@given(networks())
def test_incoming_weights_are_what_a_unit_gains(made):
    """Of a convolution: adding 1 to what it reads of a channel of another layer adds the weight in the middle."""
    model, shape = made
    net, x = nl.Network(model, shape, False), torch.rand(1, *shape)
    said: list[str] = []
    for layer in net.layers:
        module = model.get_submodule(layer.name)
        if not isinstance(module, nn.Conv2d) or min(layer.layout.grid) < 5:
            continue
        unit = nl.Unit(layer.name, layer.channels - 1)
        try:
            feeds = nl.incoming(net, unit, k=3)
        except nl.LensError as error:
            said.append(str(error))
            continue
        read = []
        handle = module.register_forward_pre_hook(lambda _m, inputs, read=read: read.append(inputs[0]))
        with torch.no_grad():
            model(x)
        handle.remove()
        middle = tuple(n // 2 for n in layer.layout.grid)
        for source, weight in feeds:
            with torch.no_grad():
                own, _ = kept(model, x, source.layer)
            if own.shape[2:] != read[0].shape[2:]:
                continue  # pooled on the way
            channels = [c for c in range(read[0].shape[1]) if torch.allclose(read[0][0, c], own[0, source.channel])]
            if len(channels) != 1:
                continue  # rectified on the way, or twice there
            more = read[0].clone()
            more[:, channels[0]] += 1
            with torch.no_grad():
                gained = (module(more) - module(read[0]))[(0, unit.channel, *middle)]
            np.testing.assert_allclose(gained, weight, rtol=1e-2, atol=1e-3)
    assert all("reads the picture itself" in why or "which no layer gives" in why for why in said), said
