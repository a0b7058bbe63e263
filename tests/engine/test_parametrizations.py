from __future__ import annotations

import numpy as np
import pytest
import torch
from models import small
from reference import maximizing as slow

import nn_lens as nl
from nn_lens.engine.maximizing import parametrizations as p
from nn_lens.engine.maximizing import waves


def generators(n: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(n)]


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (6, 7)])
@pytest.mark.parametrize("decay", [1.0, 1.5])
def test_fourier_scaling_follows_its_paper(size, decay):
    h, w = size
    # The transform is taken at the next size that it is quick at, and cut.
    whole = {7: 8, 9: 10}
    fh, fw = whole.get(h, h), whole.get(w, w)
    plain = p.fourier(decay, None, None)
    free = plain.start((2, h, w), generators(1))
    found = plain.picture(free, (2, h, w))
    raw = torch.logit(found.double(), 1e-9)[0].numpy()
    expected = np.stack(
        [slow.inverse_transform(slow.scaled_spectrum(f.numpy(), fh, fw, decay), fh, fw)[:h, :w] for f in free[0]]
    )
    alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(raw, expected, strict=True)]
    assert min(alike) > 0.9999


@pytest.mark.parametrize("sides", [(12, 12), (8, 14), (6, 8, 8), (16,)])
def test_no_direction_is_preferred(sides):
    """What a step up makes of one pixel's gradient, wherever it lies, looks the same along both axes and both ways: the energy
    of each wave depends on its frequency alone.
    """
    free = torch.zeros(1, 1, *waves.coefficients_of(sides), 2, dtype=torch.float64, requires_grad=True)

    def step(gradient: torch.Tensor) -> torch.Tensor:
        """What the picture gains by a step of the free variables."""
        (g,) = torch.autograd.grad((waves.to_values(free, sides, 1.3) * gradient).sum(), free)
        return waves.to_values(g, sides, 1.3)[0, 0]

    dot = torch.zeros(1, 1, *sides, dtype=torch.float64)
    dot.view(-1)[0] = 1
    spot = step(dot)
    moved = tuple(n // 3 for n in sides)
    shifted = step(dot.roll(moved, tuple(range(2, 2 + len(sides)))))
    torch.testing.assert_close(shifted, spot.roll(moved, tuple(range(len(sides)))))
    torch.testing.assert_close(
        spot.flip(tuple(range(len(sides)))).roll([1] * len(sides), tuple(range(len(sides)))), spot
    )
    energy = torch.fft.rfftn(spot).real.flatten()
    frequency = waves.frequencies(sides).double().clamp(min=1 / max(sides)).flatten()
    evenly = energy * frequency**2.6
    torch.testing.assert_close(evenly, evenly[:1].expand_as(evenly), rtol=1e-5, atol=0.0)
    if len(set(sides)) == 1 and len(sides) > 1:
        torch.testing.assert_close(spot.mT, spot, rtol=1e-4, atol=1e-5)


def test_colours_follow_their_paper():
    g = torch.Generator().manual_seed(3)
    mix = torch.rand(4, 4, generator=g)
    pictures = torch.einsum("oi,nihw->nohw", mix, torch.rand(6, 4, 9, 7, generator=g)).div(4).clamp(0, 1)
    matrix = p.colours_of(pictures).double().numpy()
    covariance = slow.colour_matrix(pictures.double().numpy())
    product = matrix @ matrix.T
    np.testing.assert_allclose(product / np.trace(product), covariance / np.trace(covariance), atol=1e-4)
    assert np.linalg.norm(matrix, axis=0).max() == pytest.approx(1)
    off = matrix.T @ matrix
    np.testing.assert_allclose(off - np.diag(np.diag(off)), 0, atol=1e-6)


def test_the_default_colours_are_those_of_the_training_pictures(material):
    from nn_lens.networks.train_photos20 import read_pictures

    with np.load(material / "data" / "photos20_64px.npz") as data:
        pictures = read_pictures(data, "train")[0][::5].float() / 255
    np.testing.assert_allclose(p.colours_of(pictures), p.COLOURS, atol=1e-4)
    shipped = np.load(p.SPECTRUM).astype(np.float32)
    np.testing.assert_allclose(p.spectrum_of(pictures), shipped, rtol=2e-3, atol=1e-3)


def test_maco_follows_its_paper():
    g = torch.Generator().manual_seed(0)
    spectrum, colours = torch.rand(3, 6, 5, generator=g) + 0.1, torch.rand(3, 3, generator=g)
    maco = p.maco(spectrum, colours)
    free = maco.start((3, 6, 8), generators(1))
    expected = slow.maco_picture(spectrum.numpy(), free[0].numpy(), colours.numpy())
    np.testing.assert_allclose(maco.picture(free, (3, 6, 8))[0], expected, atol=1e-5)


def test_maco_keeps_the_magnitudes():
    g = torch.Generator().manual_seed(0)
    spectrum = torch.rand(1, 8, 5, generator=g) + 0.1
    maco = p.maco(spectrum, colours=None)
    free = maco.start((1, 8, 8), generators(2))
    raw = torch.logit(maco.picture(free, (1, 8, 8)).double(), 1e-9)
    # Coefficients that are not their own mirror image.
    found = torch.fft.rfft2(raw, norm="ortho").abs()[:, :, :, 1:4]
    np.testing.assert_allclose(found[0, 0], spectrum[0, :, 1:4], rtol=1e-4)
    np.testing.assert_allclose(found[1, 0], spectrum[0, :, 1:4], rtol=1e-4)


@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 30, 47), (3, 224, 224), (1, 28, 28)])
def test_maco_pictures_have_the_contrast_of_real_ones(shape):
    maco = p.maco()
    x = maco.picture(maco.start(shape, generators(3)), shape)
    contrast = (x - x.mean((2, 3), keepdim=True)).square().mean((1, 2, 3)).sqrt()
    assert ((contrast > 0.12) & (contrast < 0.3)).all()


