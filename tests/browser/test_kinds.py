"""Networks that read no pictures, in a real JupyterLab: a signal, a volume with its slices, and a sequence."""

from __future__ import annotations

import numpy as np
import pytest

from browser.panel import Panel

CELLS = [
    """import torch, nn_lens as nl
from torch import nn
torch.manual_seed(0)
conv = nn.Sequential(nn.Conv1d(1, 6, 9, padding=4), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 3))
signals = nl.Network(conv, (1, 64))
lens = nl.Lens(signals, unit="0:1", dataset=[torch.sin(torch.arange(64) / (3 + i))[None] for i in range(8)])
lens""",
    """lens.close()
conv = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3))
x = torch.rand(1, 8, 12, 16)
lens = nl.Lens(nl.Network(conv, (1, 8, 12, 16)), unit="0:1", picture=x)
lens""",
    """lens.close()
class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps, self.answer = nn.LSTM(3, 6, batch_first=True), nn.Linear(6, 4)
    def forward(self, x):
        return self.answer(self.steps(x)[0][:, -1])
lens = nl.Lens(nl.Network(Recurrent(), (12, 3)), unit="steps:1", picture=torch.randn(12, 3))
lens""",
]
PICTURE_WORDS = ("picture", "image", "pixel", "camera")


@pytest.fixture(scope="module")
def notebook(opened):
    notebook = opened("kinds.ipynb", ["pass"])
    yield notebook
    assert not notebook.problems, "the console is free of errors"


def shown(notebook, cell: int, unit: str) -> Panel:
    """The panel that a cell makes, once it has all its answers."""
    notebook.page.evaluate(
        """(code) => {
          const notebook = window.jupyterapp.shell.currentWidget;
          notebook.content.widgets[0].model.sharedModel.setSource(code);
          return window.jupyterapp.commands.execute('notebook:run-all-cells');
        }""",
        CELLS[cell],
    )
    panel = Panel(notebook, 120_000)
    panel.wait_for_unit(unit)
    return panel


def no_picture_words(panel: Panel) -> None:
    """A student who looks at signals reads of no pictures."""
    text = panel.page.evaluate(
        """() => { const root = document.querySelector('.nn-lens');
          return [root.innerText, ...[...root.querySelectorAll('[aria-label], [title]')]
            .map((e) => `${e.ariaLabel} ${e.title}`)].join('\\n').toLowerCase(); }"""
    )
    assert not [line for line in text.splitlines() if any(word in line for word in PICTURE_WORDS)]


def test_a_signal_is_a_curve_and_its_maps_are_bars(notebook):
    panel = shown(notebook, 0, "0:1")
    assert panel.text(".picture-card h3") == "signal 0"  # the first of the dataset
    assert panel.page.locator(".nn-lens .sample").count() == 6
    no_picture_words(panel)
    values = np.array(notebook.python("result = nl.activations(signals, lens.picture, '0').maps[1].tolist()"))
    bars = panel.pixels("canvas.map").astype(int)
    assert bars.shape == (120, 448, 3)
    # By column of the map, in the middle of its bar: orange above zero, blue below, as high as the value.
    columns = bars[:, 3 + 7 * np.arange(64)]
    above, below = (columns == [214, 106, 16]).all(2).sum(0), (columns == [47, 111, 176]).all(2).sum(0)
    np.testing.assert_allclose(above - below, values / np.abs(values).max() * 59, atol=1.1)
    panel.page.locator(".nn-lens .frame").first.click(position={"x": 100, "y": 40})
    panel.wait(".sees", "e.classList.contains('locked')")
    notebook.until("result = len(lens.unit.place or ())", 1)
    place = notebook.python("result = lens.unit.place")
    panel.wait(".arithmetic", f"e.dataset.shown?.startsWith('0:1@{place[0]} ')")
    assert f"place {place[0]} of 0" in panel.text(".here .note")


def test_the_slices_of_a_volume(notebook):
    panel = shown(notebook, 1, "0:1")
    assert panel.text(".picture-card h3") == "your volume"
    no_picture_words(panel)
    for at, of_map in ((0, 0), (7, 5)):
        panel.slide("slice", at)
        notebook.until("result = lens.slice", (at + 0.5) / 8)
        key = notebook.python("result = lens._picture['key']")
        panel.wait("canvas.map", f"e.dataset.shown?.startsWith('{key} ')")
        code = f"m = nl.activations(lens.session.net, x, '0').maps[1]; result = (m[{of_map}] / abs(m).max()).tolist()"
        values = np.array(notebook.python(code))
        pixels = panel.pixels("canvas.map").astype(int)
        assert pixels.shape[:2] == values.shape
        warm = pixels[..., 0] - pixels[..., 2]  # orange above zero, blue below
        assert (np.sign(warm)[np.abs(values) > 0.1] == np.sign(values)[np.abs(values) > 0.1]).all()
        assert panel.text(".slider:has(.slice) output") == f"{at} of 0–7"
    panel.page.locator(".nn-lens .frame").first.click(position={"x": 60, "y": 60})
    notebook.until("result = len(lens.unit.place or ())", 3)
    assert notebook.python("result = lens.unit.place")[0] == 5


def test_the_steps_of_a_sequence(notebook):
    panel = shown(notebook, 2, "steps:1")
    assert panel.text(".picture-card h3") == "your sequence"
    assert panel.page.locator(".nn-lens input.slice").is_hidden()
    assert panel.page.locator(".nn-lens .camera").count() == 0
    no_picture_words(panel)
    notebook.python("lens.unit = 'steps:2@7'; result = 0")
    panel.wait(".unit-card .address", "e.textContent === 'nl.Unit(\"steps\", 2, 7)'")
    panel.wait_for_unit("steps:2")
