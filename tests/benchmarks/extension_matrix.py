"""Whether the extension works with older versions, and with JupyterLab's setting for comms over subshells at all its values.

    python tests/benchmarks/extension_matrix.py [--lab 4.4.* latest] [--ipykernel 6.29.* 7.1.* latest]

needs the [test] extra, Chromium and a package index; a minute for each row. Each JupyterLab gets an environment of its own
without torch; each ipykernel lies in a folder that the kernel of this environment looks into first. Prints a table:

* list: the side panel lists a network
* panel: a panel that is opened by a command follows its slider
* beside: how many of five moves of the slider bring new maps while a cell runs
* figure: a figure of pyplot that a cell makes while the slider moves is drawn once, by its own cell
* after: the side panel's list is current after that cell
* clean: the user's names, history and counter are as they were
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
LABEXTENSION = HERE.parent.parent / "nn_lens" / "labextension"
sys.path[:0] = [str(HERE.parent)]

from browser.jupyter import ARGUMENTS, CHROMIUM, Notebook, jupyter_lab, write_notebook  # noqa: E402
from browser.panel import Panel  # noqa: E402

SUBSHELLS = ("disabled", "perComm", "perCommTarget")
COLUMNS = ("list", "panel", "beside", "figure", "after", "clean")
MODEL = "%matplotlib inline\nimport torch\nmodel = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())"
RUNNING = "import time, matplotlib.pyplot as plt\nfigure = plt.figure(); plt.plot([1, 2])\ntime.sleep(30)\nended = plt.get_fignums()"
STATE = "ip = get_ipython(); result = [ip.execution_count, len(In), len(Out), sorted(n for n in dir() if 'lens' in n)]"


def installed(what: str, version: str, folder: Path, *options: str, python: str = sys.executable) -> None:
    """Installs a version, "latest" for the newest."""
    wanted = what if version == "latest" else f"{what}=={version}"
    subprocess.run([python, "-m", "pip", "install", "-q", wanted, *options], check=True, cwd=folder)


def lab_python(version: str, folder: Path) -> str:
    """Python of a new environment with a JupyterLab and what draws widgets in it, and no torch."""
    venv.create(folder, with_pip=True)
    python = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
    installed("jupyterlab", version, folder, "jupyterlab_widgets>=3", "anywidget>=0.9.18", python=python)
    (folder / "share" / "jupyter" / "labextensions" / "nn-lens").symlink_to(LABEXTENSION, target_is_directory=True)
    return python


@contextmanager
def served(python: str, kernel: Path, subshells: str) -> Iterator[tuple[str, Path]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = folder / ".share" / "kernels" / "python3"
        spec.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        content = {"argv": argv, "display_name": "Python 3", "language": "python", "env": {"PYTHONPATH": str(kernel)}}
        (spec / "kernel.json").write_text(json.dumps(content))
        settings = folder / ".config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "kernels-settings.jupyterlab-settings").write_text(json.dumps({"commsOverSubshells": subshells}))
        write_notebook(folder / "matrix.ipynb", [MODEL, RUNNING])
        with jupyter_lab(folder, python) as url:
            yield url, folder


def row(url: str, chromium) -> dict[str, str]:
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    found = dict.fromkeys(COLUMNS, "no")
    try:
        notebook = Notebook(context.new_page(), url, "matrix.ipynb")
        page = notebook.page
        page.set_default_timeout(30_000)
        page.evaluate(
            "() => { const { content } = window.jupyterapp.shell.currentWidget; content.activeCellIndex = 0;"
            " return window.jupyterapp.commands.execute('notebook:run-cell'); }"
        )
        before = notebook.python(STATE)
        page.evaluate("() => { void window.jupyterapp.commands.execute('nn-lens:toggle-side-panel'); }")
        page.locator(".nn-lens-side .line.net .who", has_text="model").first.wait_for()
        found["list"] = "yes"
        page.wait_for_timeout(1000)
        found["clean"] = "yes" if notebook.python(STATE) == before else "no"
        page.evaluate("() => { void window.jupyterapp.commands.execute('nn-lens:open-demo', { unit: 'conv1:0' }); }")
        panel = Panel(notebook, 60_000)
        panel.slide("unit", 3)
        panel.wait_for_unit("conv1:3")
        found["panel"] = "yes"
        page.evaluate(
            "() => { const { content } = window.jupyterapp.shell.currentWidget; content.activeCellIndex = content.widgets.length - 1;"
            " void window.jupyterapp.commands.execute('notebook:run-cell'); }"
        )
        page.wait_for_timeout(1000)
        found["beside"] = f"{sum(moved(panel, layer) for layer in range(1, 6))} of 5"
        ended = notebook.python("result = ended")  # when the cell has: its kernel may call itself idle before
        page.wait_for_timeout(1000)
        images = page.locator(".jp-Notebook .jp-RenderedImage img").count()
        found["figure"] = "yes" if images == 1 and ended == [1] else "no"
        note = page.locator(".nn-lens-side .note")
        found["after"] = "no" if note.is_visible() else "yes"
    except Exception as error:
        found["problem"] = str(error).splitlines()[0][:80]
    finally:
        context.close()
    return found


def moved(panel: Panel, layer: int) -> bool:
    panel.slide("layer", layer)
    try:
        panel.wait(
            "canvas.map",
            f"!e.closest('.stale') && Number(document.querySelector('.nn-lens input.layer').value) === {layer}",
            3000,
        )
    except Exception:
        return False
    return True


def main() -> None:
    """Prints a line for each combination as it is done."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", nargs="+", default=["4.4.*", "latest"])
    parser.add_argument("--ipykernel", nargs="+", default=["6.29.*", "7.1.*", "latest"])
    options = parser.parse_args()
    print(f"{'JupyterLab':12}{'ipykernel':12}{'subshells':16}" + "".join(f"{name:9}" for name in COLUMNS))
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        pythons = {lab: lab_python(lab, Path(name) / f"lab{i}") for i, lab in enumerate(options.lab)}
        kernels = {}
        for i, version in enumerate(options.ipykernel):
            kernels[version] = Path(name) / f"kernel{i}"
            installed("ipykernel", version, Path(name), "--target", str(kernels[version]), "--no-deps")
        for lab, python in pythons.items():
            for version, kernel in kernels.items():
                for subshells in SUBSHELLS:
                    with served(python, kernel, subshells) as (url, _):
                        found = row(url, browser)
                    print(
                        f"{lab:12}{version:12}{subshells:16}" + "".join(f"{found[c]:9}" for c in COLUMNS),
                        found.get("problem", ""),
                        flush=True,
                    )
        browser.close()


if __name__ == "__main__":
    main()
