"""What the tests read off a panel: its pictures' pixels, its texts, its sliders."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from browser.jupyter import LIMIT

PIXELS = """async (picture) => {
  let canvas = picture;
  if (picture instanceof HTMLImageElement) {
    await picture.decode();
    canvas = new OffscreenCanvas(picture.naturalWidth, picture.naturalHeight);
    canvas.getContext('2d').drawImage(picture, 0, 0);
  }
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let text = '';
  for (let i = 0; i < data.length; i += 32768) text += String.fromCharCode(...data.subarray(i, i + 32768));
  return [canvas.width, canvas.height, btoa(text)];
}"""
SLIDE = """(slider, value) => {
  slider.value = String(value);
  slider.dispatchEvent(new Event('input', { bubbles: true }));
}"""


class Panel:
    """One drawn panel in a notebook's page."""

    def __init__(self, notebook: Any, timeout: float = LIMIT) -> None:
        self.notebook, self.page = notebook, notebook.page
        self.page.set_default_timeout(LIMIT)
        self.page.wait_for_selector(".nn-lens", timeout=timeout)

    def pixels(self, selector: str) -> np.ndarray:
        """(H,W,3) uint8 of a canvas or an image element."""
        width, height, text = self.page.locator(f".nn-lens {selector}").first.evaluate(PIXELS)
        return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)[..., :3]

    def tile(self, card: str, index: int, height: int, width: int) -> np.ndarray:
        """(height,width,3) of one tile of a card's grid, read at the middle of each of its enlarged pixels."""
        canvas = f".card.{card} .grid canvas[role=img]"
        w, h, gap, columns = map(int, self.page.locator(f".nn-lens {canvas}").get_attribute("data-cell").split())
        sheet = self.pixels(canvas)
        top, left = index // columns * (h + gap), index % columns * (w + gap)
        rows = top + ((np.arange(height) + 0.5) * h / height).astype(int)
        across = left + ((np.arange(width) + 0.5) * w / width).astype(int)
        return sheet[np.ix_(rows, across)]

    def slide(self, which: str, value: int) -> None:
        """Moves the layer or unit slider as a hand does: an input event."""
        self.page.locator(f".nn-lens input.{which}").first.evaluate(SLIDE, value)

    def wait(self, selector: str, test: str, timeout: float = LIMIT) -> None:
        """Waits until `test`, JavaScript over the element `e`, holds for the first match."""
        self.page.wait_for_function(
            f"(s) => {{ const e = document.querySelector(s); return e && ({test}); }}",
            arg=f".nn-lens {selector}",
            timeout=timeout,
        )

    def wait_for_unit(self, unit: str) -> None:
        """Until all views show `unit` with nothing stale, its page of maximizing images finished."""
        layer = unit.rsplit(":", 1)[0]
        try:
            self.page.wait_for_function(
                """([unit, layer]) => {
                  const root = document.querySelector('.nn-lens');
                  if (!root) return false;
                  const map = root.querySelector('canvas.map').dataset.shown ?? '';
                  const page = root.querySelector('.card.maximization').dataset.shown ?? '';
                  return root.dataset.unit === unit && map.endsWith(' ' + unit)
                    && page.startsWith(layer + ' ') && page.endsWith('finished') && !root.querySelector('.stale');
                }""",
                arg=[unit, layer],
            )
        except Exception as error:
            raise AssertionError(f"{unit} was not shown: {self.state()}") from error

    def wait_for_view(self, view: str) -> None:
        """Until a view or tab is shown, with no card that waits for its answer."""
        try:
            self.page.wait_for_function(
                """(view) => {
                  const root = document.querySelector('.nn-lens');
                  const cards = [...root.querySelectorAll('.card:not([hidden])')];
                  const waits = (card) => card.matches('.stale') || card.querySelector('.stale')
                    || card.dataset.shown?.endsWith(' running');
                  return root.dataset.view === view && !cards.some(waits);
                }""",
                arg=view,
            )
        except Exception as error:
            raise AssertionError(f"{view} was not shown: {self.state()}") from error

    def wait_for_frame(self) -> None:
        """Until what was changed last is drawn, which the panel does in the next animation frame."""
        self.page.evaluate("() => new Promise((drawn) => requestAnimationFrame(drawn))")

    def wait_for_rest(self, read: Callable[[], Any]) -> None:
        """Until what `read` reads stays the same for a second: that nothing moves can only be seen by waiting."""
        end, last = time.monotonic() + LIMIT / 1000, None
        while (now := read()) != last:
            assert time.monotonic() < end, f"it still moves, to {now!r}"
            last = now
            self.page.wait_for_timeout(1000)

    def state(self) -> Any:
        """What the panel says of itself, for the message of a test that fails."""
        return self.page.evaluate(
            """() => {
              const root = document.querySelector('.nn-lens');
              const shown = [...root.querySelectorAll('[data-shown]')].map((e) => [e.className, e.dataset.shown]);
              const notes = [...root.querySelectorAll('.note, .problem')].map((e) => e.textContent);
              return { ...root.dataset, shown, notes, stale: [...root.querySelectorAll('.stale')].map((e) => e.className) };
            }"""
        )

    def faults(self) -> dict[str, Any]:
        """What axe-core finds of serious and critical faults, by rule."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page, context=".nn-lens").response["violations"]
        return {f["id"]: [n["target"] for n in f["nodes"]][:3] for f in found if f["impact"] in ("serious", "critical")}

    def theme(self, name: str) -> None:
        """Takes JupyterLab's theme of that name, and waits until the page has it."""
        self.page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
        self.page.wait_for_function("(theme) => document.body.dataset.jpThemeName === theme", arg=name)

    def text(self, selector: str) -> str:
        """The text of the first match."""
        return self.page.locator(f".nn-lens {selector}").first.inner_text()

    def upload(self, name: str, data: bytes) -> None:
        """Chooses a file by the upload button's input."""
        file = {"name": name, "mimeType": "image/jpeg", "buffer": data}
        self.page.locator(".nn-lens input[type=file]").first.set_input_files(file)
