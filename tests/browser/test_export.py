"""The exported page, opened as a file: it scrubs, hovers and switches views with no kernel and no network."""

from __future__ import annotations

import numpy as np
import pytest

import nn_lens as nl
from browser.panel import Panel
from nn_lens.engine.evidence.attribution.methods import METHODS
from nn_lens.engine.pictures import images


class Page:
    """What Panel needs of a notebook."""

    def __init__(self, page):
        self.page = page


@pytest.fixture(scope="module")
def net():
    return nl.demo("digits")


@pytest.fixture(scope="module")
def panel(chromium, net, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "lens.html"
    lens = nl.Lens(net, unit="relu2:3")
    lens.to_html(path)
    lens.close()
    assert path.stat().st_size < 2e6
    context = chromium.new_context(viewport={"width": 1280, "height": 1000}, offline=True)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda r: problems.append(r.url) if r.url.startswith("http") else None)
    page.goto(path.as_uri())
    yield Panel(Page(page))
    context.close()
    assert not problems


def test_it_opens_as_the_panel_was(panel, net):
    panel.wait_for_unit("relu2:3")
    maps = nl.activations(net, net.samples["digit 0"], "relu2").maps
    levels, _, signed = images.map_levels(maps)
    shown = panel.pixels("canvas.map").astype(int)
    assert np.abs(shown - images.colour(levels, signed)[3]).max() <= 4


def test_the_unit_slider_scrubs_every_unit(panel, net):
    last = net["relu2"].channels - 1
    for unit in (17, last):
        panel.slide("unit", unit)
        panel.wait_for_unit(f"relu2:{unit}")
        shown = panel.pixels(f".maximization .tile[data-channel='{unit}'] img").astype(int)
        made = nl.maximize(
            net, [nl.Unit("relu2", c) for c in range(unit // 12 * 12, min(unit // 12 * 12 + 12, last + 1))]
        )
        assert np.abs(shown - images.rgb(made.images)[unit % 12]).mean() < 8, "a JPEG of the same picture"


def test_hovering_ranks_units_with_their_images(panel):
    frame = panel.page.locator(".nn-lens .frame").first
    frame.click()
    panel.page.wait_for_function(
        """() => {
          const images = [...document.querySelectorAll('.nn-lens .ranked img')];
          return images.length > 0 && images.every((c) => !c.matches('.none'));
        }"""
    )
    drawn = panel.pixels(".ranked img")
    assert drawn.std() > 0, "an image, and no blank tile"
    panel.page.keyboard.press("Escape")


def test_it_switches_views_and_holds_the_evidence_of_the_unit(panel):
    panel.slide("unit", 3)
    panel.page.click(".nn-lens .switch button:has-text('Evidence')")
    panel.wait(".card.examples", "e.dataset.shown === 'relu2:3 finished'")
    panel.wait(".card.embedding", "e.dataset.shown === 'relu2 tsne'")
    panel.page.wait_for_function("(n) => document.querySelectorAll('.nn-lens .method').length === n", arg=len(METHODS))
    panel.page.click(".nn-lens .judge")
    panel.page.wait_for_function("() => document.querySelectorAll('.nn-lens .badge').length >= 6")
    # It holds the answer without the unit, and one class: what it cannot answer is not offered.
    panel.wait(".ablation", "e.dataset.shown === 'relu2:3 0'")
    for control in (".ablation input[type=range]", ".ablation select", ".contributions select", ".attribution select"):
        assert panel.page.locator(f".nn-lens {control}").first.is_disabled(), control
    panel.slide("unit", 4)
    panel.wait(".card.examples .note", "e.textContent.includes('not in the exported file')")
    panel.page.click(".nn-lens .switch button:has-text('All')")
    assert panel.page.locator(".nn-lens .upload").count() == 0
