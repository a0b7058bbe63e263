"""How soon the panel answers, in a real JupyterLab and Chromium; `python tests/benchmarks/panel_latency.py`.

Prints a table and writes it beside this file. Every number runs from the slider's input event to the end of the
frame that shows the answer; events come at random moments between two frames, and the kernel goes on with its
maximizing images meanwhile, as it does for a user.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from browser.jupyter import ARGUMENTS, CHROMIUM, Notebook, jupyter_lab, write_notebook  # noqa: E402
from browser.panel import Panel  # noqa: E402

# Times of a slider's events: values, pause between events at most, what has to be shown.
TIMES = """async ([which, values, pause, burst]) => {
  const root = document.querySelector('.nn-lens');
  const slider = root.querySelector('input.' + which);
  const map = root.querySelector('canvas.map');
  const maps = root.querySelector('.card.activations');
  const times = [];
  const send = (value) => {
    slider.value = String(value);
    slider.dispatchEvent(new Event('input', { bubbles: true }));
  };
  const endOfFrame = () => new Promise((yes) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => yes(performance.now());
    channel.port2.postMessage(0);
  }));
  for (const value of values) {
    await new Promise((yes) => setTimeout(yes, 20 + Math.random() * pause));
    if (String(value) === slider.value) continue;
    for (let i = 0; i < burst; i++) send((value + 1 + i) % (Number(slider.max) + 1));
    const start = performance.now();
    send(value);
    for (;;) {
      const now = await endOfFrame();
      const unit = root.dataset.unit;
      const shown = map.dataset.shown?.endsWith(' ' + unit) && maps.dataset.shown?.startsWith(unit.split(':')[0] + ' ');
      const moved = slider.value === String(value);
      if (moved && shown && !maps.classList.contains('stale')) { times.push(now - start); break; }
      if (now - start > 10000) throw new Error('not shown within 10 s: ' + unit);
    }
  }
  return times;
}"""

PREVIEW = """async ([unit, first]) => {
  const card = document.querySelector('.nn-lens .card.maximization');
  const slider = document.querySelector('.nn-lens input.unit');
  slider.value = String(unit);
  slider.dispatchEvent(new Event('input', { bubbles: true }));
  const start = performance.now();
  for (;;) {
    await new Promise((yes) => requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = yes;
      channel.port2.postMessage(0);
    }));
    if (card.dataset.shown?.startsWith(first + ' ')) return [performance.now() - start];
    if (performance.now() - start > 20000) throw new Error('no preview of ' + first + ' within 20 s: ' + card.dataset.shown);
  }
}"""

CELL = "import nn_lens as nl\nnet = nl.demo()\nlens = nl.Lens(net, unit='conv1:0')\nlens"


def measure(panel: Panel) -> list[tuple[str, list[float], float]]:
    """(what, milliseconds, target) of each row."""
    import nn_lens as nl

    net = nl.demo()
    layers = [layer for layer in net.layers if layer.reason is None]
    names = [layer.name for layer in layers]
    draw = np.random.default_rng(0)
    times = lambda *call: panel.page.evaluate(TIMES, list(call))  # noqa: E731
    rows = []

    units: list[float] = []
    for name in ("conv1", "relu2", "relu3", "relu4"):
        panel.slide("layer", names.index(name))
        panel.page.wait_for_timeout(1500)
        units += times("unit", draw.integers(0, net[name].channels, 60).tolist(), 120, 0)
    rows.append(("unit slider inside a layer", units, 33))

    for i in range(len(names)):
        panel.slide("layer", i)
        panel.wait("canvas.map", f"e.dataset.shown?.includes(' {names[i]}:')")
    rows.append(
        ("layer change, activations cached", times("layer", draw.integers(0, len(names), 200).tolist(), 120, 0), 80)
    )

    storms: list[float] = []
    for sample in list(net.samples)[1:]:
        panel.page.locator(f".nn-lens button.sample[title='{sample}']").click()
        panel.wait(".picture-card .note", f"e.textContent === '{sample}'")
        panel.page.wait_for_timeout(500)
        # Layers whose maps of this picture have not been asked for.
        storms += times("layer", draw.permutation(len(names))[:4].tolist(), 300, 199)
    rows.append(("200 layer events at once, the last one's maps", storms, 200))

    previews: list[float] = []
    for name in ("conv1", "relu1", "relu2", "block2", "relu3", "relu4", "block4"):
        panel.slide("unit", 0)
        panel.slide("layer", names.index(name))
        panel.wait(".card.maximization", f"e.dataset.shown === '{name} 0 finished'")
        for page in draw.permutation(np.arange(1, net[name].channels // 12))[:5].tolist():
            panel.page.wait_for_timeout(300)
            previews += panel.page.evaluate(PREVIEW, [page * 12 + 5, f"{name} {page * 12}"])
    rows.append(("first maximizing preview of 12 units", previews, 500))
    return rows


def table(rows: list[tuple[str, list[float], float]], machine: str) -> str:
    """Markdown."""
    lines = [
        "# How soon the panel answers",
        "",
        f"`python tests/benchmarks/panel_latency.py`, bundled network, {machine}. Milliseconds.",
        "",
        "| from the event to the end of the frame that shows it | n | median | p95 | largest | target (p95) |",
        "|---|---|---|---|---|---|",
    ]
    for what, times, target in rows:
        p50, p95 = np.percentile(times, [50, 95])
        lines.append(f"| {what} | {len(times)} | {p50:.0f} | {p95:.0f} | {max(times):.0f} | {target:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs all."""
    import torch
    from playwright.sync_api import sync_playwright

    from nn_lens.sessions import cpu

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        write_notebook(Path(folder) / "panel.ipynb", [CELL])
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        with jupyter_lab(Path(folder)) as url:
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            notebook = Notebook(page, url, "panel.ipynb")
            notebook.run_all()
            panel = Panel(notebook)
            panel.wait_for_unit("conv1:0")
            rows = measure(panel)
            assert not notebook.problems, notebook.problems
        version = browser.version
        browser.close()
    processor = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), platform.processor()
    ) if Path("/proc/cpuinfo").exists() else platform.processor()  # fmt: skip
    busy = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    machine = f"{cpu.available()} cores of {processor}{busy}, torch {torch.__version__}, headless Chromium {version} at 1280x1000"
    text = table(rows, machine)
    print(text)
    (HERE / "panel_latency.md").write_text(text)


if __name__ == "__main__":
    main()
