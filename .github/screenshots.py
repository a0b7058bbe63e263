"""Makes the README's pictures of the panel, light and dark, in a real JupyterLab; `python .github/screenshots.py`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from browser.jupyter import ARGUMENTS, CHROMIUM, Notebook, jupyter_lab, write_notebook  # noqa: E402
from browser.panel import Panel  # noqa: E402


def main() -> None:
    """Opens the panel on one unit and takes its picture in each theme."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unit", default="conv1:20")
    parser.add_argument("--picture", default="cat")
    parser.add_argument("--view", default="all", help="evidence, or a card's name")
    parser.add_argument("--compare", action="store_true", help="beside the same network with shuffled weights")
    parser.add_argument("--folder", type=Path, default=HERE)
    parser.add_argument("--page", action="store_true", help="the whole page, not the panel alone")
    options = parser.parse_args()
    compare = ", compare=nl.randomized(net)" if options.compare else ""
    cell = f'import nn_lens as nl\n\nnet = nl.demo()\nlens = nl.Lens(net, unit="{options.unit}", picture=net.samples["{options.picture}"]{compare})\nlens'
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, jupyter_lab(Path(folder)) as url:
        write_notebook(Path(folder) / "panel.ipynb", [cell])
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(
            viewport={"width": 1280, "height": 1350 if options.view == "all" and not compare else 4200}
        )
        notebook = Notebook(page, url, "panel.ipynb")
        page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
        notebook.run_all()
        panel = Panel(notebook)
        for name, theme in (("light", "JupyterLab Light"), ("dark", "JupyterLab Dark")):
            page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
            page.wait_for_timeout(1500)
            if not compare:
                panel.wait_for_unit(options.unit)
            notebook.python(f"lens.view = {options.view!r}; result = 0")
            if compare or options.view != "all":
                page.wait_for_timeout(1000)
                page.wait_for_function(
                    "() => ![...document.querySelectorAll('.nn-lens .card:not([hidden])')]"
                    ".some((c) => c.matches('.stale') || /running/.test(c.dataset.shown))",
                    timeout=180_000,
                )
                page.wait_for_timeout(4000)
            title = "compare" if compare else "panel" if options.view == "all" else options.view
            path = options.folder / f"{title}-{name}.png"
            if options.page:
                page.screenshot(path=path)
            else:
                box = page.locator(".nn-lens").bounding_box()
                # Of the long tab of evidence, down to the units that speak for the answer.
                last = page.locator(".nn-lens .contributions").bounding_box() if title == "evidence" else box
                page.screenshot(path=path, clip={**box, "height": last["y"] + last["height"] + 8 - box["y"]})
        browser.close()


if __name__ == "__main__":
    main()
