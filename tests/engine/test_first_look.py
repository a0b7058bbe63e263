"""The first look at a network: which input it takes, that nothing of it is changed, and what cannot be looked into."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import zoo
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import nn_lens as nl

PICTURE = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(3))


# ---- which input ----


class Folding(nn.Module):
    """Flattens with a fixed number: of another picture size the surplus goes into the batch."""

    def __init__(self, at_the_start: bool) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8 * 7 * 7, 10)
        self.at_the_start = at_the_start

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.view(-1, 1, 28, 28) if self.at_the_start else x
        return self.out(F.max_pool2d(self.conv(x).relu(), 4).reshape(-1, 8 * 7 * 7))


@pytest.mark.parametrize("at_the_start", [False, True])
def test_a_size_whose_surplus_goes_into_the_batch_is_no_guess(at_the_start):
    model = Folding(at_the_start)
    net = nl.Network(model)
    assert net.input_shape == (1, 28, 28)
    picture = torch.rand(1, 28, 28)
    np.testing.assert_allclose(net.scores(picture), model.eval()(picture[None])[0].detach(), atol=1e-6)
    with pytest.raises(nl.LensError, match="not with one row for each"):
        nl.Network(model, (1, 56, 56))


@pytest.mark.parametrize(
    ("first", "shape", "kind"),
    [
        (nn.Conv1d(2, 3, 3), (2, 1024), "signal"),
        (nn.Conv2d(3, 4, 3), (3, 224, 224), "picture"),
        (nn.Conv3d(1, 2, 3), (1, 16, 112, 112), "volume"),
        (nn.LSTM(5, 4), (32, 5), "sequence"),
        (nn.Linear(7, 3), (7,), "vector"),
    ],
)
def test_the_first_layer_says_which_kind_of_input(first, shape, kind):
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = first

        def forward(self, x):
            y = self.first(x)
            return (y[0] if isinstance(y, tuple) else y).flatten(1)

    net = nl.Network(One())
    assert (net.input_shape, net.kind) == (shape, kind)


def test_a_kind_that_is_none_or_does_not_fit_is_named():
    model = zoo.signal()
    assert nl.Network(model, (2, 100)).kind == "signal"
    assert "read as a signal (channels, length)" in repr(nl.Network(model, (2, 100)))
    assert nl.Network(nn.Linear(3, 2), (5, 3)).kind == "sequence"
    with pytest.raises(nl.LensError, match="no kind of input 'sound'; it is one of"):
        nl.Network(model, (2, 100), kind="sound")
    with pytest.raises(nl.LensError, match=r"A picture is \(channels, height, width\); the input shape is \(2, 100\)"):
        nl.Network(model, (2, 100), kind="picture")
    for shape in ("wide", (), (0, 3), 5, (1, 2, 3, 4, 5)):
        with pytest.raises(nl.LensError, match=r"input_shape is|An input has 1 to 4 dimensions"):
            nl.Network(model, shape)


def test_ids_of_tokens_are_refused_with_the_way_out():
    with pytest.raises(nl.LensError, match=r"reads whole numbers.*inputs_embeds"):
        nl.Network(nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2)))


def test_several_inputs_are_made_of_one():
    model = zoo.Two().eval()
    with pytest.raises(nl.LensError, match=r"missing 1 required positional argument.*inputs=lambda x"):
        nl.Network(model, (3, 24, 32), False)
    meta = torch.tensor([[0.5, -1.0, 2.0]])
    for inputs in (
        lambda x: (x, meta.expand(len(x), -1)),
        lambda x: {"meta": meta.expand(len(x), -1), "picture": x},
    ):
        net = nl.Network(model, (3, 24, 32), False, inputs=inputs, output=1)
        np.testing.assert_allclose(net.scores(PICTURE), model(PICTURE[None], meta)[1][0].detach(), atol=1e-6)
        np.testing.assert_allclose(net.frozen_copy().scores(PICTURE), net.scores(PICTURE))
    with pytest.raises(nl.LensError, match="inputs is a callable"):
        nl.Network(model, (3, 24, 32), inputs=meta)


def test_a_model_that_is_one_layer_has_one():
    model = nn.Conv2d(3, 4, 3)
    net = nl.Network(model, (3, 9, 11))
    assert [layer.name for layer in net.layers] == ["Conv2d"]
    x = torch.rand(3, 9, 11)
    np.testing.assert_allclose(nl.activations(net, x, "Conv2d").maps, model(x[None])[0].detach(), atol=1e-6)
    np.testing.assert_array_equal(nl.filters(net, "Conv2d").weights, model.weight.detach())


# ---- nothing is changed ----


class Counting(nn.Module):
    """Keeps what it saw, in every way in which models do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("hidden", torch.zeros(3), persistent=False)
        self.loc = nn.Parameter(torch.zeros(1, 4, 1, 1))
        self.last, self.calls, self.kept, self.named = None, 0, [], {}
        self.plain = Plain()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        with torch.no_grad():
            if self.seen == 0:
                self.loc.copy_(-y.mean((0, 2, 3), keepdim=True))
            self.seen += 1
            self.hidden[0] += 1
        y = y + self.loc
        self.last, self.calls = y, self.calls + 1
        self.kept.append(y)
        self.named["y"] = y
        self.plain.total += 1
        return self.head(y.mean((2, 3))) * self.calls


