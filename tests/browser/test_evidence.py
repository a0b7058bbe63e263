"""The evidence tab in a real JupyterLab: it fills by itself, follows the selection, and says what the engine says."""

from __future__ import annotations

import numpy as np
import pytest

import nn_lens as nl
from browser.panel import Panel
from nn_lens.engine.evidence.attribution.methods import METHODS

CELL = 'import nn_lens as nl\n\nnet = nl.demo("digits")\nlens = nl.Lens(net, unit="relu2:3")\nlens'


@pytest.fixture(scope="module")
def panel(opened):
    notebook = opened("evidence.ipynb", [CELL])
    panel = Panel(notebook, 120_000)
    panel.page.click(".nn-lens .switch button:has-text('Evidence')")
    yield panel
    assert not notebook.problems, "the console is free of errors"


def until(panel: Panel, card: str, state: str) -> None:
    panel.page.wait_for_function(
        "([card, state]) => document.querySelector(`.nn-lens .card.${card}`)?.dataset.shown === state",
        arg=[card, state],
    )


def test_examples_and_histogram(panel):
    until(panel, "examples", "relu2:3 finished")
    found = nl.dataset_examples(nl.demo("digits"), "relu2", progress=False)
    captions = panel.page.locator(".nn-lens .spectrum figcaption").all_inner_texts()
    values = [e.activation for e in found.spectrum("relu2:3", 9)]
    assert len(captions) == len(values) + 1
    assert captions[0].startswith("least")
    shown = [float(text.split()[-1]) for text in captions[:-1]]
    np.testing.assert_allclose(shown, values, rtol=0.02, atol=0.01)
    label = panel.page.locator(".nn-lens .histogram").get_attribute("aria-label")
    assert "1797 activations" in label
    panel.page.wait_for_selector(".nn-lens .histogram .reached", state="attached")
    made = nl.maximize(nl.demo("digits"), [f"relu2:{c}" for c in range(12)])
    peak = found.percentile("relu2:3", float(made.activations[3])) >= 100
    says = "an exaggeration" if peak else "Real pictures drive the unit further"
    assert says in panel.page.locator(".nn-lens .examples .words").first.inner_text()


def test_badges_explain_themselves(panel):
    panel.page.click(".nn-lens .judge")
    panel.page.wait_for_function("() => document.querySelectorAll('.nn-lens .badge').length >= 6")
    badge = panel.page.locator(".nn-lens .badge[data-name='percentile']")
    panel.page.wait_for_function("() => document.querySelector('.nn-lens .verdict').textContent !== ''")
    assert "may be believed" in panel.text(".verdict") or "tells little" in panel.text(".verdict")
    badge.locator("summary").click()
    assert "The maximizing image drives relu2:3 to" in badge.inner_text()
    assert badge.locator("summary").get_attribute("title")


def test_every_method_has_a_map_or_a_reason(panel):
    top = str(int(nl.demo("digits").scores(nl.demo("digits").samples["digit 0"]).argmax()))
    until(panel, "attribution", f"{top} 7")
    assert panel.page.locator(".nn-lens .method").count() == len(METHODS)
    panel.page.select_option(".nn-lens .attribution select", "unit")
    panel.page.wait_for_function(
        "() => document.querySelector('.nn-lens .card.attribution').dataset.shown.startsWith('relu2:3@')"
    )


def test_the_unit_is_switched_off_by_a_slider(panel):
    until(panel, "ablation", "relu2:3 1")
    net = nl.demo("digits")
    slider = panel.page.locator(".nn-lens .ablation input[type=range]")
    slider.focus()
    panel.page.keyboard.press("End")
    until(panel, "ablation", "relu2:3 3")
    expected = nl.ablate(net, net.samples["digit 0"], "relu2:3", 3.0)
    rows = panel.page.locator(".nn-lens .changes tr td:nth-child(2)").all_inner_texts()
    after = {float(text.split("→")[1]) for text in rows}
    assert any(abs(value - expected.after[0, np.abs(expected.delta[0]).argmax()]) < 0.02 for value in after)
    panel.page.wait_for_function(
        "() => document.querySelector('.nn-lens .ablation .words').textContent.includes('1797 pictures')"
    )


def test_a_click_walks_to_a_unit_that_feeds_it(panel):
    until(panel, "incoming", "relu2:3 8")
    first = panel.page.locator(".nn-lens .feeding .tile").first
    name = first.locator(".caption").first.get_attribute("title")
    assert first.locator(".caption").first.inner_text() == name.split(":")[1], "one layer, which the card names once"
    expected = nl.incoming(nl.demo("digits"), "relu2:3")[0][0]
    assert name == str(expected)
    first.click()
    panel.notebook.until("result = str(lens.unit)", name)
    panel.notebook.python("lens.unit = 'relu2:3'; result = 0")
    until(panel, "examples", "relu2:3 finished")


def test_a_unit_stands_beside_random_directions(panel):
    until(panel, "directions", "relu2:3 1797")
    rows = panel.page.locator(".nn-lens .beside .one")
    assert rows.count() == 4
    assert rows.first.locator("b").inner_text() == "relu2:3"
    assert rows.nth(1).locator("canvas").count() == 9
    assert panel.pixels(".beside .one:nth-child(2) canvas").std() > 5


def test_brushing_selects_pictures_in_python(panel):
    until(panel, "embedding", "relu2 tsne")
    plane = panel.page.locator(".nn-lens .plane")
    plane.scroll_into_view_if_needed()
    box = plane.bounding_box()
    mouse = panel.page.mouse
    mouse.move(box["x"] + 2, box["y"] + 2)
    mouse.down()
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    mouse.up()
    panel.page.wait_for_function(
        "() => / selected/.test(document.querySelector('.nn-lens .embedding .note').textContent)"
    )
    count = int(panel.page.locator(".nn-lens .embedding .note").inner_text().split("; ")[1].split()[0])
    panel.notebook.until("result = len(lens.selected)", count)
    assert 20 < count < 380
    panel.page.click(".nn-lens .embedding button:has-text('Select none')")
    panel.notebook.until("result = len(lens.selected)", 0)
    panel.notebook.python("lens.selected = [0]; result = 0")
    panel.page.wait_for_function(
        "() => document.querySelector('.nn-lens .embedding .note').textContent.includes('1 selected')"
    )
    plane.focus()
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        panel.page.keyboard.press(key)
    panel.notebook.until("result = lens._picture['name'].split()[0]", "picture")
    panel.notebook.python("lens.picture = net.samples['digit 0']; lens.selected = []; result = 0")


def test_evidence_follows_the_selection(panel):
    panel.notebook.python("lens.unit = 'relu1:5'; result = 0")
    until(panel, "examples", "relu1:5 finished")
    until(panel, "ablation", "relu1:5 3")
    assert panel.page.locator(".nn-lens .badge").count() == 1, "the next unit is not judged unasked"
    wide = panel.page.evaluate(
        "() => { const e = document.querySelector('.nn-lens'); return e.scrollWidth - e.clientWidth }"
    )
    assert wide <= 0, "no horizontal scroll"
