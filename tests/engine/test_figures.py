"""Figures of maps with one, two and three dimensions, and of inputs beside maps."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgb

import nn_lens as nl
from nn_lens.engine.pictures.figures import input_figure, kind_of_map, map_figure, strongest_slice
from nn_lens.engine.pictures.images import DIVERGING, colour, colour_table, map_levels
from nn_lens.engine.reading.activations import Activations
from nn_lens.errors import UnknownUnit

RANDOM = np.random.default_rng(0)


def test_curves_of_maps_with_one_dimension():
    maps = RANDOM.standard_normal((5, 12)).astype(np.float32)
    figure = map_figure(maps, [f"{c}" for c in range(5)])
    drawn = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in drawn] == ["0", "1", "2", "3", "4"]
    for axes, values in zip(drawn, maps, strict=True):
        np.testing.assert_array_equal(axes.lines[-1].get_ydata(), values)
        np.testing.assert_array_equal(axes.lines[-1].get_xdata(), range(12))
    assert len([a for a in map_figure(maps, ["x"] * 5, most=3).axes if a.get_title()]) == 3
    assert map_figure(np.ones((2, 1)), ["x", "y"]).axes[0].lines[-1].get_marker() == "."


def test_the_middle_slice_of_maps_with_three_dimensions():
    maps = RANDOM.standard_normal((3, 5, 4, 6)).astype(np.float32)
    figure = map_figure(maps, ["a", "b", "c"])
    assert [axes.get_title() for axes in figure.axes] == ["a  slice 2", "b  slice 2", "c  slice 2"]
    peak = np.abs(maps[1]).max()
    levels = np.round(128 + 127 * maps[1, 2] / peak).astype(np.uint8)
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), colour_table(DIVERGING)[levels])


def test_maps_with_rows_and_columns_are_tiles():
    maps = RANDOM.random((3, 4, 6)).astype(np.float32)
    levels, _, signed = map_levels(maps)
    figure = map_figure(maps, ["a", "b", "c"])
    for axes, tile in zip(figure.axes, colour(levels, signed), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), tile)


INPUTS = {
    "picture": ((3, 8, 10), (8, 10)),
    "signal": ((2, 40), (40,)),
    "volume": ((1, 5, 8, 10), (5, 8, 10)),
    "sequence": ((20, 5), (20, 5)),
    "vector": ((7,), (7,)),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_an_input_beside_its_maps(kind):
    shape, places = INPUTS[kind]
    x, map_ = RANDOM.random(shape), np.full(places, 2.0)
    map_.flat[5], map_.flat[6] = 0.0, -1.0
    assert kind_of_map(x, map_) == kind
    figure = input_figure(x, "yes\nanswer 1", [(map_, "saliency"), (np.zeros(places), "nothing")])
    titles = [axes.get_title().split("\n")[0] for axes in figure.axes]
    assert titles == ["yes", "saliency", "nothing"]
    most, least = (colour_table(DIVERGING)[level] for level in (255, 128 - 64))
    if kind == "vector":
        heights = [bar.get_height() for bar in figure.axes[1].patches]
        np.testing.assert_array_equal(heights, map_)
        red, _, blue = to_rgb(figure.axes[1].patches[3].get_facecolor())
        assert red > blue, "orange is for it"
        return
    shown = np.asarray(figure.axes[1].images[0].get_array())
    assert shown.shape == {"signal": (1, 40, 3), "volume": (8, 10, 3)}.get(kind, (*places, 3))
    flat = shown.reshape(-1, 3)
    np.testing.assert_array_equal(flat[3], most)
    np.testing.assert_array_equal(flat[5], colour_table(DIVERGING)[128])
    np.testing.assert_allclose(flat[6].astype(int), least, atol=3)
    assert (np.asarray(figure.axes[2].images[0].get_array()) == colour_table(DIVERGING)[128]).all()
    if kind == "signal":
        centred = (x[1] - x[1].mean()) / max(np.ptp(x[0]), np.ptp(x[1]))
        np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), centred - 1.1)


def test_a_volume_is_shown_where_its_map_is_strongest():
    map_ = np.zeros((5, 4, 6))
    map_[3, 1, 2], map_[1, 0, 0] = -2, 1
    assert strongest_slice(map_) == 3
    assert strongest_slice(np.zeros((5, 4, 6))) == 2
    x = RANDOM.random((1, 5, 4, 6))
    figure = input_figure(x, "yes", [(map_, "saliency"), (map_[::-1], "control")])
    assert [axes.get_title() for axes in figure.axes] == [
        "yes\nslice 3 of 0 to 4", "saliency\nslice 3 of 0 to 4", "control\nslice 3 of 0 to 4",
    ]  # fmt: skip
    grey = np.round((x[0, 3] - x.min()) / np.ptp(x) * 255)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array()[..., 1], grey)


def test_the_strongest_units_at_places_of_any_number():
    maps = np.zeros((3, 4, 5, 6), np.float32)
    maps[1, 2, 3, 4], maps[2, 0, 0, 0] = 5, 7
    volume = Activations("conv", maps)
    assert volume.top(2) == [(nl.Unit("conv", 2), 7.0), (nl.Unit("conv", 1), 5.0)]
    assert volume.top(1, at=(2, 3, 4)) == [(nl.Unit("conv", 1, 2, 3, 4), 5.0)]
    assert volume.alt_text == "3 activation maps of 4x5x6 of layer conv, strongest conv:2"
    signal = Activations("conv", maps[:, 2, 3])
    assert signal.top(1, at=4) == signal.top(1, at=(4,)) == [(nl.Unit("conv", 1, 4), 5.0)]
    assert signal.alt_text == "3 activation maps of 6 of layer conv, strongest conv:1"
    for found, at, says in (
        (signal, 6, r"6 places, each named by 1 number from 0 on; there is no \(6,\)"),
        (volume, (1, 2), r"4x5x6 places, each named by 3 numbers"),
        (volume, (0, 0, -1), "there is no"),
        (Activations("conv", maps[:, 0]), (5, 0), "5 rows by 6 columns; row 5, column 0 is outside"),
    ):
        with pytest.raises(UnknownUnit, match=says):
            found.top(at=at)


def test_activations_of_a_signal():
    import torch

    torch.manual_seed(0)
    conv = torch.nn.Conv1d(1, 16, 5)
    net = nl.Network(torch.nn.Sequential(conv, torch.nn.ReLU()), (1, 250), False)
    x = torch.randn(1, 250)
    found = nl.activations(net, x, "0")
    np.testing.assert_allclose(found.maps, conv(x[None])[0].detach().numpy(), atol=1e-6)
    assert found.alt_text.startswith("16 activation maps of 246 of layer 0")
    assert len(found.figure().axes) >= 16


def test_a_figure_shows_itself_as_a_cells_last_line():
    """In a fresh IPython, where no backend of matplotlib has been activated."""
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_cell('import nn_lens as nl\\nfigure = nl.filters(nl.demo(), \"conv1\").figure()')\n"
        "data, _ = shell.display_formatter.format(shell.user_ns['figure'])\n"
        "assert data['image/png'][:4] == b'\\x89PNG', data\n"
        "import matplotlib.figure\n"
        "mine = shell.display_formatter.formatters['image/png']\n"
        "mine.for_type(matplotlib.figure.Figure, lambda figure: b'own')\n"
        "from nn_lens.engine.pictures.results import show_figures\n"
        "show_figures()\n"
        "assert shell.display_formatter.format(shell.user_ns['figure'])[0]['image/png'] == b'own'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