class Plain:
    """No module, and yet a state."""

    def __init__(self) -> None:
        self.total = 0


def test_no_look_changes_a_model_that_keeps_what_it_saw():
    torch.manual_seed(0)
    model = Counting()
    before = copy.deepcopy(model.state_dict())
    ids = {name: (id(p), p.data_ptr(), p._version) for name, p in model.named_parameters()}
    expected = copy.deepcopy(model).eval()(PICTURE[None])[0].detach()
    net = nl.Network(model, (3, 24, 32), False)
    first, second = net.scores(PICTURE), net.scores(PICTURE)
    np.testing.assert_allclose(first, expected, atol=1e-6)
    np.testing.assert_array_equal(first, second)
    nl.activations(net, PICTURE, "conv")
    nl.attribute(net, PICTURE, 1, "saliency")
    nl.maximize(net, "conv:1", steps=2)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert {name: (id(p), p.data_ptr(), p._version) for name, p in model.named_parameters()} == ids
    assert (model.last, model.calls, model.kept, model.named, model.plain.total) == (None, 0, [], {}, 0)
    assert model.hidden.tolist() == [0, 0, 0]


def test_the_users_own_call_after_a_look_is_as_without_it():
    class Spiking(nn.Module):
        def __init__(self):
            super().__init__()
            self.v = None

        def forward(self, x):
            self.v = x if self.v is None else self.v * 0.9 + x
            return (self.v > 0.5).float()

    model = zoo.picture(nn.Linear(8, 4)).eval()
    model[2] = Spiking()
    net = nl.Network(model, (3, 24, 32), False)
    np.testing.assert_array_equal(net.scores(PICTURE), net.scores(PICTURE))
    assert model(torch.rand(5, 3, 24, 32)).shape == (5, 4)  # of another batch: its state was not of ours


def test_a_model_in_the_middle_of_something_goes_on_where_it_was():
    model = Counting()
    batch = torch.rand(2, 3, 24, 32)
    model(batch)
    last, kept = model.last, list(model.kept)
    net = nl.Network(model, (3, 24, 32), False)
    net.scores(PICTURE)
    assert model.last is last
    assert model.calls == 1
    assert len(model.kept) == 1
    assert model.kept[0] is kept[0]
    last.sum().backward()  # its graph is still there
    assert model.conv.weight.grad is not None


def test_layers_that_are_built_at_the_first_call_are_asked_for():
    class Built(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), None

        def forward(self, x):
            x = self.conv(x).flatten(1)
            if self.fc is None:
                self.fc = nn.Linear(x.shape[1], 4)
            return self.fc(x)

    model = Built()
    with pytest.raises(
        nl.LensError, match=r"builds layers at its first call \(fc\).*Run it once on an input of your own"
    ):
        nl.Network(model)
    assert model.fc is None
    model(torch.rand(1, 3, 24, 32))
    assert nl.Network(model, (3, 24, 32), False).scores(PICTURE).shape == (4,)
    lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(nl.LensError, match=r"built at their first call, such as '0\.weight'"):
        nl.Network(lazy, (3, 24, 32))
    assert isinstance(lazy[0], nn.LazyConv2d)


@pytest.mark.parametrize("arguments", [(3,), ("loader", 2)])
def test_a_train_method_of_its_own_is_never_called(arguments):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = zoo.picture(nn.Linear(8, 4))

        def forward(self, x):
            return self.body(x)

    def train(self, *_given):
        raise AssertionError("training began")

    Own.train = train
    net = nl.Network(Own(), (3, 24, 32), False)
    assert net.frozen_copy().scores(PICTURE).shape == (4,)
    assert nl.attribute(net, PICTURE, 1, "grad_cam").map.shape == (24, 32)


