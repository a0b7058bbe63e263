"""Where channels and places are, in outputs that look like others: tokens, queries, flattened maps, windows, steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import zoo
from torch import nn

import nn_lens as nl


def read(net, layer):
    layout = net[layer].layout
    return layout.channels, layout.grid, layout.extra


class Queries(nn.Module):
    """100 object queries have no place in the picture, though 10 x 10 is 100."""

    def __init__(self):
        super().__init__()
        self.patches, self.queries = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.randn(100, 16))
        self.decoder, self.out = nn.TransformerDecoderLayer(16, 4, 32, batch_first=True), nn.Linear(16, 5)

    def forward(self, x):
        memory = self.patches(x).flatten(2).transpose(1, 2)
        return self.out(self.decoder(self.queries.expand(len(x), -1, -1), memory))


class Columns(nn.Module):
    """A picture becomes a sequence of its columns, as in reading lines of text."""

    def __init__(self):
        super().__init__()
        self.conv, self.along = nn.Conv2d(1, 8, 3, padding=1), nn.Conv1d(64, 64, 3, padding=1)
        self.act, self.cell, self.out = nn.ReLU(), nn.LSTM(64, 12), nn.Linear(12, 5)

    def forward(self, x):
        y = self.act(self.along(F.max_pool2d(self.conv(x), 8).flatten(1, 2)))  # (N, 64, 8)
        return self.out(self.cell(y.permute(2, 0, 1))[0][-1])  # the cell has steps first


class Mixer(nn.Module):
    """Flattened maps (N, channels, places), mixed over places and then over channels."""

    def __init__(self):
        super().__init__()
        self.patches, self.flat, self.places = nn.Conv2d(3, 20, 8, 8), nn.Flatten(2), nn.Linear(24, 24)
        self.act, self.channels, self.out = nn.GELU(), nn.Linear(20, 20), nn.Linear(20, 5)

    def forward(self, x):
        y = self.act(self.places(self.flat(self.patches(x))))
        return self.out(self.channels(y.transpose(1, 2)).mean(1))


class Registers(nn.Module):
    """A class token and some registers before the patches."""

    def __init__(self, extra):
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 16, 14, 14), nn.Parameter(torch.randn(extra, 16))
        self.norm, self.out = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.out(self.norm(torch.cat([self.token.expand(len(x), -1, -1), tokens], 1))[:, 0])


class Heads(nn.Module):
    """Attention by hand, whose maps of tokens by tokens have the proportions of the picture."""

    def __init__(self):
        super().__init__()
        self.patches, self.norm, self.drop = nn.Conv2d(3, 16, 8, 8), nn.LayerNorm(16), nn.Dropout(0.1)
        self.by_head, self.mix, self.out = nn.Identity(), nn.Linear(2, 2), nn.Linear(16, 5)

    def forward(self, x):
        tokens = self.norm(self.patches(x).flatten(2).transpose(1, 2))
        q = self.by_head(tokens.unflatten(2, (2, 8)).transpose(1, 2))  # (N, heads, tokens, 8)
        attention = self.drop((q @ q.transpose(2, 3)).softmax(-1))
        attention = self.mix(attention.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.out((attention @ q).transpose(1, 2).flatten(2).mean(1))


class Windows(nn.Module):
    """Windows of a map, each with its own places."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6), nn.GELU()
        self.wide, self.out = nn.Linear(6, 12), nn.Linear(12, 5)

    def forward(self, x):
        y = self.conv(x)  # (N, 6, 8, 8): four windows of 16 places
        y = y.unflatten(3, (2, 4)).unflatten(2, (2, 4)).permute(0, 2, 4, 3, 5, 1).flatten(1, 2).flatten(2, 3)
        return self.out(self.act(self.wide(self.norm(y))).mean((1, 2)))


@pytest.mark.parametrize(
    ("model", "shape", "layer", "expected"),
    [
        (Queries(), (3, 64, 64), "out", (5, (100,), 0)),
        (Queries(), (3, 64, 64), "patches", (16, (8, 8), 0)),
        (Columns(), (1, 64, 64), "along", (64, (8,), 0)),
        (Columns(), (1, 64, 64), "act", (64, (8,), 0)),
        (Columns(), (1, 64, 64), "cell", (12, (8,), 0)),
        (Mixer(), (3, 32, 48), "flat", (20, (4, 6), 0)),
        (Mixer(), (3, 32, 48), "places", (20, (4, 6), 0)),
        (Mixer(), (3, 32, 48), "act", (20, (4, 6), 0)),
        (Mixer(), (3, 32, 48), "channels", (20, (4, 6), 0)),
        *((Registers(extra), (3, 70, 84), "norm", (16, (5, 6), extra)) for extra in (1, 2, 4, 5, 8, 9)),
        (Heads(), (3, 64, 64), "norm", (16, (8, 8), 0)),
    ],
)
def test_channels_and_places(model, shape, layer, expected):
    assert read(nl.Network(model, shape, False), layer) == expected


@pytest.mark.parametrize(
    ("model", "layer", "why"),
    [
        (Heads(), "drop", "tokens by heads or by tokens"),
        (Heads(), "by_head", "tokens by heads or by tokens"),
        (Heads(), "mix", "tokens by heads or by tokens"),
        (Windows(), "wide", "lies on no grid"),
        (Windows(), "act", "lies on no grid"),
    ],
)
def test_what_has_no_places_says_so(model, layer, why):
    net = nl.Network(model, (3, 64, 64) if not isinstance(model, Windows) else (3, 32, 32), False)
    assert why in net[layer].reason
    with pytest.raises(nl.LensError, match=f"Layer '{layer}'.*cannot be shown"):
        nl.activations(net, torch.rand(net.input_shape), layer)


