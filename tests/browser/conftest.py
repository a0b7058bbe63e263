"""One JupyterLab and one Chromium for all browser tests; skipped where there is no Chromium, but not in CI.

A module's notebooks end with it: a kernel that is left alone keeps its memory, and may go on computing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from browser.jupyter import (
    ARGUMENTS,
    CHROMIUM,
    RECORD,
    Notebook,
    jupyter_lab,
    state_of,
    stop_kernels,
    write_notebook,
)

ROOT = Path(__file__).parent.parent.parent


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure says what its pages were at, in case it does not come again."""
    report = yield
    browser = item.funcargs.get("chromium") if report.failed else None
    for context in browser.contexts if browser else []:
        for page in context.pages:
            report.sections.append((f"page {page.url.split('?')[0]}", state_of(page)))
    return report


@pytest.fixture(scope="package")
def chromium():
    """A browser, in which every page has a context of its own."""
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs Chromium for the browser tests: apt-get install chromium")
        pytest.skip("there is no Chromium for the browser tests: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def lab(chromium, tmp_path_factory):
    """(address, folder) of a JupyterLab server."""
    folder = tmp_path_factory.mktemp("lab")
    with jupyter_lab(folder) as url:
        yield url, folder


@pytest.fixture(scope="module")
def opened(lab, chromium):
    """Opens a notebook, the starter or one of code cells, in a page of its own."""
    url, folder = lab
    contexts = []

    def open_(name: str, cells: list[str] | None = None) -> Notebook:
        if cells is None:
            shutil.copy(ROOT / "notebooks" / "01_first_look.ipynb", folder / name)
        else:
            write_notebook(folder / name, cells)
        context = chromium.new_context(viewport={"width": 1280, "height": 1000})
        context.add_init_script(RECORD)
        contexts.append(context)
        notebook = Notebook(context.new_page(), url, name)
        notebook.run_all()
        return notebook

    yield open_
    for context in contexts:
        context.close()
    stop_kernels(url)


@pytest.fixture
def shown(chromium):
    """Draws a widget in a bare page of a size: no Jupyter, no kernel."""
    from browser.bare import Bare
    from browser.panel import Panel

    contexts, widgets = [], []

    def show(lens, width: int = 1100, height: int = 610, **options) -> Panel:
        context = chromium.new_context(viewport={"width": width, "height": height})
        context.add_init_script(RECORD)
        contexts.append(context)
        widgets.append(lens)
        return Panel(Bare(context.new_page(), lens, **options))

    yield show
    for context in contexts:
        context.close()
    for widget in widgets:
        widget.close()