def test_a_copy_of_a_model_that_keeps_features_with_their_graph():
    model = Counting()
    model(torch.rand(2, 3, 24, 32))
    assert model.last.grad_fn is not None
    net = nl.Network(model, (3, 24, 32), False)
    np.testing.assert_allclose(net.frozen_copy().scores(PICTURE), net.scores(PICTURE), rtol=1e-5)
    assert model.last.grad_fn is not None


# ---- one picture, and several ----


@pytest.mark.parametrize(("classes", "how"), [(5, None), (1, 1), (1, None)])
def test_an_answer_that_loses_the_batch_of_one(classes, how):
    class Squeezing(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.out = zoo.picture(), nn.Linear(8, classes)

        def forward(self, x):
            y = self.out(self.body(x))
            return y.squeeze() if how is None else y.squeeze(how)

    model = Squeezing().eval()
    net = nl.Network(model, (3, 24, 32), False)
    expected = model.out(model.body(PICTURE[None]))[0].detach()
    np.testing.assert_allclose(net.scores(PICTURE), expected, atol=1e-6)
    assert nl.activations(net, PICTURE, "out").maps.shape == (classes, 1, 1)
    assert nl.ablate(net, [PICTURE], "body.3:1").after.shape == (1, classes)
    x = PICTURE[None].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.out(model.body(x))[0, 0], x)
    np.testing.assert_allclose(nl.attribute(net, PICTURE, 0, "saliency").map, gradient[0].abs().sum(0), atol=1e-6)


def test_a_network_whose_answer_depends_on_its_neighbours_runs_one_by_one():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, track_running_stats=False), nn.ReLU(), nn.Conv2d(6, 8, 3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    ).eval()  # fmt: skip
    net = nl.Network(model, (3, 24, 32), False)
    assert "one by one" in repr(net)
    assert net.batch_size() == 1
    pictures = [PICTURE, PICTURE * 0.1, 1 - PICTURE]
    alone = [model[:4](p[None])[0, 1].max().item() for p in pictures]
    with net.evaluation(), torch.no_grad():
        together = net.outputs(torch.stack(pictures), ["3"])["3"]
    np.testing.assert_allclose(together[:, 1].flatten(1).amax(1), alone, rtol=1e-5)
    top = nl.dataset_examples(net, "3:1", pictures, k=3, progress=False).top["3:1"]
    np.testing.assert_allclose(sorted(e.activation for e in top), sorted(alone), rtol=1e-5)


def test_a_random_forward_is_no_dependence_on_neighbours():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(4, 3)

        def forward(self, x):
            return self.out(x + torch.randn_like(x))

    assert nl.Network(Noisy(), (4,)).batch_size() == 256


@pytest.mark.parametrize("inside", [lambda x: (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True),
                                    lambda x: (x - x.amin((1, 2, 3), keepdim=True)) / (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))])  # fmt: skip
