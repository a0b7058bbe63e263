"""One selection over all views: hover, lock, walk, copy, keys, in a real JupyterLab."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Error as PlaywrightError

import nn_lens as nl
from browser.jupyter import state_of
from browser.panel import Panel
from nn_lens.engine.pictures import images
from nn_lens.widgets.table import TABLE

CELL = 'import nn_lens as nl\n\nnet = nl.demo()\nlens = nl.Lens(net, unit="relu3:12", picture=net.samples["cat"])\nlens'


@pytest.fixture(scope="module")
def panel(opened):
    notebook = opened("linked.ipynb", [CELL])
    panel = Panel(notebook, 120_000)
    panel.wait_for_unit("relu3:12")
    yield panel
    assert not notebook.problems, "the console is free of errors"


def over(panel: Panel, selector: str, y: float, x: float) -> None:
    """Moves the pointer over an element, y and x from 0 to 1."""
    found = panel.page.locator(f".nn-lens {selector}").first
    found.scroll_into_view_if_needed()
    box = found.bounding_box()
    panel.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def here(panel: Panel, state: str) -> None:
    panel.wait(".card.here", f"e.dataset.shown === {state!r}")


def test_hover_shows_the_field_and_ranks_the_units(panel):
    net = nl.demo()
    over(panel, ".frame", 0.5, 0.5)
    panel.page.wait_for_function("() => document.querySelector('.nn-lens .card.here').dataset.shown !== ''")
    panel.wait(".sees", "!e.hidden")
    row, column = map(int, panel.page.locator(".nn-lens .here").get_attribute("data-shown").split()[1].split(","))
    top, left, bottom, right = net["relu3"].receptive_field.box(row, column)
    assert top <= 32 <= bottom
    assert left <= 32 <= right
    style = panel.page.locator(".nn-lens .sees").first.evaluate("e => [e.style.top, e.style.left, e.style.height]")
    shown = [float(text.rstrip("%")) for text in style]
    np.testing.assert_allclose(shown, [top / 0.64, left / 0.64, (bottom - top) / 0.64], atol=0.01)
    maps = nl.activations(net, net.samples["cat"], "relu3").maps[:, row, column]
    captions = panel.page.locator(".nn-lens .ranked .caption").all_inner_texts()
    assert int(captions[0].split(" · ")[0]) == int(maps.argmax())
    assert float(captions[0].split(" · ")[1]) == pytest.approx(maps.max(), rel=0.02)
    assert not panel.page.locator(".nn-lens .activations .places").is_hidden(), "the same place is marked in every map"


def test_a_click_stays_and_esc_lets_go(panel):
    over(panel, ".frame", 0.4, 0.3)
    panel.page.mouse.down()
    panel.page.mouse.up()
    panel.wait(".sees", "e.classList.contains('locked')")
    place = panel.page.locator(".nn-lens .here").get_attribute("data-shown").split()[1]
    panel.notebook.until("result = str(lens.unit)", f"relu3:12@{place}")
    panel.page.wait_for_function(
        "() => [...document.querySelectorAll('.nn-lens .ranked img')].every((c) => !c.matches('.none'))"
    )
    assert f"at {place.replace(',', ', ')}" in panel.page.locator(".nn-lens .numbers").inner_text()
    panel.page.locator(".nn-lens .ranked .tile").nth(1).click()
    chosen = panel.page.locator(".nn-lens .ranked .caption").nth(1).inner_text().split(" · ")[0]
    panel.notebook.until("result = str(lens.unit)", f"relu3:{chosen}@{place}")
    panel.page.keyboard.press("]")
    panel.notebook.until("result = lens.layer", "pool3")
    half = ",".join(str(int(n) // 2) for n in place.split(","))
    panel.notebook.until("result = str(lens.unit)", f"pool3:{chosen}@{half}")
    panel.page.keyboard.press("Escape")
    panel.notebook.until("result = str(lens.unit)", f"pool3:{chosen}")
    panel.page.keyboard.press("[")


def test_python_looks_at_a_neuron(panel):
    panel.notebook.python("lens.unit = 'relu3:20@4,5'; result = 0")
    here(panel, "relu3 4,5")
    panel.wait(".sees", "e.classList.contains('locked')")
    panel.notebook.python("lens.unit = 'relu3:12'; result = 0")
    here(panel, "")


def test_the_numbers_are_the_engines(panel):
    panel.wait_for_unit("relu3:12")
    values = nl.activations(nl.demo(), nl.demo().samples["cat"], "relu3").maps[12]
    text = panel.page.locator(".nn-lens .numbers").inner_text()
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert f"at row {row}, column {column}" in text
    assert f"{100 * (values > 0).mean():.0f} % of places" in text
    assert float(text.split("largest")[1].split()[0]) == pytest.approx(values.max(), rel=0.01)


def test_the_picture_that_the_unit_wants_least(panel):
    panel.page.wait_for_function(
        "() => !document.querySelector('.nn-lens .unit-row figure:nth-child(3) img').matches('.stale')"
    )
    assert panel.pixels(".unit-row figure:nth-child(3) img").std() > 10


def test_copies(panel):
    panel.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel.page.click(".nn-lens .unit-card button:has-text('Copy'):not(:has-text('code'))")
    assert panel.page.evaluate("() => navigator.clipboard.readText()") == 'nl.Unit("relu3", 12)'
    panel.page.click(".nn-lens .unit-card button:has-text('Copy as code')")
    code = panel.page.evaluate("() => navigator.clipboard.readText()")
    assert code == panel.notebook.python("result = lens.code()")
    assert code == 'nl.Lens(net, unit="relu3:12", picture=net.samples["cat"])'


def test_keys(panel):
    panel.page.locator(".nn-lens .unit-card").click(position={"x": 3, "y": 3})
    panel.page.locator(".nn-lens").focus()
    panel.page.keyboard.press("ArrowRight")
    panel.notebook.until("result = str(lens.unit)", "relu3:13")
    panel.page.keyboard.press("Shift+ArrowRight")
    across = int(panel.page.locator(".nn-lens .activations canvas[data-cell]").get_attribute("data-cell").split()[3])
    panel.notebook.until("result = str(lens.unit)", f"relu3:{13 + across}")
    panel.page.keyboard.press("h")
    assert panel.page.locator(".nn-lens .help").is_visible()
    panel.page.keyboard.press("h")
    assert not panel.page.locator(".nn-lens .help").is_visible()


def test_the_scale_of_the_colours(panel):
    panel.notebook.python("lens.unit = 'relu3:12'; result = 0")
    panel.wait_for_unit("relu3:12")
    net = nl.demo()
    maps = nl.activations(net, net.samples["cat"], "relu3").maps
    table = images.colour_table(images.SEQUENTIAL)
    panel.page.select_option(".nn-lens .activations select", "layer")
    panel.wait(".activations .scale", "!e.dataset.high.startsWith('largest')")
    expected = table[np.round(255 * maps[12] / maps.max()).astype(int)]
    shown = panel.pixels("canvas.map")
    assert abs(shown.astype(int) - expected).max() <= 8, "two roundings to 255 levels"
    panel.page.select_option(".nn-lens .activations select", "map")


def test_play_runs_through_the_units(panel):
    panel.page.click(".nn-lens button:has-text('Play')")
    panel.page.wait_for_function("() => document.querySelector('.nn-lens').dataset.unit === 'relu3:14'")
    panel.page.click(".nn-lens button:has-text('Pause')")
    panel.wait_for_rest(lambda: panel.page.locator(".nn-lens").get_attribute("data-unit"))


def test_the_camera_is_the_picture(panel):
    name = "result = lens._picture['name']"
    button = panel.page.locator(".nn-lens button.camera")
    for _ in range(3):  # a browser of a busy machine may lose a press, or answer nothing at all: then one presses again
        button.click()
        try:
            panel.wait("button.camera", "e.textContent === 'Stop'", timeout=30_000)  # also while the browser is asked
            panel.notebook.until(name, "camera", timeout=30)
            break
        except (AssertionError, PlaywrightError) as error:
            print(f"{error}\n{state_of(panel.page)}")
            if button.inner_text() == "Stop":
                button.click()
                panel.wait("button.camera", "e.textContent === 'Camera'")
    else:
        pytest.fail("the camera did not become the picture")
    number = "int(lens._picture['key'].split()[-1])"
    first = panel.notebook.python(f"result = {number}")
    panel.notebook.until(f"result = {number} >= {first + 2}", True)
    panel.page.click(".nn-lens button.camera")
    panel.wait_for_rest(lambda: panel.notebook.python(f"result = {number}"))
    assert panel.page.locator(".nn-lens button.camera").inner_text() == "Camera"
    panel.notebook.python("lens.picture = net.samples['cat']; result = 0")


def test_a_camera_that_comes_too_late_is_given_back(panel):
    panel.page.evaluate("""() => {
      const media = navigator.mediaDevices;
      const stream = document.createElement('canvas').captureStream();
      window.track = stream.getTracks()[0];
      window.asked = media.getUserMedia;
      media.getUserMedia = () => new Promise((done) => { window.give = () => done(stream); });
    }""")
    for said in ("Stop", "Camera"):
        panel.page.click(".nn-lens button.camera")
        panel.wait("button.camera", f"e.textContent === {said!r}")
    assert panel.page.evaluate("track.readyState") == "live"
    panel.page.evaluate("() => { give(); navigator.mediaDevices.getUserMedia = asked; }")
    panel.page.wait_for_function("() => track.readyState === 'ended'")
    assert panel.page.locator(".nn-lens button.camera").inner_text() == "Camera"
    assert panel.notebook.python("result = lens._picture['name']") == "cat"


def test_axe_finds_no_serious_fault(panel):
    for view in TABLE.tabs:
        panel.notebook.python(f"lens.view = {view!r}; result = 0")
        panel.page.wait_for_function("(view) => document.querySelector('.nn-lens').dataset.view === view", arg=view)
        # Cards fill one by one, that of the blocks for minutes: what there is by then is looked at.
        panel.page.wait_for_timeout(3000 if view in ("blocks", "evidence") else 500)
        for theme in ("JupyterLab Dark", "JupyterLab Light"):
            panel.theme(theme)
            assert not panel.faults(), f"{theme}, {view}"
    panel.notebook.python("lens.view = 'all'; result = 0")