def plain(model, x, layer):
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.append(o))
    with torch.no_grad():
        model(x[None])
    handle.remove()
    return kept[0]


def test_numbers_of_rows_flats_and_steps_first():
    columns, mixer = Columns().eval(), Mixer().eval()
    x, y = torch.rand(1, 64, 64), torch.rand(3, 32, 48)
    net, other = nl.Network(columns, (1, 64, 64), False), nl.Network(mixer, (3, 32, 48), False)
    np.testing.assert_allclose(nl.activations(net, x, "along").maps, plain(columns, x, "along")[0], atol=1e-6)
    np.testing.assert_allclose(nl.activations(net, x, "cell").maps, plain(columns, x, "cell")[0][:, 0].T, atol=1e-6)
    np.testing.assert_allclose(
        nl.activations(other, y, "places").maps, plain(mixer, y, "places")[0].unflatten(1, (4, 6)), atol=1e-6
    )
    unit = nl.activations(net, x, "cell").top(1, at=(3,))[0][0]
    assert unit.place == (3,)
    assert str(unit).endswith("@3")


@pytest.mark.parametrize("name", ["signal", "volume", "lstm", "gru, steps first", "encoder", "table"])
def test_maps_of_every_kind_are_those_of_plain_torch(name):
    torch.manual_seed(0)
    model, given = zoo.NETWORKS[name]()
    net = nl.Network(model.eval(), **given)
    x = torch.rand(net.input_shape)
    shown = [layer for layer in net.layers if layer.reason is None]
    assert len(shown) >= 2
    for layer in shown:
        raw = plain(model, x, layer.name)
        raw = raw[0] if isinstance(raw, tuple) else raw
        raw = raw[:, 0] if name == "gru, steps first" and raw.ndim == 3 else raw[0]
        # (T, C) of steps, (C, *places) of all else, (C,) of vectors
        expected = raw.T if raw.ndim == 2 and net.kind == "sequence" else raw
        expected = expected[:, None, None] if expected.ndim == 1 else expected
        maps = nl.activations(net, x, layer.name).maps
        np.testing.assert_allclose(maps, expected, atol=1e-6)
        assert layer.layout.grid == maps.shape[1:]


def test_places_have_as_many_numbers_as_the_grid():
    net = nl.Network(zoo.volume(), (1, 8, 16, 20))
    assert net.unit("0:1@2,4,5").place == (2, 4, 5)
    with pytest.raises(
        nl.LensError, match=r'is 6x14x18, so a place in it has 3 numbers, such as "0:1@3,7,9"; got 0:1@4,5'
    ):
        net.unit("0:1@4,5")
    with pytest.raises(nl.LensError, match=r"is 6x14x18, so \(6, 0, 0\) is outside"):
        net.unit("0:1@6,0,0")
    assert nl.Network(zoo.signal(), (2, 200)).unit("0:1@199") == nl.Unit("0", 1, 199)


@pytest.mark.parametrize("lead", [0, 1, 4])
@pytest.mark.parametrize("shape", [(3, 32, 48), (1, 24, 24), (1, 8, 16, 24)])
def test_patches_that_a_reshape_cut_out_lie_on_their_grid(shape, lead):
    sides = tuple(n // 8 if len(shape) == 3 else n // 4 for n in shape[1:])
    side = 8 if len(shape) == 3 else 4
    model = nn.Sequential(
        zoo.Patches(side, lead), nn.Linear(side ** len(sides) * shape[0], 6), nn.Flatten(), nn.LazyLinear(3)
    )
    model(torch.zeros(1, *shape))
    net = nl.Network(model.eval(), shape)
    assert read(net, "0") == (side ** len(sides) * shape[0], sides, lead)
    assert read(net, "1") == (6, sides, lead)
    x = torch.rand(shape)
    moved = x.clone()
    moved[(slice(None), *[-1] * (len(sides) - 1), 0)] += 1  # the last row, the first column
    change = np.abs(nl.activations(net, moved, "1").maps - nl.activations(net, x, "1").maps).max(0)
    assert np.argwhere(change > 1e-6).tolist() == [[*(n - 1 for n in sides[:-1]), 0]]
    field = nl.receptive_field(net, "1")
    assert tuple(field.size) == (side,) * len(sides)


class Shuffled(nn.Module):
    """Patches column by column, so that their row is no grid of rows."""

    def forward(self, x):
        return zoo.Patches(8)(x.transpose(2, 3))


class Pixels(nn.Module):
    """As many tokens as a grid might have, each of which reads all of the picture."""

    def __init__(self):
        super().__init__()
        self.all = nn.Linear(3 * 32 * 48, 24 * 6)

    def forward(self, x):
        return self.all(x.flatten(1)).unflatten(1, (24, 6))


@pytest.mark.parametrize(("first", "numbers"), [(Shuffled(), 192), (Pixels(), 6)])
def test_other_rows_of_tokens_stay_rows(first, numbers):
    net = nl.Network(nn.Sequential(first, nn.Linear(numbers, 5), nn.Flatten(), nn.Linear(120, 3)).eval(), (3, 32, 48))
    assert read(net, "1") == (5, (24,), 0)


def test_unfolded_patches_lie_on_the_grid_of_the_tokens_made_of_them():
    class Unfolded(nn.Module):
        def __init__(self):
            super().__init__()
            self.cut, self.embed, self.head = nn.Unfold(8, stride=8), nn.Linear(192, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.head(self.embed(self.cut(x).transpose(1, 2)).mean(1))

    net = nl.Network(Unfolded().eval(), (3, 32, 48))
    assert read(net, "cut") == (192, (4, 6), 0)
    assert read(net, "embed") == (5, (4, 6), 0)
    maps = nl.activations(net, torch.rand(3, 32, 48), "cut").maps
    assert maps.shape == (192, 4, 6)
