"""The panel outside JupyterLab: in Notebook 7 and in Voila, which the same server serves."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from browser.jupyter import LIMIT, write_notebook
from browser.panel import Panel

CELL = 'import nn_lens as nl\n\nnet = nl.demo()\nlens = nl.Lens(net, unit="relu1:3", picture=net.samples["cat"])\nlens'


class Home:
    """A page in which a panel is to be found; what goes wrong in it, but for what is Notebook's own."""

    def __init__(self, page):
        self.page, self.problems = page, []
        page.set_default_timeout(LIMIT)
        page.on("pageerror", lambda error: "/static/notebook/" in error.stack or self.problems.append(error.stack))


@pytest.fixture
def home(lab, chromium):
    url, folder = lab
    pytest.importorskip("notebook", reason="Notebook 7 is not installed: pip install notebook")
    pytest.importorskip("voila", reason="Voila is not installed: pip install voila")
    write_notebook(folder / "home.ipynb", [CELL])
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    start, token = url.split("/lab?")
    page = context.new_page()
    yield Home(page), start, token
    context.close()


def works(panel: Panel) -> None:
    """The views, both sliders, a sample and a locked place."""
    panel.wait_for_unit("relu1:3")
    panel.slide("unit", 11)
    panel.wait_for_unit("relu1:11")
    panel.slide("layer", 0)
    panel.wait_for_unit("conv1:11")
    panel.page.locator(".nn-lens .sample").nth(1).click()
    panel.wait(".picture-card h3", "e.textContent !== 'cat'")
    panel.wait_for_unit("conv1:11")
    panel.page.locator(".nn-lens .frame").first.click(position={"x": 60, "y": 60})
    panel.wait(".sees", "e.classList.contains('locked')")
    panel.wait(".arithmetic", "e.dataset.shown?.startsWith('conv1:11@')")
    assert panel.page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"), "nothing sticks out"
    assert not panel.notebook.problems


def test_notebook_7(home):
    home, start, token = home
    page = home.page
    page.goto(f"{start}/notebooks/home.ipynb?{token}")
    page.wait_for_selector(".jp-Notebook")
    page.wait_for_selector(
        ".jp-NotebookKernelStatus, .jp-Notebook-ExecutionIndicator[data-status=idle]", state="attached"
    )
    run_the_cell(page)
    works(Panel(home, 120_000))


def run_the_cell(page) -> None:
    """By its key, which Notebook takes no earlier than its own start is over; its menus come and go until then."""
    cell, prompt = page.locator(".jp-CodeCell .cm-content").first, page.locator(".jp-InputPrompt").first
    end = time.monotonic() + LIMIT / 1000
    while prompt.inner_text().strip() in ("", "[ ]:"):
        assert time.monotonic() < end, "Notebook did not run the cell"
        cell.click()
        page.keyboard.press("Control+Enter")
        page.wait_for_timeout(1000)


def test_voila(home):
    home, start, token = home
    home.page.goto(f"{start}/voila/render/home.ipynb?{token}", timeout=120_000)
    works(Panel(home, 120_000))


MARIMO = """import marimo
app = marimo.App()

@app.cell
def _():
    import marimo as mo
    import nn_lens as nl
    net = nl.demo()
    lens = nl.Lens(net, unit="relu1:3", picture=net.samples["cat"])
    shown = mo.ui.anywidget(lens)
    shown
    return lens, mo, shown

@app.cell
def _(lens, mo, shown):
    shown.value
    mo.md(f"Python has {lens.unit}")
    return

if __name__ == "__main__":
    app.run()
"""


@pytest.fixture
def marimo(tmp_path):
    """The address of a notebook that marimo runs."""
    pytest.importorskip("marimo", reason="marimo is not installed: pip install marimo")
    (tmp_path / "shown.py").write_text(MARIMO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "marimo", "run", "shown.py", "--headless", "--no-token", f"--port={port}"]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(url, timeout=2)
            break
        except OSError:
            time.sleep(0.25)
    yield url
    server.terminate()
    server.wait(15)


def test_marimo(marimo, chromium):
    """`mo.ui.anywidget(lens)` in a tree of elements of its own, which selectors of the page do not see into."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    home = Home(page)
    page.goto(marimo, timeout=120_000)
    root = page.locator(".nn-lens")
    page.locator(".nn-lens .maximization[data-shown^='relu1 0 ']").wait_for(timeout=120_000)
    root.locator("input.unit").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.locator(".nn-lens canvas.map[data-shown$=' relu1:7']:not(.stale)").wait_for(state="attached")
    page.get_by_text("Python has relu1:7").wait_for()
    # A number that is being typed stays as it is while the panel draws.
    number = root.locator(".controls input.number")
    number.fill("12")
    root.locator(".frame").first.hover(position={"x": 60, "y": 60})
    page.locator(".nn-lens .here[data-shown^='relu1 ']").wait_for()
    assert number.input_value() == "12"
    number.press("Enter")
    page.locator(".nn-lens canvas.map[data-shown$=' relu1:12']:not(.stale)").wait_for(state="attached")
    root.locator(".sample").nth(1).click()
    page.locator(".nn-lens .picture-card h3", has_text="astronaut").wait_for()
    root.locator(".frame").first.click(position={"x": 60, "y": 60})
    page.locator(".nn-lens .sees.locked").first.wait_for()
    assert not home.problems
    context.close()
