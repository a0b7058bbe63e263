"""JupyterLab's extension: commands, side panel, file browser, status and settings, with two notebooks and a console."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from browser.jupyter import LIMIT, Notebook, write_notebook
from browser.panel import Panel

SIDE = ".nn-lens-side"
MODEL = """
import torch
class Residual(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.act = torch.nn.ReLU()
        self.head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8 * 16 * 16, 4))
    def forward(self, x):
        return self.head(self.act(self.conv(x)))
class Trainer:
    pass
model = Residual()
trainer = Trainer()
trainer.best = Residual().eval()
"""


LENSES = "from ipywidgets import Widget; lenses = [w for w in Widget.widgets.values() if type(w).__name__ == 'Lens']"


class Lab:
    """What the tests do in the page of a JupyterLab."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook, self.page = notebook, notebook.page

    def run(self, command: str, **args: Any) -> None:
        """A command, not waited for."""
        self.page.evaluate("([id, args]) => { void window.jupyterapp.commands.execute(id, args); }", [command, args])

    def front(self, path: str) -> None:
        """Brings an open document to the front, or opens it."""
        self.page.evaluate(
            "async (path) => { await window.jupyterapp.commands.execute('docmanager:open', { path }); }", path
        )
        self.page.wait_for_function("(path) => window.jupyterapp.shell.currentWidget?.context?.path === path", arg=path)
        self.notebook.wait_for_kernel()

    def cells(self) -> list[str]:
        """The sources of the notebook in front."""
        return self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.map((c) => c.model.sharedModel.source)"
        )

    def python(self, code: str) -> Any:
        return self.notebook.python(code)

    def cell(self, code: str) -> None:
        """Puts a cell at the end of the notebook in front, and runs it as a hand does; not waited for."""
        self.page.evaluate(
            """(code) => {
              const { commands, shell } = window.jupyterapp;
              const { content } = shell.currentWidget;
              const index = content.widgets.length;
              content.model.sharedModel.insertCell(index, { cell_type: 'code', source: code, metadata: {} });
              content.activeCellIndex = index;
              void commands.execute('notebook:run-cell');
            }""",
            code,
        )

    def show_side(self) -> None:
        if not self.page.locator(SIDE).is_visible():
            self.run("nn-lens:toggle-side-panel")
        self.page.wait_for_selector(f"{SIDE} .note, {SIDE} .line", state="attached")

    def says(self, words: str) -> None:
        """Until the side panel says it."""
        self.page.locator(f"{SIDE} .note", has_text=words).wait_for()

    def line(self, text: str) -> Any:
        """A line of the side panel, by its first words."""
        who = self.page.locator(".who", has_text=re.compile(f"^{re.escape(text)}$"))
        return self.page.locator(f"{SIDE} .line:visible").filter(has=who).first

    def nets(self) -> list[str]:
        return self.page.locator(f"{SIDE} .line.net:visible .who").all_inner_texts()

    def count_requests(self) -> None:
        """Counts from now on what the page sends to the kernel in front."""
        self.page.evaluate(
            """() => {
              window.asked = [];
              const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
              kernel.anyMessage.connect((_, { msg, direction }) => {
                if (direction === 'send') window.asked.push(msg.header.msg_type);
              });
            }"""
        )

    def requests(self) -> list[str]:
        return self.page.evaluate("() => window.asked")


@pytest.fixture(scope="module")
def lab_page(opened, lab):
    notebook = opened("extension.ipynb", [MODEL])
    folder: Path = lab[1]
    write_notebook(folder / "second.ipynb", ["other = 1"])
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 60, 3), np.uint8))
    picture.save(folder / "stripes.png")
    (folder / "weights").mkdir(exist_ok=True)
    (folder / "notes.txt").write_text("no picture")
    yield Lab(notebook)
    assert not notebook.problems, notebook.problems


@pytest.fixture(autouse=True)
def _console(lab_page):
    yield
    assert not lab_page.notebook.problems, lab_page.notebook.problems


