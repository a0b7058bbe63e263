"""The starter notebook in a real JupyterLab: every view shows what the engine computes, for every way to move it."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

import nn_lens as nl
from browser.panel import Panel
from nn_lens.engine.pictures import images


def jpeg(seed: int = 5, size: tuple[int, int] = (320, 240)) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


@pytest.fixture(scope="module")
def panel(opened):
    notebook = opened("01_first_look.ipynb")
    panel = Panel(notebook, 120_000)
    notebook.wait_for_kernel()
    yield panel
    assert not notebook.problems, "the console is free of errors"


@pytest.fixture(autouse=True)
def _console(panel):
    panel.notebook.problems.clear()
    yield
    assert not panel.notebook.problems, panel.notebook.problems


def compare(panel: Panel, demo: nl.Network, unit: nl.Unit, picture) -> None:
    """Each view's canvas against the engine's arrays."""
    panel.wait_for_unit(str(unit))
    maps = nl.activations(demo, picture, unit.layer).maps
    levels, _, signed = images.map_levels(maps)
    tiles = images.colour(levels, signed)
    # The kernel computes on threads of its own: a level may fall on the other side of a rounding.
    large = panel.pixels("canvas.map").astype(int)
    assert large.shape == tiles[unit.channel].shape
    assert np.abs(large - tiles[unit.channel]).max() <= 4
    if panel.page.locator(".nn-lens .card.activations").is_visible():
        small = panel.tile("activations", unit.channel, *maps.shape[1:]).astype(int)
        assert np.abs(small - tiles[unit.channel]).max() <= 4
    wanted = nl.maximize(demo, unit)  # alone, which is what it is in its page
    shown = panel.pixels(f".maximization .tile[data-channel='{unit.channel}'] img").astype(int)
    expected = images.rgb(wanted.images)[0].astype(int)
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).mean() <= 1, "the maximizing image is the engine's"


def test_first_sight(panel, demo):
    # The notebook's later cells have moved the selection.
    compare(panel, demo, nl.Unit("relu4", 7), demo.samples["cat"])
    panel.notebook.until("result = [str(lens.unit), lens.layer]", ["relu4:7", "relu4"])


def test_filters_are_drawn_in_colour(panel, demo):
    panel.slide("layer", 0)
    panel.wait(".card.filters", "e.dataset.shown === 'conv1:7'")
    filters = nl.filters(demo, "conv1").images()
    for channel in (0, 7, 47):
        np.testing.assert_array_equal(panel.tile("filters", channel, 9, 9), filters[channel])


def test_unit_slider(panel, demo):
    before = panel.pixels("canvas.map")
    panel.slide("unit", 21)
    compare(panel, demo, nl.Unit("conv1", 21), demo.samples["cat"])
    assert not np.array_equal(panel.pixels("canvas.map"), before)
    panel.page.locator(".nn-lens input.unit").focus()
    panel.page.keyboard.press("ArrowRight")
    compare(panel, demo, nl.Unit("conv1", 22), demo.samples["cat"])
    panel.notebook.until("result = str(lens.unit)", "conv1:22")


def test_layer_slider(panel, demo):
    names = [layer.name for layer in demo.layers if layer.reason is None]
    for layer in ("relu2", "block2"):
        panel.slide("layer", names.index(layer))
        compare(panel, demo, nl.Unit(layer, 22), demo.samples["cat"])
    panel.notebook.until("result = lens.layer", "block2")


def test_a_filter_of_a_deeper_layer_is_drawn_as_slices(panel, demo):
    panel.notebook.python("lens.unit = 'conv2:5'; result = 0")
    panel.wait(".card.filters", "e.dataset.shown === 'conv2:5'")
    levels = nl.filters(demo, "conv2").images()[5]
    table = images.colour_table(images.DIVERGING)
    for plane in (0, 17, 47):
        np.testing.assert_array_equal(panel.tile("filters", plane, 3, 3), table[levels[plane]])


def test_a_click_on_a_map_selects_its_unit(panel):
    panel.notebook.python("lens.unit = 'relu2:0'; result = 0")
    panel.wait_for_unit("relu2:0")
    w, h, gap, columns = map(
        int, panel.page.locator(".nn-lens .card.activations .grid canvas[role=img]").get_attribute("data-cell").split()
    )
    index = columns + 2
    panel.page.locator(".nn-lens .card.activations .tiles").click(position={"x": 2 * (w + gap) + 3, "y": h + gap + 3})
    panel.wait_for_unit(f"relu2:{index}")


def test_python_sets_the_selection(panel, demo):
    panel.notebook.python("lens.unit = 'relu3:40'; result = 0")
    compare(panel, demo, nl.Unit("relu3", 40), demo.samples["cat"])


def test_a_sample_picture(panel, demo):
    panel.page.locator(".nn-lens button.sample[title='coffee']").click()
    panel.wait(".picture-card h3", "e.textContent === 'coffee'")
    compare(panel, demo, nl.Unit("relu3", 40), demo.samples["coffee"])


def test_an_uploaded_jpeg(panel, demo):
    before = panel.pixels("canvas.picture")
    data = jpeg()
    panel.upload("mine.jpg", data)
    panel.wait(".picture-card h3", "e.textContent === 'mine.jpg'")
    key = panel.notebook.python("result = lens._picture['key']")
    panel.wait("canvas.map", f"e.dataset.shown.startsWith('{key} ')")
    compare(panel, demo, nl.Unit("relu3", 40), data)
    assert not np.array_equal(panel.pixels("canvas.picture"), before)
    label, probability = demo.predict(data, k=1)[0]
    panel.wait(".scores td", f"e.textContent === {label!r}")
    assert f"{100 * probability:.1f} %" in panel.text(".scores")
    assert panel.notebook.python("result = lens.picture.size") == [320, 240]


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_dropped_or_pasted_picture(panel, way):
    script = """([text, way]) => {
      const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], way + '.jpg', { type: 'image/jpeg' }));
      const card = document.querySelector('.nn-lens .picture-card');
      const event = way === 'drop'
        ? new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true })
        : new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true, cancelable: true });
      card.dispatchEvent(event);
    }"""
    panel.page.evaluate(script, [base64.b64encode(jpeg(seed=len(way))).decode(), way])
    panel.wait(".picture-card h3", f"e.textContent === '{way}.jpg'")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"this is no picture", "'bad.jpg' is not a picture that can be read"),
        (jpeg()[:2000], "'bad.jpg' is a picture file that is cut off"),
    ],
)
def test_a_bad_file_is_named_and_the_panel_lives(panel, demo, data, says):
    before = panel.pixels("canvas.picture")
    panel.upload("bad.jpg", data)
    panel.wait(".picture-card .problem", f"e.textContent.includes({says!r}) && !e.hidden")
    np.testing.assert_array_equal(panel.pixels("canvas.picture"), before)
    panel.slide("unit", 3)
    panel.wait("canvas.map", "e.dataset.shown.endsWith(':3')")
    panel.upload("good.jpg", jpeg(seed=9))
    panel.wait(".picture-card h3", "e.textContent === 'good.jpg'")
    panel.wait(".picture-card .problem", "e.hidden")
    panel.slide("unit", 40)


def test_a_refused_value_is_shown_in_the_panel(panel):
    panel.notebook.python("try:\n    lens.layer = 'rellu3'\nexcept nl.LensError:\n    pass\nresult = 0")
    panel.wait(".controls .problem", "e.textContent.includes('relu3') && !e.hidden")
    panel.slide("unit", 5)
    panel.wait(".controls .problem", "e.hidden")


def test_a_storm_of_slider_events_shows_the_last(panel, demo):
    panel.page.evaluate("""() => {
      const slider = document.querySelector('.nn-lens input.layer');
      for (let i = 0; i < 200; i++) {
        slider.value = String(i % Number(slider.max));
        slider.dispatchEvent(new Event('input', { bubbles: true }));
      }
    }""")
    names = [layer.name for layer in demo.layers if layer.reason is None]
    layer = names[199 % (len(names) - 1)]
    panel.notebook.until("result = lens.layer", layer)
    panel.wait("canvas.map", f"e.dataset.shown.includes(' {layer}:')")


def test_the_view_switch(panel):
    panel.page.get_by_role("button", name="Maximizing images", exact=True).click()
    panel.wait(".card.activations", "e.hidden")
    panel.wait(".card.maximization", "!e.hidden")
    panel.notebook.until("result = lens.view", "maximization")
    panel.page.get_by_role("button", name="All", exact=True).click()
    panel.wait(".card.activations", "!e.hidden")


def test_closing_leaves_nothing(panel):
    panel.notebook.python("lens.close(); result = 0")
    panel.page.wait_for_function("() => !document.querySelector('.nn-lens')")
