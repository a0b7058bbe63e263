"""How smooth a layer of 2,048 units is: milliseconds from frame to frame, in Chromium.

    python tests/benchmarks/wide_layer.py

needs the [test] extra and Chromium; half a minute. The panel is drawn in a bare page (no Jupyter). While it scrolls through
the maps, the bars of a layer of single numbers and the list of classes, and while the arrow key steps from unit to unit by
number and with the strongest first, each frame's length is taken, beside those of a page in which nothing happens.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path[:0] = [str(Path(__file__).parent.parent)]

from browser.bare import Bare  # noqa: E402
from browser.jupyter import ARGUMENTS, CHROMIUM  # noqa: E402
from browser.panel import Panel  # noqa: E402

import nn_lens as nl  # noqa: E402

FRAMES = 180
RUN = """([count, act]) => new Promise((done) => {
  const root = document.querySelector('.nn-lens');
  const acts = {
    nothing: () => {},
    scroll: (selector) => { const e = root.querySelector(selector); e.scrollTop = (e.scrollTop + 37) % (e.scrollHeight - e.clientHeight); },
    step: () => root.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true })),
  };
  const [name, selector] = act.split(' | ');
  const times = [];
  const frame = (now) => {
    times.push(now);
    if (times.length > count) return done(times.slice(1).map((t, i) => t - times[i]));
    acts[name](selector);
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""


def network() -> nl.Network:
    """Filters of 32 x 32 with maps of 7 x 7, and as many classes with names."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 2048, 32, 32), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 2048)
    )
    return nl.Network(model, (3, 224, 224), False, labels=[f"class of number {i}" for i in range(2048)])


def main() -> None:
    from playwright.sync_api import sync_playwright

    lens = nl.Lens(network(), unit="1:0", picture=torch.rand(3, 224, 224))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        panel = Panel(Bare(browser.new_page(viewport={"width": 1280, "height": 720}), lens))

        def measure(name: str, act: str) -> None:
            times = panel.page.evaluate(RUN, [FRAMES, act])
            p50, p95 = np.percentile(times, [50, 95])
            print(f"{name}: {p50:.1f} ms at the median, {p95:.1f} at 95 %, {max(times):.1f} at most", flush=True)

        panel.wait(".card.activations", "e.dataset.shown?.startsWith('1 ')")
        panel.page.locator(".nn-lens .maximization button.stop").click()
        panel.page.wait_for_timeout(3000)
        measure("nothing", "nothing")
        measure("2,048 maps scrolled", "scroll | .activations .grid")
        measure("from unit to unit", "step")
        panel.page.select_option(".nn-lens select.order", "strongest")
        panel.page.wait_for_timeout(500)
        measure("from unit to unit, strongest first", "step")
        lens.unit = "4:0"
        panel.wait(".card.activations", "e.dataset.shown?.startsWith('4 ')")
        panel.page.wait_for_timeout(3000)
        measure("2,048 bars scrolled", "scroll | .bars .list")
        measure("from class to class", "step")
        panel.page.click(".nn-lens .units .chosen")
        measure("the list of classes scrolled", "scroll | .units .popup .list")
        browser.close()


if __name__ == "__main__":
    main()