def test_what_is_loaded_at_the_start_is_small(lab_page):
    """Before anything of it is used. The time is that of all activations, with an application that takes no time itself."""
    bytes_, milliseconds = lab_page.page.evaluate(
        """async () => {
          const own = performance.getEntriesByType('resource').filter(({ name }) => name.includes('extensions/nn-lens/'));
          const { default: plugins } = (await window._JUPYTERLAB['nn-lens'].get('./extension'))();
          const nothing = new Proxy(function () {}, {
            get: (_, name) => (name === 'then' ? undefined : name === Symbol.toPrimitive ? () => '' : nothing),
            apply: () => nothing,
          });
          const began = performance.now();
          for (const plugin of plugins) {
            const tokens = [...(plugin.requires ?? []), ...(plugin.optional ?? [])];
            try { plugin.activate(nothing, ...tokens.map(({ name }) => (/palette|translat|setting/i.test(name) ? null : nothing))); }
            catch (error) { console.warn(String(error)); }
          }
          return [own.reduce((sum, { decodedBodySize }) => sum + decodedBodySize, 0), performance.now() - began];
        }"""
    )
    assert 0 < bytes_ <= 60_000, bytes_
    assert milliseconds <= 50, milliseconds


def test_each_part_can_be_switched_off_and_each_command_is_described(lab_page):
    plugins, commands = lab_page.page.evaluate(
        """async () => {
          const { commands, listPlugins } = window.jupyterapp;
          const ids = commands.listCommands().filter((id) => id.startsWith('nn-lens:'));
          const told = await Promise.all(ids.map(async (id) => [id, commands.label(id), (await commands.describedBy(id)).args?.type]));
          return [window.jupyterapp.listPlugins().filter((id) => id.startsWith('nn-lens:')), told];
        }"""
    )
    assert sorted(plugins) == [
        f"nn-lens:{name}" for name in ("commands", "filebrowser", "launcher", "sidepanel", "snapshot", "status")
    ]
    assert len(commands) >= 12
    for command, label, described in commands:
        assert label, command
        assert described == "object", command


def test_the_side_panel_lists_the_networks_of_the_notebook(lab_page):
    lab_page.show_side()
    lab_page.line("model").wait_for()
    assert lab_page.nets() == ["model", "trainer.best"]
    # 3*8*9 + 8 of the convolution, 2048*4 + 4 of the linear layer.
    told = lab_page.line("model").inner_text().replace("\n", " ")
    assert "Residual" in told
    assert "8,420 parameters" in told
    assert "cpu" in told
    assert "training" in told
    assert "evaluation" in lab_page.line("trainer.best").inner_text()
    assert "Conv2d · 8×3×3×3 · 224" in lab_page.line("conv").inner_text().replace("\n", " ")
    page = lab_page.page
    page.fill(f"{SIDE} input[type=search]", "linear")
    page.wait_for_function(f"() => document.querySelectorAll('{SIDE} .line:not([hidden])').length === 6")
    page.fill(f"{SIDE} input[type=search]", "")
    lab_page.line("act").wait_for()


def test_nothing_is_asked_while_one_types(lab_page):
    lab_page.show_side()
    lab_page.line("model").wait_for()
    lab_page.cell("typed = 1")
    lab_page.notebook.until("result = 'typed' in globals()", True)
    lab_page.page.wait_for_timeout(800)
    lab_page.count_requests()
    lab_page.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell .cm-content").last.click()
    lab_page.page.keyboard.type("x = 12345 + 2")
    lab_page.page.wait_for_timeout(800)
    assert "execute_request" not in lab_page.requests()
    lab_page.cell("second_model = torch.nn.ReLU()")
    lab_page.line("second_model").wait_for()
    lab_page.page.wait_for_timeout(800)
    assert lab_page.requests().count("execute_request") == 2, "the cell, and one question"
    lab_page.page.evaluate("() => { const { shell } = window.jupyterapp; shell.collapseLeft(); }")
    lab_page.cell("third_model = torch.nn.ReLU()")
    lab_page.page.wait_for_timeout(1500)
    assert lab_page.requests().count("execute_request") == 3, "nobody looks"
    lab_page.show_side()
    lab_page.line("third_model").wait_for()
    assert lab_page.python("result = [n for n in globals() if 'lens' in n or n == 'nl']") == []


