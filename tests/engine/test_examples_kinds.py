"""Examples, embeddings, directions and trust of signals, volumes and sequences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference.attributing import rank_correlation
from reference.kinds import model_of
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import nn_lens as nl

LAYERS = {"signal": "3", "volume": "0", "LSTM": "steps"}


def network(kind: str, n: int = 12) -> tuple[nl.Network, torch.Tensor]:
    model, shape = model_of(kind)
    net = nl.Network(model, shape, False, kind="sequence" if kind == "LSTM" else None)
    return net, torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))


def maps_of(net: nl.Network, kind: str, x: torch.Tensor) -> np.ndarray:
    """By a hook of the test's own: (N,C,*grid)."""
    kept = []
    handle = net.module(LAYERS[kind]).register_forward_hook(lambda _m, _i, o: kept.append(o))
    with torch.no_grad():
        net.model(x)
    handle.remove()
    out = kept[0][0].transpose(1, 2) if kind == "LSTM" else kept[0]
    return out.numpy()


@pytest.mark.parametrize("kind", LAYERS)
def test_examples_with_places_and_patches(kind):
    net, x = network(kind)
    layer, maps = LAYERS[kind], maps_of(net, kind, x)
    found = nl.dataset_examples(net, layer, x, k=3, progress=False)
    peaks = maps.reshape(*maps.shape[:2], -1).max(2)
    for unit in found.units:
        order = np.argsort(-peaks[:, unit.channel], kind="stable")[:3]
        assert [e.index for e in found.top[unit]] == order.tolist()
        for e in found.top[unit]:
            assert maps[(e.index, unit.channel, *e.place)] == pytest.approx(e.activation, rel=1e-5)
            box = nl.receptive_field(net, layer).box(*e.place)
            n = len(box) // 2
            seen = x[e.index].numpy()
            for axis in range(n):
                at = axis if net.kind == "sequence" else axis + 1
                seen = seen.take(range(box[axis], box[axis + n]), at)
            np.testing.assert_array_equal(e.patch, seen)
            assert e.patch.dtype == np.float32
    first = found.top[found.units[0]][0]
    assert (first.row is None) == (len(first.place) == 1)
    assert "row" in repr(first) or "place " in repr(first)
    assert found.spectrum(found.units[0], 5)[-1].index == first.index
    found.figure(list(found.units[:2]), 3).canvas.draw()


