"""Two networks side by side in a real JupyterLab: one selection, one colour scale."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import nn_lens as nl
from browser.panel import Panel
from nn_lens.engine.pictures import images

CELL = """import copy, torch, nn_lens as nl
net = nl.demo()
model = copy.deepcopy(net.model)
with torch.no_grad():
    next(model.parameters()).mul_(0.5)
tuned = nl.Network(model, net.input_shape, False, net.labels)
lens = nl.Lens(net, unit="relu2:5", picture=net.samples["cat"], compare=tuned)
lens"""


@pytest.fixture(scope="module")
def panel(opened):
    notebook = opened("compare.ipynb", [CELL])
    panel = Panel(notebook, 120_000)
    both(panel, "relu2:5")
    yield panel
    assert not notebook.problems, "the console is free of errors"


def both(panel: Panel, unit: str) -> None:
    panel.page.wait_for_function(
        """(unit) => {
          const maps = [...document.querySelectorAll('.nn-lens canvas.map')];
          return maps.length === 2 && maps.every((m) => m.dataset.shown?.endsWith(' ' + unit) && !m.classList.contains('stale'));
        }""",
        arg=unit,
    )


def test_the_selection_is_one(panel):
    panel.slide("unit", 9)
    both(panel, "relu2:9")
    panel.slide("layer", 2)
    both(panel, "relu1:9")
    panel.notebook.until("result = [str(lens.unit), str(lens.compared.unit)]", ["relu1:9", "relu1:9"])
    # A click on the right walks on both sides.
    panel.page.locator(".nn-lens .card.maximization.follower .tile").nth(3).click()
    panel.page.wait_for_function("() => document.querySelector('.nn-lens').dataset.unit === 'relu1:3'")
    both(panel, "relu1:3")


def test_one_scale_colours_both(panel):
    panel.slide("unit", 9)
    both(panel, "relu1:9")
    found = panel.notebook.python(
        "result = [nl.activations(n, net.samples['cat'], 'relu1').maps[9].tolist() for n in (net, tuned)]"
    )
    left, right = (np.array(f, np.float32) for f in found)
    assert right.max() < 0.6 * left.max(), "the second network answers half as much"
    table = images.colour_table(images.SEQUENTIAL).astype(int)
    for selector, values in (
        (".picture-card:not(.follower) canvas.map", left),
        (".picture-card.follower canvas.map", right),
    ):
        expected = table[np.clip(np.rint(255 * values / left.max()), 0, 255).astype(int)]
        # Levels of the darker map are of its own range, so that its colours may be off by one or two.
        assert np.abs(panel.pixels(selector).astype(int) - expected).max() <= 6


def test_each_may_have_its_own_scale(panel):
    both(panel, "relu1:9")
    one = panel.pixels(".picture-card.follower canvas.map")
    panel.page.locator(".nn-lens .card.activations select").first.select_option("own")
    panel.wait_for_frame()
    own = panel.pixels(".picture-card.follower canvas.map")
    assert own.astype(int).sum() > one.astype(int).sum() + 1000, (
        "the second network's maps are as bright as the first's"
    )
    panel.page.locator(".nn-lens .card.activations select").first.select_option("map")
    panel.wait_for_frame()
    np.testing.assert_array_equal(panel.pixels(".picture-card.follower canvas.map"), one)


def test_a_locked_place_is_one(panel):
    panel.page.locator(".nn-lens .picture-card.follower .frame").first.click(position={"x": 100, "y": 60})
    panel.page.wait_for_function("() => document.querySelectorAll('.nn-lens .sees.locked:not([hidden])').length === 4")
    panel.notebook.until("result = lens.unit.row is not None and lens.unit == lens.compared.unit", True)
    shown = panel.page.locator(".nn-lens .card.here").evaluate_all("cards => cards.map((c) => c.dataset.shown)")
    assert len(set(shown)) == 1
    panel.page.locator(".nn-lens").press("Escape")
    panel.page.wait_for_function("() => !document.querySelector('.nn-lens .sees.locked')")


def test_a_new_picture_is_for_both(panel):
    panel.page.locator(".nn-lens .sample").nth(1).click()
    name = list(nl.demo().samples)[1]
    panel.page.wait_for_function(
        "(name) => [...document.querySelectorAll('.nn-lens .picture-card h3')].every((n) => n.textContent === name)",
        arg=name,
    )
    both(panel, "relu1:9")
    tables = panel.page.locator(".nn-lens .scores")
    panel.page.wait_for_function("() => [...document.querySelectorAll('.nn-lens .scores td')].length >= 20")
    assert tables.count() == 2
    assert tables.nth(0).inner_text() != tables.nth(1).inner_text()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_no_serious_fault(panel, theme):
    panel.theme(theme)
    assert not panel.faults()


def test_nothing_sticks_out_of_a_narrow_column(panel):
    panel.page.set_viewport_size({"width": 760, "height": 1000})
    # JupyterLab lays its cells out in several steps, and the cards follow.
    panel.page.wait_for_function(
        """() => {
          const root = document.querySelector('.nn-lens');
          return root.offsetWidth < 650 && root.scrollWidth <= root.clientWidth;
        }"""
    )
    panel.page.set_viewport_size({"width": 1280, "height": 1000})


def test_the_exported_pair_goes_on_without_a_kernel(chromium, tmp_path):
    first, second = nl.demo("digits"), nl.Network(copy.deepcopy(nl.demo("digits").model), (1, 8, 8), False)
    with torch.no_grad():
        next(second.model.parameters()).mul_(0.5)
    lens = nl.Lens(first, unit="relu1:3", compare=second)
    lens.to_html(tmp_path / "pair.html")
    lens.close()
    context = chromium.new_context(offline=True)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((tmp_path / "pair.html").as_uri())

    class Page:
        def __init__(self):
            self.page = page

    exported = Panel(Page())
    both(exported, "relu1:3")
    exported.slide("unit", 7)
    both(exported, "relu1:7")
    context.close()
    assert not problems


def test_a_closed_pair_leaves_nothing(panel):
    found = panel.notebook.python(
        "import threading\nlens.close()\nresult = [t.name for t in threading.enumerate() if t.name.startswith('nn-lens')]"
    )
    assert found == []