def test_a_panel_is_opened_on_a_model_beside_the_notebook(lab_page):
    lab_page.show_side()
    lab_page.line("model").wait_for()
    lab_page.cell("import nn_lens as nl\nnet = nl.Network(model, (3, 16, 16))")
    lab_page.line("net").wait_for()
    lab_page.line("net").dblclick()
    Panel(lab_page.notebook, 120_000)
    lab_page.page.wait_for_function("() => document.querySelectorAll('.nn-lens').length === 2")
    assert lab_page.cells()[-1] == "import nn_lens as nl\n\nnl.Lens(net)"
    cell, beside = lab_page.page.evaluate(
        """() => [...document.querySelectorAll('.nn-lens')].map((e) =>
          e.closest('.jp-MainAreaWidget, .jp-NotebookPanel').getBoundingClientRect().toJSON())
          .sort((a, b) => a.left - b.left)"""
    )
    assert beside["left"] >= cell["right"] - 1
    assert beside["top"] == pytest.approx(cell["top"], abs=2)
    # A click selects in the open panel, and the panel's unit is shown in the tree.
    lab_page.page.wait_for_function(f"() => document.querySelector('{SIDE} .line.now .who')?.textContent === 'conv:0'")
    lab_page.line("act").click()
    lab_page.page.wait_for_function("() => document.querySelector('.nn-lens').dataset.unit === 'act:0'")
    lab_page.python(f"{LENSES}; lenses[-1].unit = 'act:5'; result = 0")
    lab_page.page.wait_for_function(f"() => document.querySelector('{SIDE} .line.now .who')?.textContent === 'act:5'")
    # Another network of the same class has no panel.
    lab_page.cell("import copy\ntwin = copy.deepcopy(model)")
    lab_page.line("twin").locator(".fold").click()
    lab_page.page.locator(f"{SIDE} .line[title^='twin, act']").click()
    lab_page.says("No panel of this network is open")
    shown = lab_page.page.locator(f"{SIDE} .line.now:visible").evaluate_all("(found) => found.map((e) => e.title)")
    assert [title.split(", ")[:2] for title in shown] == [["model", "act"]]
    lab_page.cell("del twin")


def test_enter_inserts_the_selected_unit(lab_page):
    lab_page.page.evaluate(
        "() => { const { content } = window.jupyterapp.shell.currentWidget; content.activeCellIndex = content.widgets.length - 1;"
        " window.jupyterapp.commands.execute('notebook:insert-cell-below'); }"
    )
    lab_page.page.locator(f"{SIDE} .line.now").first.click()
    lab_page.page.keyboard.press("Enter")
    lab_page.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.at(-1).model.sharedModel.source.includes('Unit')"
    )
    assert lab_page.cells()[-1] == 'nl.Unit("act", 5)'
    line = lab_page.page.locator(f"{SIDE} .line.net").first
    data = line.evaluate(
        """(e) => { const data = new DataTransfer();
          e.dispatchEvent(new DragEvent('dragstart', { bubbles: true, dataTransfer: data })); return data.getData('text/plain'); }"""
    )
    assert data == "nl.Lens(model)"


def test_the_present_view_as_code(lab_page):
    lab_page.run("nn-lens:insert-view")
    lab_page.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.some((c) => c.model.sharedModel.source.includes('act:5'))"
    )
    assert any(source.startswith('nl.Lens(net, unit="act:5"') for source in lab_page.cells())


def test_a_command_runs_its_own_cell_whatever_comes_to_the_front(lab_page, lab):
    write_notebook(lab[1] / "third.ipynb", ["before = 1"])
    lab_page.front("extension.ipynb")
    counts = "(p) => p.content.widgets.map((c) => c.model.executionCount ?? c.model.sharedModel.execution_count)"
    before = lab_page.page.evaluate(f"() => ({counts})(window.jupyterapp.shell.currentWidget)")
    lab_page.page.evaluate(
        """async () => {
          const { commands, shell } = window.jupyterapp;
          await commands.execute('docmanager:open', { path: 'third.ipynb' });
          while (shell.currentWidget?.context?.path !== 'third.ipynb') await new Promise((next) => setTimeout(next, 10));
          const done = commands.execute('nn-lens:open-model', { name: 'absent' });  // while the kernel starts
          await commands.execute('docmanager:open', { path: 'extension.ipynb' });
          await done;
        }"""
    )
    lab_page.front("third.ipynb")
    lab_page.page.locator(
        ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea", has_text="'absent' is not defined"
    ).wait_for()
    assert lab_page.cells() == ["before = 1", "import nn_lens as nl\n\nnl.Lens(absent)"]
    lab_page.front("extension.ipynb")
    assert lab_page.page.evaluate(f"() => ({counts})(window.jupyterapp.shell.currentWidget)") == before