def test_networks_that_standardize_each_picture(inside):
    class Standardizing(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = zoo.picture(nn.Linear(8, 4))

        def forward(self, x):
            return self.body(inside(x))

    model = Standardizing().eval()
    net = nl.Network(model, (3, 24, 32), False)
    np.testing.assert_allclose(net.scores(PICTURE), model(PICTURE[None])[0].detach(), atol=1e-6)


def test_weights_that_are_no_numbers_can_be_looked_at():
    model = zoo.picture(nn.Linear(8, 4))
    nn.init.constant_(model[0].weight, torch.nan)
    net = nl.Network(model, (3, 24, 32), False)
    assert np.isnan(net.scores(PICTURE)).all()
    assert np.isnan(nl.filters(net, "0").weights).all()


# ---- wrapped, compiled, quantized ----


WRAPPED = {
    "compiled": lambda m: torch.compile(m, backend="eager"),
    "compiled in place": lambda m: m.compile(backend="eager") or m,
    "a compiled part": lambda m: nn.Sequential(torch.compile(m[:4], backend="eager"), m[4:]),
    "of several devices": nn.DataParallel,
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_give_the_same_maps(name):
    torch.manual_seed(0)
    plain = zoo.picture(nn.Linear(8, 4)).eval()
    expected = plain[:4](PICTURE[None])[0].detach()
    model = WRAPPED[name](plain)
    model(PICTURE[None])  # compiled by now
    net = nl.Network(model, (3, 24, 32), False)
    net.scores(PICTURE)
    layer = next(layer.name for layer in net.layers if layer.output_shape == tuple(expected.shape))
    np.testing.assert_allclose(nl.activations(net, PICTURE, layer).maps, expected, atol=1e-6)
    strongest = int(expected.amax((1, 2)).argmax())
    unit = f"{layer}:{strongest}"
    top = nl.dataset_examples(net, unit, [PICTURE, PICTURE / 20], k=1, progress=False).top[unit]
    np.testing.assert_allclose(top[0].activation, expected[strongest].max(), rtol=1e-5)
    assert nl.ablate(net, [PICTURE], unit).delta.any()
    np.testing.assert_allclose(net.frozen_copy().scores(PICTURE), net.scores(PICTURE), atol=1e-6)


NORMED = {
    "parametrized weight norm": parametrizations.weight_norm,
    "parametrized spectral norm": parametrizations.spectral_norm,
    "weight norm": weight_norm,
    "spectral norm": spectral_norm,
    "pruned": lambda m: prune.l1_unstructured(m, "weight", 0.5),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NORMED)
@pytest.mark.parametrize("layer", ["conv", "linear", "transposed"])
def test_filters_are_the_weights_that_the_layer_works_with(name, layer):
    torch.manual_seed(0)
    made = {"conv": nn.Conv2d(6, 5, 3), "linear": nn.Linear(6, 5), "transposed": nn.ConvTranspose2d(6, 4, 3, groups=2)}
    wrapped = NORMED[name](made[layer])
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    parts = [nn.Conv2d(3, 6, 3), *head, wrapped] if layer == "linear" else [nn.Conv2d(3, 6, 3), wrapped, *head]
    model = nn.Sequential(*parts).eval()
    net = nl.Network(model, (3, 24, 32), False)
    assert not any("parametrizations" in one.name for one in net.layers)
    weight = wrapped.weight.detach()
    own = nl.filters(net, "3" if layer == "linear" else "1").weights
    if layer == "transposed":  # (in, out / groups, kH, kW): unit 1 is the second of the first group, which reads 0 to 2
        assert own.shape == (4, 3, 3, 3)
        np.testing.assert_allclose(own[1], weight[:3, 1])
        np.testing.assert_allclose(own[2], weight[3:, 0])
    else:
        np.testing.assert_allclose(own.reshape(weight.shape), weight)
    np.testing.assert_allclose(net.scores(PICTURE), model(PICTURE[None])[0].detach(), atol=1e-6)
    net.frozen_copy()


@pytest.mark.filterwarnings("ignore")
def test_a_quantized_network_is_read_in_numbers():
    import torch.ao.quantization as q

    class Quantized(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.body, self.d = q.QuantStub(), zoo.picture(nn.Linear(8, 4)), q.DeQuantStub()

        def forward(self, x):
            return self.d(self.body(self.q(x)))

    model = Quantized().eval()
    model.qconfig = q.get_default_qconfig("fbgemm")
    q.prepare(model, inplace=True)
    model(torch.rand(4, 3, 24, 32))
    q.convert(model, inplace=True)
    net = nl.Network(model, (3, 24, 32), False)
    expected = model.body[:4](model.q(PICTURE[None])).dequantize()[0]
    np.testing.assert_allclose(nl.activations(net, PICTURE, "body.3").maps, expected)
    np.testing.assert_allclose(nl.filters(net, "body.3").weights, model.body[3].weight().dequantize())
    off = nl.ablate(net, [PICTURE], [f"body.3:{c}" for c in range(8)]).after[0]
    zero = torch.quantize_per_tensor(
        torch.zeros(1, 8, 10, 14), model.body[3].scale, model.body[3].zero_point, torch.quint8
    )
    np.testing.assert_allclose(off, model.d(model.body[4:](zero))[0], atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_refused_whole_and_passed_over_in_parts():
    plain = zoo.picture(nn.Linear(8, 4)).eval()
    for made in (torch.jit.script(plain), torch.jit.trace(plain, PICTURE[None])):
        with pytest.raises(nl.LensError, match=r"is TorchScript, which cannot be looked into.*Load the Python model"):
            nl.Network(made, (3, 24, 32))
    net = nl.Network(nn.Sequential(torch.jit.script(plain[:3]), plain[3:]), (3, 24, 32), False)
    assert net.layers[0].name == "1.3"  # the first that is not compiled
    np.testing.assert_allclose(
        nl.activations(net, PICTURE, "1.3").maps, plain[:4](PICTURE[None])[0].detach(), atol=1e-6
    )
