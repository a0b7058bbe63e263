"""What typing in a long notebook pays for the side panel of the JupyterLab extension.

    python tests/benchmarks/typing_beside.py

needs the [test] extra and Chromium; two minutes on an idle machine. A notebook of 300 cells, a ResNet-152 in its kernel,
whose tree of modules the side panel shows as it begins, folded. One types into a cell, in turn with the side panel open and closed, while
Chromium samples the page's stack every 250 us. Prints for both the median and 95th percentile of the time from a key to
the end of the frame that draws it, the requests that the page sent to the kernel meanwhile, and the longest stretch and
the sum of time with a function of the extension on the stack; and these of a search in the side panel, which shows that
the profile sees them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parent.parent)]

from browser.jupyter import ARGUMENTS, CHROMIUM, Notebook, jupyter_lab, write_notebook  # noqa: E402

CELLS, ROUNDS, OWN = 300, 3, "/nn-lens/"
MODEL = "import torchvision\nmodel = torchvision.models.resnet152(weights=None)"
TEXT = "value = [number * 2 for number in range(1000) if number % 3]  # typed\n" * 2
LISTEN = """() => {
  window.waits = [];
  window.asked = [];
  if (window.listening) return;
  window.listening = true;
  window.addEventListener('keydown', () => {
    const start = performance.now();
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.waits.push(performance.now() - start);
      channel.port2.postMessage(0);
    });
  }, { capture: true });
  const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
  kernel.anyMessage.connect((_, { msg, direction }) => {
    if (direction === 'send') window.asked.push(msg.header.msg_type);
  });
}"""


def stretches(profile: dict[str, Any]) -> list[float]:
    """Milliseconds of each unbroken stretch of samples with a function of the extension on the stack."""
    nodes = {node["id"]: node for node in profile["nodes"]}
    parents = {child: node["id"] for node in profile["nodes"] for child in node.get("children", ())}

    def is_own(at: int | None) -> bool:
        while at is not None:
            if OWN in nodes[at]["callFrame"]["url"]:
                return True
            at = parents.get(at)
        return False

    own = {at: is_own(at) for at in nodes}
    found, now = [], 0.0
    # A delta is the time since the sample before.
    for at, delta in zip(profile["samples"], [*profile["timeDeltas"][1:], 0], strict=True):
        if own[at]:
            now += delta / 1000
        elif now:
            found.append(now)
            now = 0.0
    return [*found, now] if now else found


def profiled(page: Any, text: str) -> list[float]:
    """Types where the focus is, and gives the stretches of the extension meanwhile."""
    client = page.context.new_cdp_session(page)
    client.send("Profiler.enable")
    client.send("Profiler.setSamplingInterval", {"interval": 250})
    client.send("Profiler.start")
    page.keyboard.type(text, delay=30)
    page.wait_for_timeout(500)
    profile = client.send("Profiler.stop")["profile"]
    client.detach()
    return stretches(profile)


def typed(page: Any) -> dict[str, Any]:
    """Types the text into the last cell."""
    page.evaluate(
        """() => { const { content } = window.jupyterapp.shell.currentWidget;
          content.activeCellIndex = content.widgets.length - 1; content.activeCell.model.sharedModel.setSource('');
          content.mode = 'edit'; return content.scrollToItem(content.activeCellIndex); }"""
    )
    page.wait_for_timeout(1500)
    page.evaluate(LISTEN)
    own = profiled(page, TEXT)
    source = page.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.source")
    assert "number % 3" in source, "the keys went elsewhere"
    waits, asked = page.evaluate("() => [window.waits, window.asked]")
    return {"waits": waits, "asked": asked, "stretches": own}


def main() -> None:
    """Prints three lines."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright, jupyter_lab(Path(name)) as url:
        write_notebook(Path(name) / "long.ipynb", [MODEL, *[f"x{i} = {i}\nprint(x{i})" for i in range(CELLS - 1)]])
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        notebook = Notebook(page, url, "long.ipynb")
        page.evaluate(
            "() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0;"
            " return window.jupyterapp.commands.execute('notebook:run-cell'); }"
        )
        found: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for turn in range(2 * ROUNDS):
            is_open = turn % 2 == 0
            page.evaluate(
                "(open) => { const { commands } = window.jupyterapp;"
                " if (commands.isToggled('nn-lens:toggle-side-panel') !== open) void commands.execute('nn-lens:toggle-side-panel'); }",
                is_open,
            )
            if is_open:
                page.locator(".nn-lens-side .line.net .who", has_text="model").first.wait_for()
            page.wait_for_timeout(1000)
            found[is_open].append(typed(page))
        page.evaluate("() => void window.jupyterapp.commands.execute('nn-lens:toggle-side-panel')")
        page.click(".nn-lens-side input[type=search]")
        searched = profiled(page, "layer3 conv")
        assert searched, "the profile sees the extension where it works"
        assert not notebook.problems, notebook.problems
        browser.close()
    for is_open, runs in found.items():
        waits = np.concatenate([run["waits"] for run in runs])
        medians = ", ".join(f"{np.median(run['waits']):.1f}" for run in runs)
        own = [ms for run in runs for ms in run["stretches"]]
        asked = [kind for run in runs for kind in run["asked"]]
        print(
            f"side panel {'open' if is_open else 'closed'}: {len(waits)} keys, to the frame {np.median(waits):.1f} ms at the "
            f"median (runs {medians}), {np.percentile(waits, 95):.1f} at 95 %; requests {asked or 'none'}; "
            f"of the extension {sum(own):.1f} ms in all, longest {max(own, default=0):.1f}"
        )
    print(f"a search of 11 letters in the side panel: {sum(searched):.1f} ms, longest {max(searched):.1f}")


if __name__ == "__main__":
    main()
