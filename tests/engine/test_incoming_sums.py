"""What feeds a unit through sums, normalization and attention: weights against autograd with everything else held."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nn_lens as nl


def held(net: nl.Network, target: str, sources: list[str], channel: int) -> dict[str, float]:
    """By autograd: what the mean of a unit's map gains where a channel of one source grows by 1, the others held."""
    torch.manual_seed(7)
    given = {name: torch.rand(1, *net[name].output_shape, requires_grad=True) for name in sources}
    out: list[torch.Tensor] = []
    with ExitStack() as stack:
        for name, tensor in given.items():
            hook = net.model.get_submodule(name).register_forward_hook(lambda m, i, o, tensor=tensor: tensor * 1)
            stack.callback(hook.remove)
        stack.callback(net.model.get_submodule(target).register_forward_hook(lambda m, i, o: out.append(o)).remove)
        net.model(torch.rand(1, *net.input_shape))
    value = net[target].layout.maps(out[0])[0, channel].mean()
    gradients = torch.autograd.grad(value, list(given.values()))
    found = {}
    for name, gradient in zip(sources, gradients, strict=True):
        maps = net[name].layout.maps(gradient)[0].flatten(1).sum(1)
        found |= {f"{name}:{c}": float(g) for c, g in enumerate(maps)}
    return found


def check(net: nl.Network, target: str, sources: list[str], channel: int = 2) -> nl.Incoming:
    found = nl.incoming(net, f"{target}:{channel}", k=999)
    weights = {str(unit): weight for unit, weight in found}
    expected = held(net, target, sources, channel)
    assert {u.layer for u in found.units} == set(sources)
    for name, weight in expected.items():
        assert weights.get(name, 0.0) == pytest.approx(weight, abs=1e-5), name
    assert list(np.abs(found.weights)) == sorted(np.abs(found.weights), reverse=True)
    return found


class Block(nn.Module):
    """Rectified answers, two ways on from them, and a sum of them all in one way or another; circular, so that no border counts."""

    def __init__(self, join: Callable[..., torch.Tensor], dimensions: int = 2) -> None:
        super().__init__()
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
        norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dimensions - 1]
        ring = {"padding": 1, "padding_mode": "circular"}
        self.join, self.gamma = join, nn.Parameter(torch.randn(5, *[1] * dimensions))
        self.first, self.relu = conv(3, 5, 3, **ring), nn.ReLU()
        self.a, self.norm, self.b = conv(5, 5, 3, **ring), norm(5), conv(5, 5, 1)
        self.inner, self.out, self.end = nn.ReLU(), nn.Identity(), nn.Linear(5, 3)
        nn.init.uniform_(self.norm.running_var, 0.3, 3)
        nn.init.normal_(self.norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.first(x))
        z = self.out(self.join(self, self.norm(self.a(self.inner(self.b(y)))), y))
        return self.end(z.flatten(2).mean(2))


def block(join: Callable[..., torch.Tensor], dimensions: int = 2) -> nl.Network:
    torch.manual_seed(0)
    shape = (3, *(6, 7, 8)[:dimensions])
    return nl.Network(Block(join, dimensions).eval(), shape, False)


JOINS: dict[str, Callable[..., torch.Tensor]] = {
    "add": lambda m, a, y: a + y,
    "in place": lambda m, a, y: a.add_(y, alpha=0.5),
    "statement": lambda m, a, y: torch.relu_(a.__iadd__(y) + 100),
    "difference": lambda m, a, y: a - y,
    "from a number": lambda m, a, y: 1 - (y - 2 * a),
    "list": lambda m, a, y: sum([a, y, y]),
    "stack": lambda m, a, y: torch.stack([a, y]).sum(0),
    "mean of a stack": lambda m, a, y: torch.stack([a, y, y], -1).mean(-1),
    "layer scale": lambda m, a, y: m.gamma * a + y / 4,
    "nested": lambda m, a, y: (a + (y - y / 3)) + m.b(y),
    "dropped": lambda m, a, y: F.dropout(a, 0.3, m.training) + -y,
    "constant": lambda m, a, y: a + y + m.gamma,
    "padded and cut": lambda m, a, y: F.pad(a + y, (1, 2, 2, 1))[..., 2:-1, 1:-2],
}  # fmt: skip


@pytest.mark.parametrize("name", JOINS)
def test_summands_are_followed_with_their_signs_and_factors(name):
    found = check(block(JOINS[name]), "out", ["inner", "relu"])
    assert found.share == 1
    assert found.notes == ()
    assert found.through.split(" and ")[0] == "a"


