"""What a network's own pictures do for its maximizing images: contrast, and a bar that each image has to reach."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import squeezenet
from torch import nn

import nn_lens as nl
from nn_lens.engine.maximizing import defaults
from nn_lens.engine.maximizing.maximize import Run
from nn_lens.engine.pictures.samples import sample_pictures


def reached_by(net, pictures, layer):
    """(pictures, units): the most that each unit answers to each picture, wherever on it, by a plain hook."""
    kept = []
    hook = net.model.get_submodule(layer).register_forward_hook(lambda m, x, y: kept.append(y))
    with torch.no_grad():
        net.model(net.normalized(pictures))
    hook.remove()
    return kept[0].reshape(*kept[0].shape[:2], -1).amax(2).numpy()


@pytest.mark.parametrize("layer", ["conv1", "relu1", "relu3"])
def test_images_reach_what_real_digits_do(layer):
    net = nl.demo("digits")
    pictures = torch.stack([torch.as_tensor(net.dataset[i][0]) for i in range(1797)]).float()
    real = reached_by(net, pictures, layer)
    live = np.flatnonzero(real.max(0) > 1e-6)
    found = nl.maximize(net, [f"{layer}:{c}" for c in live])
    assert np.mean(found.activations >= np.quantile(real, 0.99, axis=0)[live]) >= 0.95


def test_contrast_is_that_of_the_pictures():
    """Root mean square around .5 of the window with most: half black and half white has .5, grey with a spot little."""
    net = nl.Network(nn.Conv2d(1, 2, 3), (1, 12, 12))
    assert defaults.contrast_of(net, (3, 3)) == 0.2, "of photographs, where nothing is known"
    spot = torch.full((1, 12, 12), 0.5)
    spot[0, 4, 7] = 0.95  # .45 / sqrt(9) of a window of 3x3
    net.dataset = [spot] * 3
    assert defaults.contrast_of(net, (3, 3)) == pytest.approx(0.15, abs=1e-6)
    assert defaults.contrast_of(net, (12, 12)) == 0.1, "at least"
    net.dataset = [(torch.arange(144).view(1, 12, 12) % 2).float()]
    assert defaults.contrast_of(net, (3, 3)) == 0.35, "at most"
    net.samples["none"] = object()
    net.dataset = None
    assert defaults.contrast_of(net, (3, 3)) == 0.2, "what cannot be read is told of elsewhere"


def test_small_inputs_are_moved_less():
    usual = defaults.transform_of(*planned((3, 64, 64)))
    small = defaults.transform_of(*planned((3, 8, 8)))
    assert small.shift == 1, "an eighth of the side"
    assert small.blur == pytest.approx(usual.blur / 4)


def network(model, shape, dataset):
    net = nl.Network(model, shape, normalize=False)
    net.dataset = dataset
    return net


def planned(shape):
    net = nl.Network(nn.Conv2d(3, 2, 3), shape)
    return net, Run(net, f"{net.layers[0].name}:1").plan


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 1, 12), (5, 1, 8), (4, 2, 17), (3, 3, 20)])
def test_a_real_start_puts_what_the_unit_saw_before_the_middle_neuron(kernel, stride, side):
    """A unit that only a pattern turns on answers to the cut as it did to the picture, to the last pixel."""
    torch.manual_seed(kernel)
    pattern = torch.rand(1, kernel, kernel)
    conv = nn.Conv2d(1, 1, kernel, stride)
    with torch.no_grad():
        conv.weight[0] = pattern - pattern.mean()
        conv.bias.zero_()
    picture = torch.full((1, side, side), 0.5)
    row, column = (stride * n for n in (1, 2))
    picture[:, row : row + kernel, column : column + kernel] = pattern
    net = network(nn.Sequential(conv), (1, side, side), [picture])
    run = Run(net, "0:0")
    expected = float(((pattern - pattern.mean()) * pattern).sum())
    assert run._revival.starts([0], run.plan)[0].value == pytest.approx(expected, rel=1e-5)


def test_an_image_is_no_worse_than_the_best_real_picture():
    """A unit for white windows: an image of the usual contrast cannot be white, a picture of paper is."""
    conv = nn.Conv2d(1, 1, 9)
    nn.init.ones_(conv.weight)
    nn.init.zeros_(conv.bias)
    grey, white = torch.full((1, 20, 20), 0.5), torch.full((1, 20, 20), 0.5)
    white[:, 4:16, 4:16] = 0.99
    net = network(nn.Sequential(conv, nn.ReLU()), (1, 20, 20), [grey] * 20 + [white])
    found = nl.maximize(net, "1:0")
    assert defaults.contrast_of(net, (9, 9)) == 0.1
    assert found.activations[0] >= 81 * 0.99 * 0.999
    assert found.notes == ("",)


def test_a_real_picture_that_answers_more_at_the_border_is_told_of():
    """The second layer reads zeros beyond the border, where the first cannot answer less than 1: no canvas has that inside."""
    first, second = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 3, padding=1)
    with torch.no_grad():
        first.weight.fill_(1)
        first.bias.fill_(1)
        second.weight.fill_(-1)
        second.weight[0, 0, 1, 1] = 1
        second.bias.fill_(8)
    net = network(nn.Sequential(first, second), (1, 16, 16), [torch.zeros(1, 16, 16)])
    found = nl.maximize(net, "1:0")
    # In a corner 3 of the 8 neighbours are there: 1 - 3 + 8; inside at most 2 - 8 + 8.
    assert found.activations[0] <= 2
    assert found.notes == ("a real picture reaches 6, where the border helps",)


def test_what_one_asks_for_is_kept_to():
    net = nl.demo("digits")
    asked = nl.parametrizations.fourier(contrast=0.1)
    found = nl.maximize(net, "conv1:3", parametrization=asked)
    assert np.sqrt(((found.images - 0.5) ** 2).mean()) < 0.12, "not lifted to the contrast of a digit"


def test_a_look_at_the_pictures_uses_nothing_up():
    """A stream keeps its items, random numbers go on as they would have, and a shuffled loader gives the same bits."""
    items = [torch.rand(1, 12, 12, generator=torch.Generator().manual_seed(i)) for i in range(12)]
    net = nl.Network(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), (1, 12, 12), normalize=False)
    stream = iter(items)
    Run(net, "1:0", own=[stream])
    assert len(list(stream)) == 12

    class Noisy(torch.utils.data.Dataset):
        def __len__(self):
            return 12

        def __getitem__(self, index):
            return items[index] + 0 * torch.rand(1)

    torch.manual_seed(5)
    expected = torch.rand(1)
    loaders = [torch.utils.data.DataLoader(Noisy(), 4, shuffle=True) for _ in range(2)]
    torch.manual_seed(5)
    images = [last_images(Run(net, ["1:0", "1:1"], own=[loader])) for loader in loaders]
    assert torch.equal(torch.rand(1), expected)
    assert np.array_equal(*images)


def last_images(run):
    for _ in run.steps():
        pass
    return run.result().images


def test_a_unit_that_likes_grey_is_told_from_none():
    """What is found is flat grey, which has no contrast to be brought to that of the picture that drives the unit."""
    run = Run(network(nn.Sequential(nn.Conv2d(1, 1, 3)), (1, 12, 12), [torch.rand(1, 12, 12)]), "0:0")
    beaten = run._revival.starts([0], run.plan)
    (starts,) = run._starts_of_beaten(beaten, np.full((1, *run.plan.shape), 0.5, np.float32))
    assert torch.isfinite(starts).all()
    assert len(starts) == 2


def test_photographs_of_others_are_told_of_and_led_to_by_the_networks_own(material):
    """What answers to the sharpest detail of photographs is no aim where the network was not made for them."""
    net, unit = squeezenet(material), "features.3:11"
    found = nl.maximize(net, unit)
    reached = float(found.notes[0].removeprefix("a real picture reaches "))
    assert reached > found.activations[0]
    (real,) = found.real
    assert real.activation == pytest.approx(reached, rel=1e-2)
    assert real.image.shape == found.images[0].shape
    with net.evaluation(), torch.no_grad():
        maps = net.outputs(torch.from_numpy(real.image)[None], ["features.3"])["features.3"]
    middle = [n // 2 for n in maps.shape[2:]]
    assert float(maps[0, 11, *middle]) == pytest.approx(real.activation, rel=1e-3)
    assert f"{real.activation:.3g}, real" in found.figure().axes[0].get_title()
    net.samples.update(sample_pictures(net.input_shape))
    assert nl.maximize(net, unit).activations[0] >= 0.99 * reached
