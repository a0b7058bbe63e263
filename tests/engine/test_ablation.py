"""Ablation: what it changes, what it leaves alone, and the control beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from models import Failing, Functional, same, small, squeezenet, state, torchvision_network
from PIL import Image
from reference.ablating import scores_with, times
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import nn_lens as nl
from nn_lens.engine.evidence.ablation import ablate
from nn_lens.engine.network import capture


def pictures(n: int = 5, shape: tuple[int, ...] = (3, 20, 28), seed: int = 0) -> torch.Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def planted() -> nl.Network:
    """Bright pictures are of class 1, dark ones of class 0, and unit "1:2" alone says so."""
    model = nn.Sequential(
        nn.Conv2d(1, 6, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
    )
    with torch.no_grad():
        model[0].weight.fill_(0.1)
        model[0].bias.zero_()
        model[0].weight[2], model[0].bias[2] = 10, -5
        model[4].weight.zero_()
        model[4].weight[1, 2] = 1
        model[4].bias.copy_(torch.tensor([0.5, 0, -9]))
    return nl.Network(model, (1, 7, 9), False)


def planted_pictures() -> tuple[torch.Tensor, list[int]]:
    levels = torch.tensor([0.1, 0.9, 0.2, 0.8, 1.0])
    return levels.view(-1, 1, 1, 1).expand(5, 1, 7, 9).clone(), [0, 1, 0, 1, 1]


def test_the_one_unit_that_decides_a_class_flips_it_and_others_do_not():
    net = planted()
    x, classes = planted_pictures()
    found = ablate(net, x, "1:2", targets=classes)
    assert found.before.argmax(1).tolist() == classes
    assert found.after.argmax(1).tolist() == [0] * 5
    # By hand: class 1 answers 10 x - 5, rectified; without the unit, nothing.
    np.testing.assert_allclose(found.delta[:, 1], [0, -4, 0, -3, -5], atol=1e-5)
    np.testing.assert_array_equal(found.delta[:, [0, 2]], 0)
    assert found.accuracy_change == pytest.approx(-0.6)
    assert found.per_class == {0: 0.0, 1: -1.0}
    assert found.control.accuracy_change == 0
    np.testing.assert_array_equal(found.control.delta, 0)
    np.testing.assert_array_equal(found.control.accuracy_changes, np.zeros(5))
    assert all(len(draw) == 1 and draw[0].channel != 2 for draw in found.control.units)
    other = ablate(net, x, "1:4", targets=classes)
    assert other.accuracy_change == 0
    assert any(draw[0].channel == 2 for draw in other.control.units) == (other.control.accuracy_change < 0)


def test_control_is_the_mean_of_ablating_its_units():
    net, x = small(), pictures()
    classes = [0, 1, 2, 3, 0]
    found = ablate(net, x, ["3:1", "0:4"], 0.5, classes, controls=3, seed=7)
    alone = [ablate(net, x, list(draw), 0.5, classes, controls=0) for draw in found.control.units]
    np.testing.assert_allclose(found.control.delta, np.mean([a.delta for a in alone], 0), atol=1e-6)
    np.testing.assert_allclose(found.control.mean_deltas, [a.delta.mean(0) for a in alone], atol=1e-6)
    np.testing.assert_allclose(found.control.accuracy_changes, [a.accuracy_change for a in alone], atol=1e-9)
    assert found.control.accuracy_change == pytest.approx(np.mean([a.accuracy_change for a in alone]))
    for draw in found.control.units:
        assert sorted(u.layer for u in draw) == ["0", "3"]
        assert not {str(u) for u in draw} & {"3:1", "0:4"}
    again = ablate(net, x, ["3:1", "0:4"], 0.5, classes, controls=3, seed=7)
    assert again.control.units == found.control.units
    assert ablate(net, x, ["3:1", "0:4"], 0.5, controls=3, seed=8).control.units != found.control.units


def test_control_of_places_is_other_channels_at_the_same_places():
    found = ablate(small(), pictures(2), ["3:1@1,2", "3:1@0,0", "3:5"])
    for a, b, c in found.control.units:
        assert (a.place, b.place, c.place) == ((1, 2), (0, 0), None)
        assert a.channel == b.channel != c.channel
        assert not {a.channel, c.channel} & {1, 5}


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0, -1.0])
@pytest.mark.parametrize(("unit", "layer"), [("0:3", 0), ("1:3", 1), ("3:7", 3), ("5:2", 5), ("6:2", 6), ("8:1", 8)])
def test_scores_are_those_of_changing_the_layer_by_hand(unit, layer, scale):
    net, x = small(), pictures()
    found = ablate(net, x, unit, scale, controls=0)
    expected = scores_with(net.model.eval(), x, layer, times(nl.Unit.parse(unit).channel, scale))
    np.testing.assert_allclose(found.after, expected, atol=1e-6)
    np.testing.assert_allclose(found.before, net.model(x).detach(), atol=1e-6)
    assert found.after.dtype == found.before.dtype == found.delta.dtype == np.float32


@pytest.mark.parametrize("place", [(0, 0), (1, 0), (1, 3)])
def test_a_unit_with_a_place_is_changed_there_only(place):
    net, x = small(), pictures()
    found = ablate(net, x, nl.Unit("3", 4, *place), 3.0)
    expected = scores_with(net.model.eval(), x, 3, times(4, 3.0, place))
    np.testing.assert_allclose(found.after, expected, atol=1e-6)
    assert np.abs(found.delta).max() > 0
    both = ablate(net, x, ["3:4", nl.Unit("3", 4, *place), "3:4"], 3.0, controls=0)
    np.testing.assert_array_equal(both.after, ablate(net, x, "3:4", 3.0, controls=0).after)


class Oblong(nn.Module):
    """Channels-last in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3)
        self.norm = nn.LayerNorm(6)
        self.lin = nn.Linear(6, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.lin(self.norm(self.conv(x).permute(0, 2, 3, 1)))
        return self.head(y.relu().mean((1, 2)))


def test_channels_last():
    torch.manual_seed(0)
    net, x = nl.Network(Oblong(), (4, 9, 13), False), pictures(3, (4, 9, 13))
    model = net.model
    for unit in ("lin:2", "lin:2@3,7"):
        with torch.no_grad():
            y = model.lin(model.norm(model.conv(x).permute(0, 2, 3, 1)))
            where = (slice(None), slice(None)) if "@" not in unit else (3, 7)
            y[:, where[0], where[1], 2] = 0
            expected = model.head(y.relu().mean((1, 2)))
        np.testing.assert_allclose(ablate(net, x, unit).after, expected, atol=1e-6)


def vit() -> nl.Network:
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(24, 8, 2, 2, 16, 32, num_classes=5)
    nn.init.normal_(model.heads.head.weight)
    return nl.Network(model, (3, 24, 24), False)


def test_tokens():
    net, x = vit(), pictures(3, (3, 24, 24))
    layer = "encoder.layers.encoder_layer_0"
    first, last = net.model.encoder.layers
    for place in (None, (1, 2)):
        found = ablate(net, x, nl.Unit(layer, 3, *(place or (None, None))))
        with net.evaluation(), torch.no_grad():
            tokens = net.model._process_input(x)
            tokens = torch.cat([net.model.class_token.expand(3, -1, -1), tokens], 1) + net.model.encoder.pos_embedding
            tokens = first(tokens)
            if place is None:
                tokens[:, :, 3] = 0  # the class token's too
            else:
                tokens[:, 1 + 3 * place[0] + place[1], 3] = 0
            expected = net.model.heads(net.model.encoder.ln(last(tokens))[:, 0])
        np.testing.assert_allclose(found.after, expected, atol=1e-5)
        assert np.abs(found.delta).max() > 1e-4
    # Attention has a fast way that it takes only where there are no hooks.
    once = ablate(net, x, f"{layer}:3", 1.0)
    np.testing.assert_array_equal(once.before, once.after)


@pytest.mark.parametrize(
    "net", [small(), nl.Network(Functional(), (3, 20, 28), False), torchvision_network("resnet18")]
)
def test_times_one_changes_nothing_bit_for_bit_and_nothing_is_left(net):
    x = pictures(2, net.input_shape)
    names = [layer.name for layer in net.layers if layer.reason is None]
    before = state(net.model)
    found = ablate(net, x, [nl.Unit(name, 1) for name in names], 1.0, controls=1)
    np.testing.assert_array_equal(found.before, found.after)
    np.testing.assert_array_equal(found.control.delta, 0)
    ablate(net, x, [nl.Unit(name, 1) for name in names])
    assert same(before, state(net.model))


class Statement(nn.Module):
    """Rectifies with a module in place, and forgets its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        self.relu(y)
        return y.mean((2, 3))


def test_inplace_rectifiers_as_statements():
    torch.manual_seed(0)
    net, x = nl.Network(Statement(), (3, 7, 9), False), pictures(3, (3, 7, 9))
    for unit in ("relu:1", "conv:1"):
        found = ablate(net, x, unit)
        np.testing.assert_array_equal(found.after[:, 1], 0)
        np.testing.assert_array_equal(found.delta[:, [0, 2, 3]], 0)
        assert (found.before[:, 1] > 0).all()


def test_a_module_that_is_called_twice_is_changed_at_its_first_call():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.relu = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.relu(self.b(self.relu(self.a(x)))).mean((2, 3))

    torch.manual_seed(0)
    net, x = nl.Network(Twice(), (3, 5, 7), False), pictures(2, (3, 5, 7))
    model = net.model
    with torch.no_grad():
        first = model.a(x).relu()
        first[:, 1] = 0
        expected = model.b(first).relu().mean((2, 3))
    np.testing.assert_allclose(ablate(net, x, "relu:1").after, expected, atol=1e-6)
    # Twice in a row: the second pass starts over.
    np.testing.assert_allclose(ablate(net, torch.cat([x] * 40), "relu:1").after, expected.repeat(40, 1), atol=1e-6)


def test_a_residual_sum_keeps_what_the_other_branch_has():
    net = torchvision_network("resnet18")
    x = pictures(2, net.input_shape)
    seen = []
    handle = net.model.layer1[0].register_forward_hook(lambda m, i, o: seen.append((i[0].clone(), o.clone())))
    try:
        ablate(net, x, "maxpool:5", controls=0)
        ablate(net, x, "layer1.0.bn2:5", controls=0)
    finally:
        handle.remove()
    (_, whole), (entered, _), (_, _), (skip, out) = seen
    assert (entered[:, 5] == 0).all()
    # Without its own branch the sum is what the skip connection brings, rectified; other channels are as they were.
    torch.testing.assert_close(out[:, 5], skip[:, 5].relu())
    torch.testing.assert_close(out[:, :5], whole[:, :5])


def test_vectors():
    torch.manual_seed(0)
    net = nl.Network(nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)), (7,), False)
    x = torch.rand(11, 7)
    found = ablate(net, x, "1:2", targets=[0, 1, 2] * 3 + [0, 1])
    np.testing.assert_allclose(found.after, scores_with(net.model, x, 1, times(2, 0.0)), atol=1e-6)
    assert len(found.figure().axes[0].patches) == 2 * 3
    assert found.alt_text.startswith("switching off 1:2 moves the mean score of class")


def test_off_is_zero_even_where_the_layer_is_infinite():
    net = small()
    with torch.no_grad():
        net.model[8].bias[1] = torch.inf
    assert (ablate(net, pictures(2), "8:1", controls=0).after[:, 1] == 0).all()


class Pairs(Dataset):
    def __len__(self) -> int:
        return 7

    def __getitem__(self, i: int) -> tuple[Image.Image, int]:
        rgb = np.full((20, 28, 3), 30 * i, np.uint8)
        return Image.fromarray(rgb), i % 3


def test_sources_of_pictures_and_targets(tmp_path):
    net, x = small(), pictures()
    classes = [3, 0, 1, 1, 2]
    whole = ablate(net, x, "3:1", targets=classes)
    for source in (list(x), dict(enumerate(x)), x.numpy()):
        np.testing.assert_array_equal(ablate(net, source, "3:1", targets=torch.tensor(classes)).after, whole.after)
    own = ablate(net, TensorDataset(x, torch.tensor(classes)), "3:1")
    assert own.accuracy_change == whole.accuracy_change
    np.testing.assert_array_equal(own.targets, classes)
    one = ablate(net, x[2], "3:1", targets=1)
    np.testing.assert_allclose(one.after, whole.after[2:3], atol=1e-6)
    assert ablate(net, Pairs(), "3:1").per_class.keys() == {0, 1, 2}
    shuffled = DataLoader(TensorDataset(x, torch.zeros(5)), batch_size=2, sampler=[4, 0, 2])
    np.testing.assert_array_equal(ablate(net, shuffled, "3:1", targets=classes).targets, [2, 3, 1])
    for i in range(3):
        Image.fromarray(np.full((20, 28, 3), 60 * i, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    folder = ablate(net, tmp_path, "3:1", targets=[0, 1, 2, 3])
    np.testing.assert_array_equal(folder.targets, [0, 1, 2])
    assert len(folder.skipped) == 1
    assert "1 could not be read" in folder.alt_text
    assert ablate(net, tmp_path, "3:1").accuracy_change is None
    assert ablate(net, tmp_path, "3:1").per_class is None


def test_batches_do_not_matter_and_progress_is_told():
    net, x = small(), pictures(70)
    told = []
    whole = ablate(net, x, "3:1", targets=[0] * 70, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(32, 70), (64, 70), (70, 70)]
    parts = [ablate(net, x[i : i + 7], "3:1", targets=[0] * 7) for i in range(0, 70, 7)]
    np.testing.assert_allclose(whole.after, np.concatenate([p.after for p in parts]), atol=1e-6)
    np.testing.assert_allclose(whole.control.delta, np.concatenate([p.control.delta for p in parts]), atol=1e-6)
    assert whole.accuracy_change == pytest.approx(np.mean([p.accuracy_change for p in parts]))


def test_nothing_is_left_after_an_exception():
    net = nl.Network(Failing(), (3, 8, 8), False)
    before = state(net.model)
    net.model.fails = True
    with pytest.raises(nl.LensError, match="the cable is out"):
        ablate(net, pictures(2, (3, 8, 8)), "conv:1")
    assert same(before, state(net.model))
    net.model.fails = False
    with pytest.raises(ZeroDivisionError), capture.replace_outputs(net.runner, {"conv": lambda t: t}):
        raise ZeroDivisionError
    assert same(before, state(net.model))


def test_mistakes_are_named():
    net, x = small(), pictures()
    for scale in (np.nan, np.inf, "much", None):
        with pytest.raises(nl.LensError, match=r"scale is a finite number: 0 switches off.* got"):
            ablate(net, x, "3:1", scale)
    with pytest.raises(nl.LensError, match="targets has 3 entries for 5 pictures"):
        ablate(net, x, "3:1", targets=[0, 1, 2])
    with pytest.raises(nl.LensError, match="The network has classes 0 to 3, not 4"):
        ablate(net, x, "3:1", targets=[0, 1, 2, 3, 4])
    with pytest.raises(nl.LensError, match="classes 0 to 3, not -1"):
        ablate(net, TensorDataset(x, torch.tensor([0, 0, 0, 0, -1])), "3:1")
    with pytest.raises(nl.LensError, match="There is no class 'cat'"):
        ablate(net, x[0], "3:1", targets="cat")
    with pytest.raises(nl.LensError, match=r"index or a label, got 1\.5"):
        ablate(net, x[0], "3:1", targets=1.5)
    with pytest.raises(nl.LensError, match="list of units is empty"):
        ablate(net, x, [])
    with pytest.raises(nl.LensError, match=r'the last is "3:7"'):
        ablate(net, x, "3:8")
    with pytest.raises(nl.LensError, match="no layer 'conv'"):
        ablate(net, x, ["3:1", "conv:8"])
    with pytest.raises(nl.LensError, match="7 is no unit"):
        ablate(net, x, 7)
    with pytest.raises(nl.LensError, match="controls is a whole number"):
        ablate(net, x, "3:1", controls=-1)
    with pytest.raises(nl.LensError, match="not with one score per class"):
        ablate(boxes_network(), x, "a:1")

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(list(x))

    with pytest.raises(nl.LensError, match="known length"):
        ablate(net, Stream(), "3:1", targets=[0] * 5)
    assert len(ablate(net, Stream(), "3:1").after) == 5


def boxes_network() -> nl.Network:
    """It answers with rows of numbers, as detectors do: neither one score per class nor one at each place."""

    class Boxes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.a(x).flatten(2).transpose(1, 2)

    return nl.Network(Boxes(), (3, 20, 28), False)


def test_without_other_units_there_is_no_control():
    net, x = small(), pictures(3)
    found = ablate(net, x, [f"3:{c}" for c in range(5)])
    assert found.control is None
    assert "no control: layer 3 has 3 other units, too few for as many as 5" in found.alt_text
    found.figure()
    none = ablate(net, x, "3:1", controls=0)
    assert none.control is None
    assert "no control: none was asked for" in none.alt_text


def test_labels_and_the_figure(demo):
    found = ablate(demo, list(demo.samples.values()), "relu3:5", targets=list(demo.labels)[: len(demo.samples)])
    assert found.labels == demo.labels
    most = demo.labels[np.abs(found.delta.mean(0)).argmax()]
    assert most in found.alt_text
    axes = found.figure().axes[0]
    names = [t.get_text() for t in axes.get_yticklabels()]
    assert names[-1] == most
    # Bars of the units first, then of the control, the largest at the top.
    widths = [p.get_width() for p in axes.patches]
    expected = found.delta.mean(0)[np.argsort(-np.abs(found.delta.mean(0)), kind="stable")[:10][::-1]]
    np.testing.assert_allclose(widths[:10], expected, atol=1e-6)
    assert repr(found) == f"<{found.alt_text}>"
    assert found._repr_png_()[:4] == b"\x89PNG"


def test_a_real_network(material):
    """Switching off the units that answer a photo most changes its scores more than random others do."""
    net = squeezenet(material)
    cat = Image.fromarray(np.asarray(nl.demo().samples["cat"]))
    strongest = [unit for unit, _ in nl.activations(net, cat, "features.12").top(10)]
    found = ablate(net, cat, strongest)
    assert np.abs(found.delta).mean() > 2 * np.abs(found.control.mean_deltas).mean()
    assert found.before.shape == (1, 1000)