@pytest.mark.parametrize("dimensions", [1, 3])
def test_signals_and_volumes(dimensions):
    check(block(JOINS["add"], dimensions), "out", ["inner", "relu"])


def test_a_norm_of_a_weight_is_the_root_of_the_squares():
    net = block(JOINS["add"])
    found = nl.incoming(net, "out:2", k=99)
    norm = dict(zip(map(str, found.units), found.norms.tolist(), strict=True))
    scale = (net.model.norm.weight / (net.model.norm.running_var + net.model.norm.eps).sqrt()).detach()
    kernels = net.model.a.weight.detach()[2] * scale[2]
    assert norm == pytest.approx({f"inner:{c}": float(kernels[c].norm()) for c in range(5)} | {"relu:2": 1.0})


def test_two_branches_of_one_layer_add_up():
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.a, self.b, self.out = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 1), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.first(x).tanh()
            return self.out(self.a(y) + self.b(y)).mean((2, 3))

    torch.manual_seed(0)
    net = nl.Network(Both(), (3, 5, 6), False)
    weights = (net.model.a.weight + net.model.b.weight).detach()
    found = nl.incoming(net, "out:1")
    assert {str(u): w for u, w in found} == pytest.approx({f"first:{c}": float(weights[1, c]) for c in range(4)})
    assert found.through == "a and b"


def test_a_summand_that_others_read_too_is_a_unit_of_its_own():
    check(block(lambda m, a, y: a + a / 4 - y), "out", ["norm", "relu"])


def test_a_product_with_the_picture_is_not_followed():
    net = block(lambda m, a, y: a + y * y.mean((2, 3), keepdim=True).sigmoid())
    noise = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = net.model.relu(net.model.first(noise))
        a = net.model.norm(net.model.a(net.model.inner(net.model.b(y))))
        gated = (y * y.mean((2, 3), keepdim=True).sigmoid())[0, 2].abs().mean()
        expected = float(a[0, 2].abs().mean() / (a[0, 2].abs().mean() + gated))
    found = nl.incoming(net, "out:2")
    assert found.share == pytest.approx(expected, abs=1e-5)
    assert {u.layer for u in found.units} == {"inner"}
    assert found.notes == (
        f"not followed, {1 - expected:.0%}: it is a product with what is made from the picture (mul)",
    )  # fmt: skip
    assert found.alt_text.endswith(f"{expected:.0%} of it could be followed")
    gate = block(lambda m, a, y: a * y.sigmoid())
    with pytest.raises(
        nl.LensError, match=r"product with what is made from the picture \(mul\); ask for a unit of norm"
    ):
        nl.incoming(gate, "out:2")