@pytest.mark.parametrize("make", [p.fourier, lambda: p.fourier(contrast=None), p.pixels])
@pytest.mark.parametrize("shape", [(3, 20, 31), (1, 15, 12), (4, 9, 9)])
def test_from_picture_to_free_variables_and_back(make, shape):
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    parametrization = make()
    again = parametrization.picture(parametrization.free(x), shape)
    np.testing.assert_allclose(again, x, atol=2e-3)


def test_starting_from_a_picture(demo):
    cat = demo.samples["cat"]
    first = next(nl.maximize_steps(demo, nl.objectives.layer("relu3"), parametrization=p.from_picture(cat)))
    # Values near 0 and 1 are out of reach of the sigmoid.
    np.testing.assert_allclose(first.images[0], demo.picture(cat), atol=0.02)
    dream = nl.maximize(demo, nl.objectives.layer("relu3"), parametrization=p.from_picture(cat), steps=24)
    assert dream.history[-1, 0] > dream.history[0, 0]
    assert np.corrcoef(dream.images[0].ravel(), demo.picture(cat).numpy().ravel())[0, 1] > 0.4


def test_the_ball_keeps_to_its_radius(demo):
    for radius in (0.5, 3.0):
        found = nl.maximize(demo, "relu2:5", parametrization=p.ball(radius), steps=40)
        assert np.linalg.norm(found.images[0] - 0.5) <= radius * 1.001
        assert found.history[-8:, 0].mean() > found.history[0, 0]


def test_every_parametrization_takes_other_channels_and_oblong_inputs():
    for channels, side in ((1, (20, 28)), (4, (17, 33))):
        net = small(channels, side)
        for make in (p.fourier(), p.pixels(), p.maco(), p.ball(2.0)):
            found = nl.maximize(net, nl.objectives.logit(1), steps=3, parametrization=make)
            assert found.images.shape == (1, channels, *side), make.name
            assert 0 <= found.images.min() <= found.images.max() <= 1


def test_vectors_keep_their_bounds():
    torch.manual_seed(0)
    net = nl.Network(torch.nn.Sequential(torch.nn.Linear(4, 3)), (4,), False)
    low, high = [-1.0, 0.0, 5.0, -2.0], [1.0, 10.0, 6.0, -1.0]
    found = nl.maximize(net, "0:1", parametrization=p.vector(low, high), steps=300)
    assert (found.images[0] >= low).all()
    assert (found.images[0] <= high).all()
    weights = net.model[0].weight[1].detach().numpy()
    # Of a linear unit, each feature goes to the bound that its weight's sign says.
    ends = np.where(weights > 0, high, low)
    assert (abs(found.images[0] - ends) < 0.2 * (np.array(high) - low)).all()


WRONG = {
    "colours": (lambda: p.fourier(colours=torch.eye(2)), r"\(3,3\) matrix"),
    "spectrum": (lambda: p.maco(torch.ones(2, 8, 5)), "for 2 channels"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named(demo, name):
    make, says = WRONG[name]
    with pytest.raises(nl.LensError, match=says):
        nl.maximize(demo, "relu1:0", steps=1, parametrization=make())


def test_bad_numbers_are_named():
    with pytest.raises(nl.LensError, match="radius above 0"):
        p.ball(0)
    with pytest.raises(nl.LensError, match="low below high"):
        p.vector(1, 0)
    with pytest.raises(nl.LensError, match="channels, h"):
        p.maco(torch.ones(8, 5))
    with pytest.raises(nl.LensError, match=r"\(N,C,H,W\)"):
        p.colours_of(torch.rand(3, 8, 8))
    with pytest.raises(nl.LensError, match="from -1 to 2"):
        p.colours_of(torch.tensor([-1.0, 2.0]).view(1, 1, 1, 2))