def test_what_a_busy_kernel_shows_is_of_an_earlier_cell(lab_page):
    lab_page.show_side()
    lab_page.line("model").wait_for()
    slider = lab_page.page.locator(".nn-lens input.unit").first
    slider.wait_for()
    lab_page.cell(
        "%matplotlib inline\nimport time, matplotlib.pyplot as plt\nplt.figure()\n"
        "time.sleep(13); ended = plt.get_fignums(); fourth_model = torch.nn.ReLU()"
    )
    lab_page.says("A cell runs; this is as of cell")
    assert "model" in lab_page.nets()
    # Beside the cell, a kernel calls itself idle when it is done with what a slider sends; the cell's figure is its own.
    for value in (1, 2, 1):
        slider.evaluate("(e, n) => { e.value = n; e.dispatchEvent(new Event('input', { bubbles: true })); }", value)
        lab_page.page.wait_for_timeout(600)
    lab_page.page.locator(".nn-lens input.layer").first.evaluate(
        "(e) => { e.value = 0; e.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    lab_page.page.wait_for_function(
        "() => document.querySelector('.nn-lens .card.activations:not(.stale)')?.dataset.shown?.startsWith('conv ')",
        timeout=6000,
    )
    lab_page.says("A cell runs; this is as of cell")
    lab_page.line("fourth_model").wait_for()
    assert lab_page.page.locator(f"{SIDE} .note").is_hidden()
    assert lab_page.python("result = ended") == [1]


def test_the_status_bar_says_what_is_made_and_stops_it(lab_page):
    lab_page.run("nn-lens:open-demo", unit="relu3:1")
    page = lab_page.page
    busy = page.locator(".nn-lens-status", has_text="%")
    busy.first.wait_for()
    assert "Lens: " in busy.first.inner_text()
    page.click(".nn-lens-status button")
    page.locator(".nn-lens-status", has_text="idle").wait_for()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.nn-lens .card.maximization .note')].some((e) => e.textContent.includes('topped'))"
    )


def context_menu(page, name: str) -> list[str]:
    page.locator(".jp-DirListing-item", has_text=name).click(button="right")
    page.locator(".lm-Menu").first.wait_for()
    return page.locator(".lm-Menu-item:not(.lm-mod-hidden) .lm-Menu-itemLabel").all_inner_texts()


def test_pictures_of_the_file_browser_are_shown_to_the_panel(lab_page):
    page = lab_page.page
    page.evaluate("() => window.jupyterapp.commands.execute('filebrowser:activate')")
    page.locator(".jp-DirListing-item", has_text="stripes.png").wait_for()
    assert "Show to the Lens" not in context_menu(page, "notes.txt")
    page.keyboard.press("Escape")
    assert "Open in the Lens" not in context_menu(page, "stripes.png")
    page.locator(".lm-Menu-item", has_text="Show to the Lens").click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.nn-lens .picture-card h3')].some((e) => e.textContent.includes('stripes'))"
    )


FAR = """(data) => window.jupyterapp.serviceManager.contents.addDrive({
  name: 'Far', fileChanged: { connect() {}, disconnect() {} },
  get: async (path) => ({ name: path, path, type: 'file', format: 'base64', mimetype: 'image/png', content: data, size: 100 }),
})"""


def test_pictures_of_other_drives_are_shown_and_their_checkpoints_refused(lab_page):
    page = lab_page.page
    file = io.BytesIO()
    Image.new("RGB", (30, 20), (200, 30, 30)).save(file, "PNG")
    page.evaluate(FAR, base64.b64encode(file.getvalue()).decode())
    lab_page.run("nn-lens:show-picture", path="Far:red.png")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.nn-lens .picture-card h3')].some((e) => e.textContent.includes('red'))"
    )
    lab_page.run("nn-lens:open-checkpoint", path="Far:net.pt")
    dialog = page.locator(".jp-Dialog")
    dialog.wait_for()
    assert "another drive" in dialog.inner_text()
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")


def test_a_checkpoint_is_opened_by_its_place_beside_the_notebook(lab_page):
    lab_page.python(
        "from torchvision.models import squeezenet1_1\ntorch.save(squeezenet1_1().state_dict(), 'weights/own.pt'); result = 0"
    )
    lab_page.run("nn-lens:open-checkpoint", path="weights/own.pt")
    lab_page.notebook.until(f"{LENSES}; result = lenses[-1].session.net.name if lenses else ''", "SqueezeNet")
    lab_page.python(f"{LENSES}; lenses[-1].close(); result = 0")  # its pictures would take long
    assert 'nl.Lens(nl.load("weights/own.pt"))' in "\n".join(lab_page.cells())


