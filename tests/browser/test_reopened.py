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

PICTURE = "image/jpeg"
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
    for selector in ("canvas.picture", ".unit-row figure:nth-child(4) canvas"):
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
          await commands.execute(id); // as it is by default, for all notebooks to come
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


def test_at_default_settings_a_notebook_shows_the_last_state(opened, lab):
    """The notebook is saved as everybody saves it, without the widgets' state."""
    url, folder = lab
    notebook = opened("default.ipynb", [CELL])
    panel = Panel(notebook, 120_000)
    panel.wait_for_unit("relu1:3")
    root = notebook.page.locator(".nn-lens").first.element_handle()
    save = "() => window.jupyterapp.shell.currentWidget.context.save()"

    def saved():
        notebook.page.evaluate(save)
        (output,) = json.loads((folder / "default.ipynb").read_text())["cells"][0]["outputs"]
        return output["data"]

    notebook.until("result = len(lens._snapshot) > 0", True)
    panel.wait_for_rest(lambda: notebook.python("result = len(lens._snapshot)"))
    first = saved()
    assert len(first[PICTURE]) <= 150_000
    assert base64.b64decode(first[PICTURE]) == base64.b64decode(
        notebook.python("import base64; result = base64.b64encode(lens._snapshot).decode()")
    )
    assert saved()[PICTURE] == first[PICTURE], "the same bytes while nothing changes"
    before = notebook.python("import hashlib; result = hashlib.md5(lens._snapshot).hexdigest()")
    panel.slide("unit", 5)
    panel.wait_for_unit("relu1:5")
    notebook.until(f"result = hashlib.md5(lens._snapshot).hexdigest() != {before!r}", True)
    assert saved()[PICTURE] != first[PICTURE], "it is renewed"
    assert root.evaluate("e => e.isConnected"), "and the panel that is shown stays as it is"
    assert "widgets" not in json.loads((folder / "default.ipynb").read_text())["metadata"]
    notebook.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    again = Notebook(notebook.page, url, "default.ipynb")
    notebook.page.wait_for_selector(".nn-lens-asleep img")
    assert "Run the cell to make it live" in notebook.page.locator(".nn-lens-asleep").inner_text()
    assert (
        notebook.page.locator("text=model not found").count() == 0
        or not notebook.page.locator("text=model not found").first.is_visible()
    )
    again.run_all()
    Panel(again).wait_for_unit("relu1:3")
    assert notebook.page.locator(".nn-lens-asleep").count() == 0


def test_no_picture_where_none_is_wanted(opened, lab):
    notebook = opened("none.ipynb", [CELL.replace('unit="relu1:3"', 'unit="relu1:3", snapshot=False')])
    panel = Panel(notebook, 120_000)
    panel.wait_for_unit("relu1:3")
    notebook.page.wait_for_timeout(3000)
    assert notebook.python("result = len(lens._snapshot)") == 0
    notebook.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")
    (output,) = json.loads((lab[1] / "none.ipynb").read_text())["cells"][0]["outputs"]
    assert PICTURE not in output["data"]


def test_a_panel_in_a_window_of_its_own(opened):
    notebook = opened("dock.ipynb", [CELL])
    panel = Panel(notebook, 120_000)
    panel.wait_for_unit("relu1:3")
    notebook.page.click(".nn-lens .dock")
    notebook.page.wait_for_function("() => document.querySelectorAll('.nn-lens').length === 2")
    notebook.page.evaluate(
        "() => { const { shell } = window.jupyterapp; for (const w of shell.widgets('main'))"
        " if (w.sessionContext) shell.activateById(w.id); }"
    )
    notebook.page.wait_for_function("() => window.jupyterapp.shell.currentWidget?.sessionContext")
    notebook.python("lens.unit = 'relu1:7'; result = 0")
    notebook.page.wait_for_function(
        "() => [...document.querySelectorAll('.nn-lens')].every((e) => e.dataset.unit === 'relu1:7')"
    )
    docks = notebook.page.locator(".nn-lens .dock")
    assert [docks.nth(i).is_visible() for i in range(2)] == [True, False], "it is docked already"
    assert notebook.page.locator(".nn-lens .controls .problem:visible").count() == 0
