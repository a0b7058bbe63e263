"""Dataset examples: equal to looking at everything, from any source, in bounded memory, and resumable."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import material_network, small
from PIL import Image
from reference.sorting import extremes
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import nn_lens as nl
from nn_lens.engine.evidence.extremes import Extremes
from nn_lens.engine.evidence.reservoir import Reservoir
from nn_lens.engine.pictures.datasets import source_of


def pictures(n: int = 23, shape: tuple[int, ...] = (3, 20, 28), seed: int = 0) -> torch.Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def whole_maps(net: nl.Network, x: torch.Tensor, layer: str) -> np.ndarray:
    return np.stack([nl.activations(net, picture, layer).maps for picture in x])


@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize("score", ["max", "mean"])
def test_both_ends_are_those_of_a_full_sort(k, score):
    net, x = small(), pictures()
    found = nl.dataset_examples(net, "3", x, k=k, score=score, progress=False)
    maps = whole_maps(net, x, "3")
    values = maps.max((2, 3)) if score == "max" else maps.mean((2, 3))
    assert found.count == len(x)
    for unit in found.units:
        for highest, side in ((True, found.top[unit]), (False, found.bottom[unit])):
            expected = extremes(values[:, unit.channel].tolist(), list(range(len(x))), k, highest)
            assert [e.index for e in side] == [i for i, _ in expected]
            np.testing.assert_allclose([e.activation for e in side], [v for _, v in expected], rtol=1e-4, atol=1e-6)
            for e in side:
                assert maps[e.index, unit.channel, e.row, e.column] == pytest.approx(
                    maps[e.index, unit.channel].max(), abs=1e-5
                )


def test_streams_with_ties_nan_and_a_short_last_batch():
    generator = np.random.default_rng(0)
    values = generator.integers(-3, 4, (57, 4)).astype(np.float32)
    values[generator.random((57, 4)) < 0.2] = np.nan
    values[:, 3] = np.nan
    values[4, 2], values[5, 2] = -np.inf, np.inf
    order = generator.permutation(57)
    stream = Extremes(4, 10, seed=0)
    for start in range(0, 57, 8):
        chunk = order[start : start + 8]
        stream.add(torch.from_numpy(values[chunk]), chunk.tolist())
    for unit in range(4):
        for side, highest in ((stream.top, True), (stream.bottom, False)):
            expected = extremes(values[:, unit].tolist(), list(range(57)), 10, highest)
            found = [
                (int(i), float(v))
                for i, v in zip(side.indices[unit], side.values[unit], strict=True)
                if i != torch.iinfo(torch.int64).max and i < 1000
            ]
            assert found == expected, (unit, highest)


def test_the_sample_is_uniform_and_bounded():
    stream = Reservoir(1, 500, seed=3)
    for start in range(0, 20_000, 1000):
        numbers = torch.arange(start, start + 1000)
        stream.add(numbers[:, None].float(), numbers)
    assert stream.values.shape == (500, 1)
    assert (stream.values[:, 0].long() == stream.indices).all()
    assert len(set(stream.indices.tolist())) == 500
    quarters = np.bincount((stream.indices.numpy() // 5000), minlength=4)
    assert (abs(quarters - 125) < 4 * np.sqrt(500 * 0.25 * 0.75)).all()


def test_a_sample_stays_what_it_was_when_its_rows_are_written_over():
    stream = Reservoir(2, 50, seed=0)
    moments, copies = [], []
    for start in range(0, 600, 7):
        numbers = torch.arange(start, start + 7)
        stream.add(torch.stack([numbers, -numbers], 1).float(), numbers)
        moments.append(stream.sample())
        copies.append((stream.values.clone().numpy(), stream.indices.clone().numpy()))
    assert moments[-1].count == 50
    for moment, (values, numbers) in zip(moments, copies, strict=True):
        np.testing.assert_array_equal(moment.column(0), values[:, 0])
        np.testing.assert_array_equal(moment.column(1), values[:, 1])
        np.testing.assert_array_equal(moment.indices, numbers)


@pytest.mark.parametrize("once", [False, True])
def test_earlier_steps_stay_what_they_were(once):
    """Each step of a pass equals the whole pass over the pictures that were seen so far."""
    net, x = small(), pictures(200)
    steps = list(nl.dataset_examples_steps(net, "3", Once200() if once else x, k=4))
    assert len(steps) > 3
    for step in steps:
        alone = nl.dataset_examples(net, "3", x[: step.count], k=4, progress=False)
        for unit in alone.units:
            for a, b in ((step.top, alone.top), (step.bottom, alone.bottom)):
                assert [e.index for e in a[unit]] == [e.index for e in b[unit]]
                assert [(e.row, e.column) for e in a[unit]] == [(e.row, e.column) for e in b[unit]]
                assert a[unit][0].patch.shape == b[unit][0].patch.shape
            np.testing.assert_allclose(step.quantiles(unit), alone.quantiles(unit), rtol=1e-4, atol=1e-6)
            assert [e.index for e in step.spectrum(unit)] == [e.index for e in alone.spectrum(unit)] or once


def test_quantiles_histogram_and_percentile():
    net, x = small(), pictures(41)
    found = nl.dataset_examples(net, ["3:2", "3:4"], x, progress=False)
    values = whole_maps(net, x, "3")[:, 2].max((1, 2))
    assert found.exact
    np.testing.assert_allclose(found.quantiles("3:2", [0, 0.3, 1]), np.quantile(values, [0, 0.3, 1]), rtol=1e-5)
    counts, edges = found.histogram("3:2", 7)
    assert counts.sum() == 41
    assert len(edges) == 8
    np.testing.assert_allclose(edges[[0, -1]], [values.min(), values.max()], rtol=1e-5)
    assert found.percentile("3:2", float(values.max()) + 1) == 100
    assert found.percentile("3:2", float(np.median(found.values("3:2")))) == pytest.approx(50, abs=0.1)
    assert found.active("3:2") == pytest.approx((values > 0).mean())


class Fifth(Dataset):
    """Pictures with targets, of which one in five is broken."""

    def __len__(self):
        return 15

    def __getitem__(self, index):
        if index % 5 == 4:
            return b"no picture", index
        return pictures()[index], index


class Once(IterableDataset):
    def __iter__(self):
        return iter(pictures())


class Once200(IterableDataset):
    def __iter__(self):
        return iter(pictures(200))


def sources(tmp_path):
    x = pictures()
    for i, picture in enumerate(x):
        Image.fromarray((picture.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()).save(tmp_path / f"{i:02}.png")
    levels = [Image.open(tmp_path / f"{i:02}.png") for i in range(len(x))]
    data = TensorDataset(x, torch.arange(len(x)))
    return {
        "tensor": x, "array": x.numpy(), "list": list(x), "PIL": levels, "folder": tmp_path, "folder text": str(tmp_path),
        "dict": {str(i): p for i, p in enumerate(x)}, "dataset": data, "loader": DataLoader(data, batch_size=7),
        "shuffled": DataLoader(data, batch_size=4, shuffle=True), "once": Once(), "once loader": DataLoader(Once(), 6),
        "generator": (p for p in x),
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["tensor", "array", "list", "PIL", "folder", "folder text", "dict", "dataset", "loader", "shuffled", "once",
             "once loader", "generator"],
)  # fmt: skip
def test_every_source_gives_the_same(name, tmp_path):
    net = small()
    expected = nl.dataset_examples(net, "3", pictures(), k=4, progress=False)
    found = nl.dataset_examples(net, "3", sources(tmp_path)[name], k=4, progress=False)
    assert found.count == 23
    files = name in ("PIL", "folder", "folder text")  # rounded to 256 levels
    for unit in found.units:
        for a, b in ((found.top, expected.top), (found.bottom, expected.bottom)):
            assert [e.index for e in a[unit]] == [e.index for e in b[unit]] or files
            for e, f in zip(a[unit], b[unit], strict=True):
                assert e.activation == pytest.approx(f.activation, abs=1e-2 if files else 1e-5)
                if not files:
                    assert (e.row, e.column) == (f.row, f.column)
                    assert abs(e.patch.astype(int) - f.patch).max() <= 1


def test_patches_are_what_the_neuron_sees():
    net, x = small(), pictures()
    found = nl.dataset_examples(net, "3:1", x, k=3, progress=False)
    field = nl.receptive_field(net, "3")
    for e in found.top["3:1"]:
        top, left, bottom, right = field.box(e.row, e.column)
        expected = (x[e.index, :, top:bottom, left:right] * 255).round().permute(1, 2, 0).numpy()
        assert e.patch.dtype == np.uint8
        np.testing.assert_array_equal(e.patch, expected.astype(np.uint8))


def test_pictures_that_cannot_be_read_are_said():
    found = nl.dataset_examples(small(), "3:1", Fifth(), k=20, progress=False)
    assert found.count == 12
    assert sorted(e.index for e in found.top["3:1"]) == [i for i in range(15) if i % 5 != 4]
    assert len(found.skipped) == 3
    assert "picture 4:" in found.skipped[0]
    with pytest.raises(nl.LensError, match="None of 6 pictures could be read"):
        nl.dataset_examples(small(), "3:1", [b"no picture"] * 6, progress=False)


def test_a_pass_goes_on_where_it_stopped(tmp_path):
    net, file = small(), tmp_path / "pass.npz"
    x = DataLoader(TensorDataset(pictures(200)), batch_size=16)
    whole = nl.dataset_examples(net, "3", x, progress=False)
    steps = nl.dataset_examples_steps(net, "3", x, resume=file)
    for _ in range(3):
        partial = next(steps)
    assert partial.count == 48
    steps.close()
    assert file.is_file()
    calls = []
    handle = net.model[0].register_forward_hook(lambda _m, inputs, _o: calls.append(len(inputs[0])))
    found = nl.dataset_examples(net, "3", x, resume=file, progress=False)
    handle.remove()
    assert sum(calls) == 200 - 48
    assert found.count == 200
    for unit in whole.units:
        assert [e.index for e in found.top[unit]] == [e.index for e in whole.top[unit]]
        np.testing.assert_allclose(found.values(unit), whole.values(unit), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.quantiles(unit), whole.quantiles(unit), rtol=1e-5)
    with pytest.raises(nl.LensError, match="was kept for other units"):
        nl.dataset_examples(net, "3:1", x, resume=file, progress=False)
    file.write_bytes(b"something else")
    with pytest.raises(nl.LensError, match="is not a kept pass"):
        nl.dataset_examples(net, "3", x, resume=file, progress=False)


def test_units_places_and_directions_together():
    net, x = small(), pictures()
    maps = whole_maps(net, x, "3")
    vector = np.arange(maps.shape[1]) - 2.5
    direction = nl.Direction("3", vector)
    found = nl.dataset_examples(net, ["3:1@1,3", direction, "0", "3:4"], x, k=3, progress=False)
    assert len(found.units) == 3 + net["0"].channels
    order = np.argsort(-maps[:, 1, 1, 3], kind="stable")[:3]
    assert [e.index for e in found.top["3:1@1,3"]] == order.tolist()
    assert {(e.row, e.column) for e in found.top["3:1@1,3"]} == {(1, 3)}
    along = np.einsum("nchw,c->nhw", maps, vector)
    order = np.argsort(-along.max((1, 2)), kind="stable")[:3]
    assert [e.index for e in found.top[direction]] == order.tolist()
    first = found.top[direction][0]
    assert along[first.index, first.row, first.column] == pytest.approx(along[first.index].max(), rel=1e-4)
    assert [e.index for e in found.top["3:4"]] == np.argsort(-maps[:, 4].max((1, 2)), kind="stable")[:3].tolist()


def test_a_score_of_ones_own():
    net, x = small(), pictures()
    found = nl.dataset_examples(net, "3", x, k=2, score=lambda maps: maps.std((2, 3)), progress=False)
    deviations = whole_maps(net, x, "3").std((2, 3), ddof=1)
    for unit in found.units:
        assert found.top[unit][0].index == deviations[:, unit.channel].argmax()
    with pytest.raises(nl.LensError, match="one number per picture and channel"):
        nl.dataset_examples(net, "3", x, score=lambda maps: maps.mean(), progress=False)


def test_vectors():
    torch.manual_seed(0)
    net = nl.Network(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), (6,), False)
    x = torch.rand(30, 6)
    found = nl.dataset_examples(net, "1", x, k=2, progress=False)
    with torch.no_grad():
        answers = net.model[:2](x).numpy()
    for unit in found.units:
        assert found.top[unit][0].index == answers[:, unit.channel].argmax()
        np.testing.assert_array_equal(found.top[unit][0].patch, x[found.top[unit][0].index])
    found.figure()


def test_agrees_with_looking_at_all_of_fashion(material):
    net = material_network(material, "fashion_crp", (1, 28, 28))
    data = np.load(material / "data" / "fashion_mnist_val5000.npz")
    x = torch.from_numpy(next(data[k] for k in data.files if data[k].ndim >= 3).reshape(-1, 1, 28, 28)[:2000]).float()
    x = x / 255 if x.max() > 1 else x
    layer = [entry.name for entry in net.layers if entry.reason is None][-2]
    found = nl.dataset_examples(net, layer, x, k=7, progress=False)
    with net.evaluation(), torch.no_grad():
        values = net.outputs(x, [layer])[layer].amax((2, 3)).numpy()
    for unit in found.units:
        own = values[:, unit.channel]
        np.testing.assert_allclose(
            [e.activation for e in found.top[unit]], np.sort(own)[::-1][:7], rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            found.quantiles(unit, [0.1, 0.9]), np.quantile(own, [0.1, 0.9]), rtol=1e-4, atol=1e-5
        )


def test_the_bundled_networks_bring_their_own(demo):
    crops = source_of(demo)
    assert 2000 <= crops.total <= 5000
    assert crops[5].shape == demo.input_shape
    assert not torch.equal(crops[5], crops[6])
    digits = nl.demo("digits")
    found = nl.dataset_examples(digits, "relu2", progress=False)
    assert found.count == 1797
    spectrum = found.spectrum("relu2:3")
    values = [e.activation for e in spectrum]
    assert values == sorted(values)
    assert spectrum[-1].index == found.top["relu2:3"][0].index
    assert "1797 pictures" in found.alt_text
    found.figure(["relu2:3", "relu2:4"])


WRONG = {
    "k": (("3", {"k": 0}), "k is a whole number"),
    "score": (("3", {"score": "median"}), 'score is "max", "mean"'),
    "layer": (("77", {}), "Nearest"),
    "unit": (("3:900", {}), "channels 0 to"),
    "nothing": (([], {}), "list of units is empty"),
    "empty": (("3", {"dataset": []}), "holds no pictures"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_looked_at_is_named(name):
    (units, options), says = WRONG[name]
    with pytest.raises(nl.LensError, match=says):
        nl.dataset_examples(small(), units, **{"dataset": pictures(), "progress": False, **options})


def test_what_was_not_looked_at_is_named():
    found = nl.dataset_examples(small(), "3:1", pictures(), progress=False)
    with pytest.raises(nl.LensError, match="3:2 is not among the 1 units"):
        found.top["3:2"]
    with pytest.raises(nl.LensError, match="3:2 is not among the 1 units"):
        found.require("3:2")
    found.require("3:1")
    with pytest.raises(nl.LensError, match="share from 0 to 1"):
        found.quantiles("3:1", 2)


def test_no_trace_is_left():
    net = small()
    before = [p.requires_grad for p in net.model.parameters()]
    net.model.train()
    state = torch.random.get_rng_state()
    steps = nl.dataset_examples_steps(net, "3", pictures())
    next(steps)
    steps.close()
    assert net.model.training
    assert [p.requires_grad for p in net.model.parameters()] == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(m._forward_hooks for m in net.model.modules())