@pytest.mark.parametrize("kind", LAYERS)
def test_neurons_directions_and_scores_of_ones_own(kind):
    net, x = network(kind)
    layer, maps = LAYERS[kind], maps_of(net, kind, x)
    place = tuple(n // 2 for n in maps.shape[2:])
    neuron, direction = nl.Unit(layer, 1, *place), nl.Direction(layer, np.arange(maps.shape[1]) - 1.5)
    found = nl.dataset_examples(net, [neuron, direction], x, k=2, progress=False)
    there = maps[(slice(None), 1, *place)]
    assert [e.index for e in found.top[neuron]] == np.argsort(-there, kind="stable")[:2].tolist()
    assert {e.place for e in found.top[neuron]} == {place}
    along = np.einsum("nc...,c->n...", maps, np.array(direction.vector)).reshape(len(x), -1)
    best = found.top[direction][0]
    assert best.index == along.max(1).argmax()
    assert np.ravel_multi_index(best.place, maps.shape[2:]) == along[best.index].argmax()
    own = nl.dataset_examples(net, layer, x, k=1, score=lambda m: m.flatten(2).std(2), progress=False)
    deviations = maps.reshape(*maps.shape[:2], -1).std(2)
    assert [own.top[u][0].index for u in own.units] == deviations.argmax(0).tolist()


def test_what_can_be_read_once_keeps_its_values():
    net, x = network("signal")

    class Once(IterableDataset):
        def __iter__(self):
            return iter(list(x))

    found = nl.dataset_examples(net, "3:1", Once(), k=2, progress=False)
    for e in found.top["3:1"]:
        np.testing.assert_array_equal(found.picture(e).numpy(), x[e.index].numpy())


def test_a_pass_that_was_kept_otherwise_is_named(tmp_path):
    net, x = network("signal")
    file = tmp_path / "pass.npz"
    nl.dataset_examples(net, "3", x, resume=file, progress=False)
    again = nl.dataset_examples(net, "3", x, resume=file, progress=False)
    assert again.count == len(x)
    data = dict(np.load(file))
    data["settings"] = np.array(str(data["settings"]).replace('"version": 2', '"version": 1'))
    np.savez(file, **data)
    with pytest.raises(nl.LensError, match="was kept for other version"):
        nl.dataset_examples(net, "3", x, resume=file, progress=False)


class Together(nn.Module):
    """It normalizes by the statistics of the batch, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


def test_batches_do_not_change_a_network_of_batch_statistics():
    torch.manual_seed(0)
    net, x = nl.Network(Together(), (3, 9, 12), False), torch.rand(6, 3, 9, 12)
    loader = DataLoader(TensorDataset(x), batch_size=4)
    found = nl.dataset_examples(net, "norm:1", loader, k=6, progress=False)
    for e in found.top["norm:1"]:
        alone = net.model.norm(net.model.conv(x[e.index : e.index + 1]))[0, 1].max().item()
        assert e.activation == pytest.approx(alone, rel=1e-5)
    changed = nl.ablate(net, loader, "norm:1", controls=0)
    for i in range(6):
        with torch.no_grad():
            maps = net.model.norm(net.model.conv(x[i : i + 1]))
            maps[:, 1] = 0
            expected = net.model.head(maps.relu().mean((2, 3)))[0]
        np.testing.assert_allclose(changed.after[i], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_embeddings_and_directions(kind):
    net, x = network(kind)
    layer, maps = LAYERS[kind], maps_of(net, kind, x)
    laid_out = nl.embedding(net, x, layer, "pca")
    means = maps.reshape(*maps.shape[:2], -1).mean(2)
    np.testing.assert_allclose(laid_out.codes, means, rtol=1e-4, atol=1e-6)
    assert laid_out.thumbnails is None
    assert f"12 {net.kind}s laid out" in laid_out.alt_text
    laid_out.figure()
    difference = means[:3].mean(0) - means[3:].mean(0)
    concept = nl.directions.concept(net, layer, x[:3], x[3:])
    np.testing.assert_allclose(concept.vector, difference / np.linalg.norm(difference), rtol=1e-3, atol=1e-5)
    assert len(nl.directions.pca(net, layer, x, 2)) == 2


def test_trust_in_signals():
    """A unit that averages survives the changes; one that lives from single places does not."""
    model = nn.Sequential(nn.Conv1d(1, 2, 8, bias=False), nn.ReLU())
    with torch.no_grad():
        model[0].weight[0] = 1 / 8
        model[0].weight[1] = torch.tensor([(-1.0) ** i for i in range(8)]) / 8
    net = nl.Network(model, (1, 40), False)
    smooth, fine = (nl.trust.transfer(net, unit, maximized=nl.maximize(net, unit, steps=32)) for unit in ("1:0", "1:1"))
    assert "JPEG" not in smooth.text
    assert float(fine) < float(smooth) - 0.1
    x = torch.randn(16, 1, 40, generator=torch.Generator().manual_seed(0))
    known = nl.dataset_examples(net, "1:0", x, progress=False)
    made = nl.maximize(net, "1:0", steps=8)
    with pytest.raises(nl.LensError, match="No layer up to '1' has more than 3 channels"):
        nl.trust.natural_path(net, "1:0", examples=known, maximized=made)
    control = nl.trust.randomized_control(net, "1:0", maximized=made)
    assert control.images.shape[0] == 2
    control.figure()
    peaks = model(x).detach()[:, 0].amax(1).numpy()
    expected = 100 * (peaks < float(made.activations[0])).mean()
    assert float(nl.trust.percentile(net, "1:0", examples=known, maximized=made)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_natural_path_by_hand(kind):
    """Rank correlations of mean answers, where 1 is as natural inputs have them among themselves, 0 as with others."""
    net, x = network(kind, 40)
    unit = nl.Unit(LAYERS[kind], int(maps_of(net, kind, x).max((0, *range(2, maps_of(net, kind, x).ndim))).argmax()))
    known = nl.dataset_examples(net, unit, x, k=24, progress=False)
    made = nl.maximize(net, unit, steps=2)
    found = nl.trust.natural_path(net, unit, examples=known, maximized=made)
    natural = [e for e in known.top[unit] if e.activation > 0][:8]
    others = known.spectrum(unit, 10)[1:-1]
    field = nl.receptive_field(net, unit.layer)
    cuts = [field.cut(x[e.index], e.place, made.images.shape[1:]) for e in (*natural, *others)]
    maps = maps_of(net, kind, torch.stack([torch.from_numpy(made.images[0]), *cuts]))
    codes = maps.reshape(*maps.shape[:2], -1).mean(2)
    between = np.array([[rank_correlation(a, b) for b in codes] for a in codes])
    n = 1 + len(natural)
    own = np.mean([between[i, j] for i in range(1, n) for j in range(i + 1, n)])
    rest = between[1:n, n:].mean()
    expected = np.clip((between[0, 1:n].mean() - rest) / max(own - rest, 0.05), -1, 1.5)
    assert found.layers[-1] == unit.layer
    assert found.similarity[-1] == pytest.approx(expected, abs=2e-3)
    found.figure()