@pytest.mark.parametrize("name", ["GroupNorm", "LayerNorm", "InstanceNorm", "RMSNorm", "written out"])
def test_of_a_norm_by_the_pictures_own_numbers_gamma_is_folded_in(name):
    def written(x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.conv, self.out = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1), nn.Identity()
            norms = {
                "GroupNorm": lambda: nn.GroupNorm(2, 6), "LayerNorm": lambda: nn.LayerNorm(6),
                "InstanceNorm": lambda: nn.InstanceNorm2d(6, affine=True), "RMSNorm": lambda: nn.RMSNorm(6),
            }  # fmt: skip
            self.norm = norms[name]() if name in norms else None
            if self.norm is not None:
                nn.init.normal_(self.norm.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(self.first(x).relu())
            if self.norm is None:
                y = written(y)
            elif name in ("LayerNorm", "RMSNorm"):
                y = self.norm(y.movedim(1, 3)).movedim(3, 1)
            else:
                y = self.norm(y)
            return self.out(y).mean((2, 3))

    torch.manual_seed(0)
    net = nl.Network(Normed(), (3, 5, 6), False)
    scale = 1.0 if net.model.norm is None else net.model.norm.weight[1].item()
    weights = net.model.conv.weight.detach()[1].flatten() * scale
    found = nl.incoming(net, "out:1")
    assert {str(u): w for u, w in found} == pytest.approx({f"first:{c}": float(weights[c]) for c in range(4)})
    if net.model.norm is not None:
        (note,) = found.notes
        assert "depends on the picture" in note


# ---- attention ----


class Attention(nn.Module):
    """Self-attention written in several ways; `held`, if set, is what queries and keys are made of."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.held = way, None
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)
        self.whole = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        other = x if self.held is None else self.held
        if self.way == "module":
            return self.whole(other, other, x, need_weights=False)[0]
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        if self.held is not None:
            q, k, _ = self.qkv(other).reshape(batch, tokens, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        if self.way == "function":
            y = F.scaled_dot_product_attention(q, k, v)
        elif self.way == "product":
            y = (q * 0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        else:
            pattern = torch.einsum("bhqd,bhkd->bhqk", q, k).softmax(-1)
            y = torch.einsum("bhqk,bhkd->bhqd", pattern, v)
        return self.proj(self.norm(y.transpose(1, 2).reshape(batch, tokens, width)))


class Transformer(nn.Module):
    def __init__(self, way: str) -> None:
        super().__init__()
        self.patches, self.ln, self.attention = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), Attention(way)
        self.out, self.head = nn.Identity(), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.out(x + self.attention(self.ln(x))).mean(1))


@pytest.mark.parametrize("way", ["module", "function", "product", "einsum"])
def test_attention_is_followed_to_what_its_values_are_made_of(way):
    torch.manual_seed(0)
    net = nl.Network(Transformer(way).eval(), (3, 12, 16), False)
    found = nl.incoming(net, "out:3", k=99)
    assert {u.layer for u in found.units} == {"ln", "patches"}
    weights = {str(unit): weight for unit, weight in found}
    assert weights["patches:3"] == pytest.approx(1)
    assert set(found.places) == {None}
    source = torch.rand(1, 12, 8, requires_grad=True)
    attention = net.model.attention
    attention.held = source.detach()
    attention(source)[0, :, 3].mean().backward()
    for c, gradient in enumerate(source.grad[0].sum(0).tolist()):
        assert weights[f"ln:{c}"] == pytest.approx(gradient, abs=1e-5)
    through = {"module": "attention.whole", "function": "attention.proj after attention.qkv"}
    assert found.through == through.get(way, "attention.proj after attention.qkv")
    assert found.share == 1
    attention.held = None
    # By hand, of the first output: the sum over heads of output weights times value weights.
    if way == "function":
        product = (attention.proj.weight @ attention.qkv.weight[16:]).detach()
        assert weights["ln:0"] == pytest.approx(float(product[3, 0]), abs=1e-5)


def test_torchs_own_encoder_layer():
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 5)
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.layer(self.patches(x).flatten(2).transpose(1, 2)).mean(1))

    torch.manual_seed(0)
    net = nl.Network(Encoder().eval(), (3, 12, 16), False)
    found = nl.incoming(net, "layer:3", k=99)
    assert {u.layer for u in found.units} == {"layer.dropout", "layer.norm1", "patches"}
    assert {str(u): w for u, w in found}["patches:3"] == pytest.approx(1)
    second = net.model.layer.linear2.weight[3].tolist()
    assert {u.channel: w for u, w in found if u.layer == "layer.dropout"} == pytest.approx(dict(enumerate(second)))


def test_places_have_as_many_numbers_as_the_grid():
    torch.manual_seed(0)
    signal = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 6, 4))
    volume = nn.Sequential(nn.Conv3d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 24, 4))
    for model, shape, grid in ((signal, (2, 8), (6,)), (volume, (1, 3, 4, 5), (2, 3, 4))):
        found = nl.incoming(nl.Network(model, shape, False), "3:1")
        weight = model[3].weight.detach()[1].view(3, -1)
        for (unit, value), place in zip(found, found.places, strict=True):
            assert value == pytest.approx(float(weight[unit.channel].sum()), abs=1e-6)
            best = int(weight[unit.channel].abs().argmax())
            assert place == tuple(np.unravel_index(best, grid))
        assert found.figure().axes


class Mixed(nn.Module):
    """Adds to tokens what two linear layers make of them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.a(x) + self.b(x)


class Tokens(nn.Module):
    """Blocks over tokens that are cut into windows, which no layer gives as units: each makes the ways back threefold."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.first, self.relu, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 1)
        self.blocks = nn.Sequential(*(Mixed() for _ in range(blocks)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.first(x))
        windows = x.unflatten(2, (2, 8)).unflatten(4, (2, 8)).permute(0, 2, 4, 3, 5, 1).reshape(len(x), 4, 64, 4)
        windows = self.blocks(windows).reshape(len(x), 2, 2, 8, 8, 4)
        return self.last(windows.permute(0, 5, 1, 3, 2, 4).reshape(len(x), 4, 16, 16))


def test_too_many_ways_are_refused_and_a_layer_is_named_that_can_be_asked():
    torch.manual_seed(0)
    net = nl.Network(Tokens(9), (3, 16, 16), False)
    assert net["blocks.0.a"].reason is not None
    with pytest.raises(
        nl.LensError, match=r"feed last:1: there are too many ways.*cannot be read.*; ask for a unit of first"
    ):
        nl.incoming(net, "last:1")
    few = nl.incoming(nl.Network(Tokens(1), (3, 16, 16), False), "last:1")
    assert {unit.layer for unit in few.units} == {"relu"}
