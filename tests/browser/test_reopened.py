"""A page that is loaded again, and a saved notebook that is opened without its kernel, in a real JupyterLab."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from browser.jupyter import Notebook
from browser.panel import Panel

CELL = 'import nn_lens as nl\n\nnet = nl.demo()\nlens = nl.Lens(net, unit="relu1:3", picture=net.samples["cat"])\nlens'
NAME = "reopened.ipynb"


@pytest.fixture(scope="module")
def panel(opened):
    notebook = opened(NAME, [CELL])
    panel = Panel(notebook, 120_000)
    panel.wait_for_unit("relu1:3")
    return panel


def reopened(panel: Panel, url: str) -> Panel:
    """The same notebook, saved, in a page that is loaded anew; its cells are not run."""
    panel.page.evaluate("() => window.jupyterapp.shell.currentWidget?.context.save()")
    return Panel(Notebook(panel.page, url, NAME))


def taken(panel: Panel) -> Image.Image:
    panel.notebook.until("result = len(lens._snapshot) > 0", True)
    text = panel.notebook.python("import base64; result = base64.b64encode(lens._snapshot).decode()")
    data = base64.b64decode(text)
    assert len(data) <= 61_440
    return Image.open(io.BytesIO(data))


def test_a_panel_at_rest_keeps_a_small_picture_of_itself(panel):
    image = taken(panel)
    assert image.format == "JPEG"
    root = panel.page.locator(".nn-lens").first
    box = root.bounding_box()
    assert image.width / image.height == pytest.approx(box["width"] / box["height"], rel=0.02)
    # Where the picture is, and where the map is, it shows what the page shows.
    scale = image.width / box["width"]
    for selector in ("canvas.picture", "canvas.map"):
        own = panel.page.locator(f".nn-lens {selector}").first
        at = own.bounding_box()
        left, top = (at["x"] - box["x"]) * scale, (at["y"] - box["y"]) * scale
        part = image.crop((left, top, left + at["width"] * scale, top + at["height"] * scale)).resize((24, 24))
        there = Image.fromarray(panel.pixels(selector)).resize((24, 24))
        assert np.corrcoef(np.asarray(part, float).ravel(), np.asarray(there, float).ravel())[0, 1] > 0.9, selector


def test_a_page_that_is_loaded_again_is_live(panel, lab):
    panel.notebook.python("lens.unit = 'relu2:7'; result = 0")
    panel.wait_for_unit("relu2:7")
    again = reopened(panel, lab[0])
    again.wait_for_unit("relu2:7")
    again.slide("unit", 11)
    again.wait_for_unit("relu2:11")
    assert again.page.locator(".nn-lens .asleep").is_hidden()
    assert not again.notebook.problems


def test_a_notebook_without_its_kernel_shows_the_last_state(panel, lab):
    panel.notebook.python("lens._snapshot = b''; result = 0")
    again = reopened(panel, lab[0])
    again.wait_for_unit("relu2:11")
    taken(again)
    page = again.page
    # What the menu's "Save Notebook Widget State" and then "Save" do.
    state = page.evaluate(
        """async () => {
          const { commands, shell } = window.jupyterapp;
          const context = shell.currentWidget.context;
          const id = '@jupyter-widgets/jupyterlab-manager:saveWidgetState';
          if (!commands.isToggled(id)) await commands.execute(id);
          await context.save();
          await shell.currentWidget.sessionContext.shutdown();
          return context.model.toJSON().metadata.widgets;
        }"""
    )
    assert "_snapshot" in json.dumps(state), "the picture is saved in the notebook"
    asleep = reopened(again, lab[0])
    asleep.wait(".asleep", "!e.hidden && e.textContent.includes('run the cell to make it live')")
    shown = page.locator(".nn-lens .asleep img")
    page.wait_for_function("() => document.querySelector('.nn-lens .asleep img').naturalWidth > 300")
    assert "relu2:11" in shown.get_attribute("alt")
    assert page.locator(".nn-lens .controls").is_hidden()
    asleep.notebook.run_all()
    asleep.wait_for_unit("relu1:3")
    assert page.locator(".nn-lens .asleep").first.is_hidden()
