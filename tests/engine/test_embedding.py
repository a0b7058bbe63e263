"""Embedding: the codes, the two layouts, thumbnails and the selection."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from models import Failing, same, small, state
from PIL import Image
from torch import nn

import nn_lens as nl
from nn_lens.engine.evidence.embedding import embedding


def pictures(n: int = 23, shape: tuple[int, ...] = (3, 20, 28), seed: int = 0) -> torch.Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def groups(n: int = 30) -> torch.Tensor:
    """Pictures of three kinds: red, green, blue, each with noise."""
    x = 0.2 * pictures(n)
    for i in range(n):
        x[i, i % 3] += 0.7
    return x


def test_codes_are_the_means_of_the_maps():
    net, x = small(), pictures(7)
    found = embedding(net, x, "3", "pca")
    maps = [nl.activations(net, picture, "3").maps for picture in x]
    expected = [[sum(map_.ravel().tolist()) / map_.size for map_ in picture] for picture in maps]
    np.testing.assert_allclose(found.codes, expected, atol=1e-5)
    assert found.codes.dtype == found.points.dtype == np.float32
    assert found.points.shape == (7, 2)
    np.testing.assert_array_equal(found.indices, range(7))


@pytest.mark.parametrize("n", [5, 23])
def test_pca_is_the_singular_value_decomposition_up_to_sign(n):
    found = embedding(small(), pictures(n), "3", "pca")
    centred = found.codes.astype(float) - found.codes.mean(0, dtype=float)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    expected = u[:, :2] * s[:2]
    signs = np.sign((expected * found.points).sum(0))
    np.testing.assert_allclose(found.points, expected * signs, atol=1e-4 * s[0])


def test_tsne_is_the_same_for_a_seed_and_keeps_groups_together():
    net, x = small(), groups()
    state_before = torch.get_rng_state()
    a, b = embedding(net, x, "1", seed=3), embedding(net, x, "1", seed=3)
    np.testing.assert_array_equal(a.points, b.points)
    assert torch.equal(state_before, torch.get_rng_state())
    assert a.points.shape == (30, 2)
    assert np.isfinite(a.points).all()
    assert not np.array_equal(a.points, embedding(net, x, "1", seed=3, perplexity=4).points)
    distances = np.linalg.norm(a.points[:, None] - a.points[None], axis=2) + np.diag([np.inf] * 30)
    assert (distances.argmin(1) % 3 == np.arange(30) % 3).mean() > 0.9


@pytest.mark.parametrize("n", [3, 4, 5])
@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_few_pictures(n, method):
    found = embedding(small(), pictures(n), "3", method)
    assert found.points.shape == (n, 2)
    assert np.isfinite(found.points).all()


def test_a_layer_of_one_channel():
    torch.manual_seed(0)
    net = nl.Network(nn.Sequential(nn.Conv2d(1, 1, 3)), (1, 9, 5), False)
    flat = embedding(net, pictures(6, (1, 9, 5)), "0", "pca")
    np.testing.assert_array_equal(flat.points[:, 1], 0)
    assert np.ptp(flat.points[:, 0]) > 0
    assert np.isfinite(embedding(net, pictures(6, (1, 9, 5)), "0").points).all()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((3, 20, 28), (20, 28, 3)), ((1, 40, 64), (20, 32, 3)), ((4, 65, 33), (32, 16, 3)), ((3, 1, 64), (1, 32, 3))],
)
def test_thumbnails(shape, expected):
    torch.manual_seed(0)
    net = nl.Network(nn.Sequential(nn.Conv2d(shape[0], 5, 1)), shape, False)
    x = pictures(4, shape)
    x[2] = 0.5
    found = embedding(net, x, "0", "pca")
    assert found.thumbnails.shape == (4, *expected)
    assert found.thumbnails.dtype == np.uint8
    assert (np.abs(found.thumbnails[2].astype(int) - 128) <= 1).all()
    if shape == (3, 20, 28):
        np.testing.assert_array_equal(found.thumbnails[0], (x[0].permute(1, 2, 0) * 255).round().to(torch.uint8))


def test_select():
    found = embedding(small(), pictures(9), "3", "pca")
    x, y = found.points.T
    inside = [i for i in range(9) if -1 <= x[i] <= x[4] and y[4] <= y[i] <= 5]
    np.testing.assert_array_equal(found.select(-1, y[4], x[4], 5), inside)
    np.testing.assert_array_equal(found.select(x[4], 5, -1, y[4]), inside)
    assert 4 in inside
    assert found.select(99, 99, 100, 100).tolist() == []
    assert found.select(-99, -99, 99, 99).tolist() == list(range(9))


def test_figures_show_thumbnails_and_dots():
    found = embedding(small(), pictures(9), "3", "pca")
    apart = np.array([[i % 3, 2 * (i // 3)] for i in range(9)], np.float32)
    found = replace(found, points=apart)
    assert len(found.figure().axes[0].artists) == 9
    assert found.alt_text == "9 pictures laid out by PCA of their 8 numbers in layer 3"
    # A thumbnail that would hide one before it is left out.
    apart[4], apart[8] = apart[0], apart[1] + 0.01
    close = replace(found, points=apart)
    assert len(close.figure().axes[0].artists) == 7
    assert close.alt_text.endswith(", 7 of them shown")
    assert len(np.unique(np.asarray(Image.open(io.BytesIO(found._repr_png_())).convert("L")))) > 32
    net = nl.Network(nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 2)), (7,), False)
    vectors = embedding(net, torch.rand(6, 7), "1")
    assert vectors.thumbnails is None
    assert vectors.figure().axes[0].collections


def test_a_folder_with_a_broken_picture(tmp_path):
    for i in range(4):
        Image.fromarray(np.full((20, 28, 3), 60 * i, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    found = embedding(small(), tmp_path, "3", "pca")
    np.testing.assert_array_equal(found.indices, [0, 2, 3])
    assert len(found.skipped) == 1
    assert "1 could not be read" in found.alt_text


def test_mistakes_are_named():
    net, x = small(), pictures(5)
    with pytest.raises(nl.LensError, match='"tsne" or "pca", got \'umap\''):
        embedding(net, x, "3", "umap")
    with pytest.raises(nl.LensError, match="at least 3 pictures, got 2"):
        embedding(net, x[:2], "3")
    with pytest.raises(nl.LensError, match="below the number of pictures, 5; got 5"):
        embedding(net, x, "3", perplexity=5)
    with pytest.raises(nl.LensError, match="above 0"):
        embedding(net, x, "3", perplexity=0)
    with pytest.raises(nl.LensError, match='leave it out for "pca"'):
        embedding(net, x, "3", "pca", perplexity=5)
    with pytest.raises(nl.LensError, match="no layer '33'"):
        embedding(net, x, "33")
    with pytest.raises(nl.LensError, match="the same to all 5 pictures"):
        embedding(net, x[:1].repeat(5, 1, 1, 1), "3")
    with torch.no_grad():
        net.model[0].weight[3] = torch.nan
    with pytest.raises(nl.LensError, match="NaN or infinity to 5 of 5 pictures, the first is number 0"):
        embedding(net, x, "0")


def test_nothing_is_left_behind():
    net = small()
    before = state(net.model)
    embedding(net, pictures(4), "3")
    assert same(before, state(net.model))
    failing = nl.Network(Failing(), (3, 8, 8), False)
    before = state(failing.model)
    failing.model.fails = True
    with pytest.raises(nl.LensError, match="the cable is out"):
        embedding(failing, pictures(4, (3, 8, 8)), "then")
    assert same(before, state(failing.model))
