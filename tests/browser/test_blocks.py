"""The picture drawn with the images of its strongest units, in a real JupyterLab."""

from __future__ import annotations

import base64

import numpy as np
import pytest

import nn_lens as nl
from browser.panel import PIXELS, Panel

CELL = 'import nn_lens as nl\n\nnet = nl.demo()\nlens = nl.Lens(net, unit="relu1:3", picture=net.samples["cat"], view="blocks")\nlens'


@pytest.fixture(scope="module")
def panel(opened):
    notebook = opened("blocks.ipynb", [CELL])
    panel = Panel(notebook, 120_000)
    panel.wait(".card.blocks", "e.dataset.shown?.endsWith('finished')", 120_000)
    yield panel
    assert not notebook.problems, "the console is free of errors"


def test_each_place_shows_its_strongest_unit(panel):
    found = nl.building_blocks(nl.demo(), nl.demo().samples["cat"], "relu1")
    pixels = panel.pixels(".card.blocks canvas").astype(float)
    rows, columns = found.values.shape
    cell = pixels.shape[0] // rows
    assert pixels.shape == (rows * cell, columns * cell, 3)
    tiles = pixels.reshape(rows, cell, columns, cell, 3).transpose(0, 2, 1, 3, 4)
    # Two places of one unit, both strong, look alike; places of another unit do not.
    strong = found.values > 0.5 * found.values.max()
    counts = {u: int((strong & (found.strongest == u)).sum()) for u in found.units}
    unit = max(counts, key=lambda u: counts[u])
    own = [tiles[r, c] for r, c in zip(*np.nonzero(strong & (found.strongest == unit)), strict=True)]
    others = [tiles[r, c] for r, c in zip(*np.nonzero(strong & (found.strongest != unit)), strict=True)]
    assert len(own) > 1

    def likeness(a, b):
        return np.corrcoef(a.ravel(), b.ravel())[0, 1]

    assert min(likeness(own[0], tile) for tile in own) > 0.9
    assert np.mean([likeness(own[0], tile) for tile in others]) < 0.5


def test_a_place_is_looked_at_and_chosen(panel):
    found = nl.building_blocks(nl.demo(), nl.demo().samples["cat"], "relu1")
    rows, columns = found.values.shape
    frame = panel.page.locator(".nn-lens .card.blocks .frame")
    box = frame.bounding_box()
    at = {"x": (12 + 0.5) * box["width"] / columns, "y": (9 + 0.5) * box["height"] / rows}
    frame.hover(position=at)
    panel.wait(".card.blocks .note", "e.textContent.startsWith('row 9, column 12')")
    assert f"unit {found.strongest[9, 12]} answers most" in panel.text(".card.blocks .note")
    assert not panel.page.locator(".nn-lens .card.blocks .sees").is_hidden()
    frame.click(position=at)
    panel.notebook.until("result = str(lens.unit)", f"relu1:{found.strongest[9, 12]}@9,12")
    frame.press("ArrowDown")
    panel.notebook.until("result = str(lens.unit)", f"relu1:{found.strongest[10, 12]}@10,12")
    frame.press("Escape")


def strengths(panel, rows, columns):
    """(rows, columns) how opaque each place is, 0 to 1."""
    width, height, text = panel.page.locator(".nn-lens .card.blocks canvas").first.evaluate(PIXELS)
    opaque = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)[..., 3] / 255
    return opaque[height // rows // 2 :: height // rows, width // columns // 2 :: width // columns]


def test_a_group_shows_its_places(panel):
    found = nl.building_blocks(nl.demo(), nl.demo().samples["cat"], "relu1")
    shape = found.values.shape

    def expected(values):
        return 0.12 + 0.88 * np.sqrt(np.maximum(values, 0) / values.max())

    np.testing.assert_allclose(strengths(panel, *shape), expected(found.values), atol=0.01)
    tiles = panel.page.locator(".nn-lens .card.blocks .groups .tile")
    assert tiles.count() == len(found.groups)
    tiles.nth(1).click()
    assert tiles.nth(1).get_attribute("aria-pressed") == "true"
    panel.wait_for_frame()
    np.testing.assert_allclose(strengths(panel, *shape), expected(found.groups[1]), atol=0.02)
    tiles.nth(1).click()
    panel.wait_for_frame()
    np.testing.assert_allclose(strengths(panel, *shape), expected(found.values), atol=0.01)