def test_a_read_only_notebook_gets_the_panel_and_the_code_to_insert(lab_page):
    page = lab_page.page
    lab_page.python("import nn_lens as nl; net = nl.Network(model, (3, 16, 16)); result = 0")
    before = lab_page.cells()
    drawn = page.locator(".nn-lens").count()
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.model.readOnly = true; }")
    lab_page.run("nn-lens:open-model", name="net")
    page.wait_for_function("(n) => document.querySelectorAll('.nn-lens').length === n", arg=drawn + 1)
    assert lab_page.cells() == before
    toast = page.locator(".jp-toast-message, .Toastify__toast", has_text="nl.Lens(net)").first
    toast.wait_for()
    page.locator(".jp-toast-button", has_text="Insert").first.click()
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.model.readOnly = false; }")
    assert len(lab_page.cells()) == len(before) + 1


def test_another_notebook_a_console_a_restart_and_another_kernel(lab_page):
    """Each in words with the way out, and never the networks of another kernel."""
    page = lab_page.page
    lab_page.front("second.ipynb")
    lab_page.show_side()
    lab_page.says("PyTorch is not loaded")
    assert lab_page.nets() == []
    assert page.locator(f"{SIDE} button", has_text="Open the bundled network").is_visible()
    lab_page.front("extension.ipynb")
    lab_page.line("model").wait_for()
    # A console on the same kernel: it shows all activity, and none of the questions.
    page.evaluate(
        """async () => {
          const { commands, shell } = window.jupyterapp;
          const { path, session } = shell.currentWidget.sessionContext;
          const made = await commands.execute('console:create', { kernelPreference: { id: session.kernel.id }, activate: true });
          window.console_ = made;
          shell.activateById(made.id);
          await commands.execute('console:toggle-show-all-kernel-activity');
        }"""
    )
    page.wait_for_function(
        "() => window.console_.sessionContext.session?.kernel && window.jupyterapp.shell.currentWidget === window.console_"
    )
    lab_page.line("model").wait_for()
    page.wait_for_timeout(800)
    cells = "() => window.console_.console.cells.length"
    before = page.evaluate(cells)
    lab_page.front("second.ipynb")
    lab_page.says("PyTorch is not loaded")
    page.evaluate("() => window.jupyterapp.shell.activateById(window.console_.id)")
    lab_page.line("model").wait_for()
    page.wait_for_timeout(500)
    assert page.evaluate(cells) == before
    lab_page.front("second.ipynb")
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    lab_page.says("PyTorch is not loaded")
    lab_page.cell("import torch; mine = torch.nn.ReLU()")
    lab_page.line("mine").wait_for()
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.changeKernel({ name: 'python3' })")
    lab_page.says("PyTorch is not loaded")
    assert lab_page.nets() == []
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    lab_page.says("There is no kernel behind second.ipynb")
    assert page.locator(f"{SIDE} button", has_text="Choose a kernel").is_visible()


KLINGON = """
from ipykernel.kernelbase import Kernel
from ipykernel.kernelapp import IPKernelApp
class Klingon(Kernel):
    implementation = banner = 'klingon'
    implementation_version = '1'
    language_info = {'name': 'klingon', 'mimetype': 'text/plain', 'file_extension': '.k'}
    async def do_execute(self, code, silent, *args, **kwargs):
        return {'status': 'ok', 'execution_count': 0, 'payload': [], 'user_expressions': {}}
IPKernelApp.launch_instance(kernel_class=Klingon)
"""


def test_a_kernel_of_another_language_is_never_asked(lab_page, lab):
    import sys

    folder: Path = lab[1]
    spec = folder / ".share" / "kernels" / "klingon"
    spec.mkdir(parents=True, exist_ok=True)
    (spec / "kernel.py").write_text(KLINGON)
    argv = [sys.executable, str(spec / "kernel.py"), "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Klingon", "language": "klingon"}))
    page = lab_page.page
    page.evaluate(
        """async () => {
          const { serviceManager, shell } = window.jupyterapp;
          await serviceManager.kernelspecs.refreshSpecs();
          await shell.currentWidget.sessionContext.changeKernel({ name: 'klingon' });
        }"""
    )
    lab_page.says("Klingon speaks klingon")
    lab_page.count_requests()
    page.wait_for_timeout(800)
    assert "execute_request" not in lab_page.requests()
    lab_page.run("nn-lens:open-demo")
    dialog = page.locator(".jp-Dialog")
    dialog.wait_for()
    assert "speaks klingon" in dialog.inner_text()
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")


def test_a_made_up_language_shows_what_was_forgotten(lab, chromium):
    """JupyterLab's translator puts a sign before each string that went through it."""
    url, folder = lab
    settings = folder / ".config" / "lab" / "user-settings" / "@jupyterlab" / "translation-extension"
    settings.mkdir(parents=True, exist_ok=True)
    file = settings / "plugin.jupyterlab-settings"
    file.write_text('{"displayStringsPrefix": true, "stringsPrefix": "!!"}')
    write_notebook(folder / "foreign.ipynb", ["1"])
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    try:
        other = Lab(Notebook(context.new_page(), url, "foreign.ipynb"))
        other.show_side()
        other.says("PyTorch is not loaded")
        texts = other.page.evaluate(
            """() => {
              const { commands } = window.jupyterapp;
              const ids = commands.listCommands().filter((id) => id.startsWith('nn-lens:'));
              const side = document.querySelector('.nn-lens-side');
              const drawn = [...side.querySelectorAll('.note, button, [aria-label], [placeholder]')].flatMap((e) =>
                [e.textContent, e.getAttribute('aria-label'), e.getAttribute('placeholder')]);
              return [...ids.flatMap((id) => [commands.label(id), commands.caption(id)]), ...drawn].filter(Boolean);
            }"""
        )
        # Without a notebook, a kernel or a panel a picture makes them.
        other.page.evaluate(
            "async () => { const { currentWidget } = window.jupyterapp.shell;"
            " await currentWidget.context.save(); currentWidget.close(); }"
        )
        other.page.wait_for_selector(".jp-NotebookPanel", state="detached")
        other.run("nn-lens:show-picture", path="stripes.png")
        other.page.wait_for_function(
            "() => document.querySelector('.nn-lens .picture-card h3')?.textContent.includes('stripes')"
        )
        assert other.cells() == ["import nn_lens as nl\n\nnl.Lens(nl.demo())"]
        texts.append(other.page.locator(".nn-lens-status span").inner_text())
    finally:
        context.close()
        file.unlink()
    assert len(texts) > 20
    assert [text for text in texts if not text.startswith("!!")] == []


def test_notebook_7_has_all_but_the_launcher(lab, chromium):
    url, folder = lab
    pytest.importorskip("notebook", reason="Notebook 7 is not installed: pip install notebook")
    write_notebook(folder / "seven.ipynb", [MODEL])
    start, token = url.split("/lab?")
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    try:
        page = context.new_page()
        page.set_default_timeout(LIMIT)
        page.goto(f"{start}/notebooks/seven.ipynb?{token}")
        page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
            " && window.jupyterapp.commands.hasCommand('nn-lens:toggle-side-panel')"
        )
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.evaluate("() => { void window.jupyterapp.commands.execute('nn-lens:toggle-side-panel'); }")
        page.locator(f"{SIDE} .line.net .who", has_text="model").first.wait_for()
        page.evaluate("() => { void window.jupyterapp.commands.execute('nn-lens:open-demo', { unit: 'conv1:3' }); }")
        page.wait_for_function("() => document.querySelector('.jp-Notebook .nn-lens')?.dataset.unit === 'conv1:3'")
        page.locator(".nn-lens-status", has_text="Lens: ").wait_for()
        page.evaluate(
            "() => { void window.jupyterapp.commands.execute('nn-lens:show-picture', { path: 'stripes.png' }); }"
        )
        page.wait_for_function(
            "() => document.querySelector('.nn-lens .picture-card h3')?.textContent.includes('stripes')"
        )
        cells = page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.map((c) => c.model.sharedModel.source)"
        )
        assert cells[-1] == 'import nn_lens as nl\n\nnl.Lens(nl.demo(), unit="conv1:3")'
        plugins = page.evaluate("() => window.jupyterapp.listPlugins().filter((id) => id.startsWith('nn-lens:'))")
        assert len(plugins) == 6
    finally:
        context.close()
