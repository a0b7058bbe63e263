"""Finding one's way: layers, units and classes by name, the strongest first; what is looked at stays in sight."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import pytest
import torch

import nn_lens as nl
from nn_lens.engine.pictures import images
from nn_lens.widgets.table import TABLE

STRINGS_TITLES = {name: view.title for name, view in TABLE.views.items()}
BOX = "e => { const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; }"


@pytest.fixture(scope="module")
def net():
    return nl.demo()


@pytest.fixture
def lens(net):
    return nl.Lens(nl.Session(net), unit="relu3:12", picture=net.samples["cat"])


def over(panel, selector, y, x):
    box = panel.page.locator(f".nn-lens {selector}").first.bounding_box()
    panel.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def maps_are_there(panel, layer):
    panel.wait(".card.activations", f"e.dataset.shown?.startsWith({layer + ' '!r}) && !e.matches('.stale')")


def test_marks_of_a_place_go_when_the_place_goes(shown, lens):
    panel = shown(lens)
    maps_are_there(panel, "relu3")

    def marks():
        panel.wait_for_frame()
        return panel.page.locator(".nn-lens .places:visible, .nn-lens .sees:visible").count()

    over(panel, ".frame", 0.5, 0.5)
    panel.wait(".activations .places", "getComputedStyle(e).display === 'block'")
    assert marks() >= 1
    panel.page.mouse.move(700, 5)
    panel.wait(".activations .places", "getComputedStyle(e).display === 'none'")
    assert marks() == 0
    for leave in ("panel.page.keyboard.press('Escape')", "panel.page.click('.nn-lens .here .letgo')"):
        over(panel, ".frame", 0.4, 0.4)
        panel.page.mouse.down()
        panel.page.mouse.up()
        panel.wait(".sees", "e.classList.contains('locked')")
        panel.page.mouse.move(700, 5)
        assert marks() >= 1
        eval(leave)
        panel.wait(".activations .places", "getComputedStyle(e).display === 'none'")
        assert marks() == 0, leave
    over(panel, ".frame", 0.4, 0.4)
    for _ in range(2):  # the second click at the same place lets go
        panel.page.mouse.down()
        panel.page.mouse.up()
    panel.page.mouse.move(700, 5)
    panel.wait(".activations .places", "getComputedStyle(e).display === 'none'")
    assert not panel.notebook.problems


def test_a_class_layer_is_bars_with_names_and_classes_are_chosen_by_name(shown, lens, net):
    lens.unit = "classifier:3"
    panel = shown(lens)
    maps_are_there(panel, "classifier")
    scores = net.scores(net.samples["cat"])
    order = np.argsort(-scores)
    lines = panel.page.locator(".nn-lens .bars .line:visible")
    assert lines.first.locator(".who").inner_text() == f"{order[0]} · {net.labels[order[0]]}"
    values = [float(text) for text in panel.page.locator(".nn-lens .bars .line:visible .much").all_inner_texts()]
    np.testing.assert_allclose(values, scores[order][: len(values)], rtol=0.01)
    # One scale: bars are as long as their values.
    widths = [e.bounding_box()["width"] for e in panel.page.locator(".nn-lens .bars .line:visible .piece").all()]
    np.testing.assert_allclose(
        np.array(widths[:3]) / widths[0], np.abs(scores[order][:3]) / abs(scores[order[0]]), atol=0.02
    )
    assert panel.text(".unit-card h3") == f"Unit 3 · {net.labels[3]}"
    assert panel.page.locator(".nn-lens .activations .grid").is_hidden()
    panel.page.click(".nn-lens .units .chosen")
    panel.page.keyboard.type(net.labels[8][:6])
    panel.page.keyboard.press("Enter")
    panel.notebook.until("result = str(lens.unit)", "classifier:8")
    lines.nth(1).click()
    panel.notebook.until("result = str(lens.unit)", f"classifier:{order[1]}")


def test_layers_are_found_by_name_and_kind(shown, lens):
    panel = shown(lens)
    maps_are_there(panel, "relu3")
    panel.page.click(".nn-lens .combo .chosen")
    panel.page.keyboard.type("block4 conv2d")
    panel.wait(".popup .line", "e.offsetParent")
    names = panel.page.locator(".nn-lens .popup .line:visible .who").all_inner_texts()
    assert names == ["block4", "conv1", "conv2"]
    panel.page.keyboard.press("Escape")
    assert panel.page.locator(".nn-lens .popup").first.is_hidden()
    assert panel.notebook.python("result = str(lens.unit)") == "relu3:12"
    panel.page.click(".nn-lens .combo .chosen")
    panel.page.keyboard.type("block4.conv2")
    panel.page.keyboard.press("ArrowDown")
    panel.page.keyboard.press("Enter")
    panel.notebook.until("result = lens.layer", "block4.conv2")


def test_units_go_with_the_strongest_first(shown, lens, net):
    panel = shown(lens)
    maps_are_there(panel, "relu3")
    largest = nl.activations(net, net.samples["cat"], "relu3").maps.max((1, 2))
    order = list(np.argsort(-largest, kind="stable"))
    panel.page.select_option(".nn-lens select.order", "strongest")
    panel.slide("unit", 0)
    panel.notebook.until("result = lens.unit.channel", int(order[0]))
    panel.page.locator(".nn-lens").focus()
    panel.page.keyboard.press("ArrowRight")
    panel.notebook.until("result = lens.unit.channel", int(order[1]))
    panel.wait(".maximization .tile", f"e.dataset.channel === '{order[0]}'")
    captions = panel.page.locator(".nn-lens .maximization .tile .who").all_inner_texts()
    assert captions == [str(c) for c in order[:12]]
    panel.page.click(".nn-lens .maximization button[title='the next page']")
    panel.notebook.until("result = lens.unit.channel", int(order[12]))
    assert panel.text(".maximization .where") == "page 2 of 15"


def test_a_layer_without_filters_leads_to_the_nearest_that_has(shown, lens):
    panel = shown(lens)
    panel.wait(".filters .link", "!e.hidden && e.textContent.includes('conv3')")
    panel.page.click(".nn-lens .filters .link")
    panel.notebook.until("result = lens.layer", "conv3")
    panel.wait(".filters .link", "e.hidden")


@pytest.mark.parametrize("view", ["all", "filters", "maximization", "activations", "evidence", "blocks", "here"])
def test_the_ranking_is_in_sight_of_the_picture(shown, lens, view):
    lens.view = view
    panel = shown(lens)
    panel.wait(".frame", "e.offsetParent")
    over(panel, ".frame", 0.5, 0.5)
    panel.wait(".here", "e.dataset.shown")
    picture, tile = (panel.page.locator(f".nn-lens {s}").first.evaluate(BOX) for s in (".frame", ".ranked .tile"))
    assert picture[3] <= 610, "the picture is above the fold"
    assert tile[3] <= 610, "so is the ranking"


@pytest.mark.parametrize("width", [1100, 848, 600])
def test_no_number_is_cut_and_nothing_scrolls_aside(shown, lens, width):
    panel = shown(lens, width, 700)
    panel.wait(".maximization .much", "e.textContent !== ''")
    maps_are_there(panel, "relu3")
    cut = panel.page.evaluate(
        """() => [...document.querySelectorAll('.nn-lens .much')].filter((e) => e.offsetParent).filter((e) => {
          const [own, tile] = [e.getBoundingClientRect(), e.closest('.tile, figure, .line').getBoundingClientRect()];
          return own.left < tile.left - 0.5 || own.right > tile.right + 0.5 || e.scrollWidth > e.clientWidth + 1;
        }).map((e) => e.textContent)"""
    )
    assert cut == []
    assert panel.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_cards_keep_their_place_while_one_steps_through_the_layers(shown, lens):
    panel = shown(lens)
    maps_are_there(panel, "relu3")
    tops = {}
    for layer in ("conv1", "norm1", "relu1", "pool2", "block2", "block4.conv1", "flatten"):
        panel.notebook.python(f"lens.layer = {layer!r}")
        maps_are_there(panel, layer)
        tops[layer] = panel.page.locator(".nn-lens .card.activations, .nn-lens .unit-card").evaluate_all(
            "all => all.map((e) => e.getBoundingClientRect().top)"
        )
    assert len({tuple(t) for t in tops.values()}) == 1, tops


def test_the_controls_stay_in_sight(shown, lens):
    lens.view = "evidence"
    panel = shown(lens)
    panel.page.wait_for_function("() => document.querySelector('.nn-lens')?.scrollHeight > 1300")
    panel.page.mouse.move(700, 400)
    panel.page.mouse.wheel(0, 300)
    panel.page.wait_for_function("() => scrollY > 250")
    panel.wait(".controls", "Math.abs(e.getBoundingClientRect().top) < 2", 10_000)
    panel.wait(".picture-card", "e.getBoundingClientRect().top > 40 && e.getBoundingClientRect().top < 90", 10_000)


def test_a_map_on_the_picture_is_clear_where_it_is_zero(shown, lens, net):
    panel = shown(lens)
    panel.page.check(".nn-lens .overlay input")
    panel.wait("canvas.map", "e.dataset.shown?.endsWith('relu3:12')")
    values = nl.activations(net, net.samples["cat"], "relu3").maps[12]
    alpha = np.array(
        panel.page.locator(".nn-lens canvas.map").evaluate(
            "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 === 3)"
        )
    ).reshape(values.shape)
    assert (alpha[values == 0] == 0).all()
    np.testing.assert_allclose(alpha / 255, 0.85 * values / values.max(), atol=0.01)


def test_a_small_picture_is_enlarged_beside_itself(shown, lens):
    panel = shown(lens)
    panel.wait(".maximization .tile img", "e.naturalWidth > 1")
    tile = panel.page.locator(".nn-lens .maximization .tile").nth(2)
    tile.hover()
    panel.wait(".large", "!e.hidden && e.offsetWidth >= 200")
    own, large = tile.evaluate(BOX), panel.page.locator(".nn-lens .large").evaluate(BOX)
    assert large[0] >= own[2] or large[2] <= own[0], "beside it, not above it"
    assert large[1] >= 0
    assert large[3] <= 610
    panel.page.mouse.move(5, 5)
    panel.wait(".large", "e.hidden")
    panel.page.keyboard.press("Tab")
    tile.focus()
    panel.page.keyboard.press("Shift+Tab")
    panel.page.keyboard.press("Tab")
    panel.wait(".large", "!e.hidden")


def test_a_bad_file_is_named_beside_the_button(shown, lens):
    panel = shown(lens)
    panel.upload("bad.jpg", b"this is no picture")
    panel.wait(".picture-card .problem", "!e.hidden && e.textContent.includes(\"'bad.jpg' is not a picture\")")
    button, text = (
        panel.page.locator(f".nn-lens {s}").first.evaluate(BOX) for s in (".upload", ".picture-card .problem")
    )
    assert 0 <= text[1] - button[3] < 30


def test_help_says_what_each_card_shows_and_the_menu_what_else_there_is(shown, lens):
    panel = shown(lens)
    maps_are_there(panel, "relu3")
    assert panel.page.locator(".nn-lens .dock").is_hidden(), "a bare page docks nothing"
    top = panel.page.locator(".nn-lens .picture-card").evaluate(BOX)
    panel.page.click(".nn-lens .question")
    titles = panel.page.locator(".nn-lens .help dl").first.locator("dt").all_inner_texts()
    assert titles == [STRINGS_TITLES[view] for view in TABLE.shown("all", TABLE.views)]
    assert panel.page.locator(".nn-lens .help kbd").count() >= 6
    assert panel.page.locator(".nn-lens .picture-card").evaluate(BOX) == top, "nothing is pushed down"
    panel.page.keyboard.press("Escape")
    assert panel.page.locator(".nn-lens .help").is_hidden()
    about = panel.page.locator(".nn-lens .card.unit-card .about")
    assert about.is_hidden()
    panel.page.click(".nn-lens .card.unit-card .why-card")
    assert about.inner_text().startswith("The selected unit on one card")
    panel.page.click(".nn-lens .menu > button")
    lines = panel.page.locator(".nn-lens .menu code").all_inner_texts()
    assert {'lens.to_html("lens.html")', 'lens.save_png("view.png")', "nl.Lens(net, compare=other)"} <= set(lines)


def test_the_map_of_the_network_leads_to_its_stops_and_folds_away(shown, lens):
    panel = shown(lens)
    panel.wait(".stops .tile:nth-child(5) img", "e.naturalWidth === 48")
    names = panel.page.locator(".nn-lens .stops .caption").all_inner_texts()
    assert names == [group["name"] for group in lens._network["groups"]]
    assert panel.page.locator(".nn-lens .stops [aria-pressed=true]").inner_text() == "relu3"
    net = lens.session.net
    maps = nl.activations(net, net.samples["cat"], "relu3").maps
    best = int(maps.reshape(len(maps), -1).max(1).argmax())
    levels, _, signed = images.map_levels(maps[best : best + 1])
    expected = images.colour(levels, signed)[0].repeat(3, 0).repeat(3, 1)  # 16 places in 48 pixels
    shown_map = panel.pixels(f".stops .tile:nth-child({names.index('relu3') + 1}) img")
    np.testing.assert_array_equal(shown_map, expected)
    lens.unit = "relu3:40"
    panel.wait_for_unit("relu3:40")
    panel.page.click(".nn-lens .stops .tile >> text=block4")
    panel.notebook.until("result = str(lens.unit)", "block4:40")
    tall = panel.page.locator(".nn-lens .overview").bounding_box()["height"]
    panel.page.click(".nn-lens .overview .folds")
    panel.wait(".stops", "!e.offsetParent")
    assert panel.page.locator(".nn-lens .overview").bounding_box()["height"] < tall - 50


def test_what_is_out_of_date_is_dimmed_if_the_new_is_long_in_coming(shown, lens):
    panel = shown(lens)
    maps_are_there(panel, "relu3")
    seen = "() => [...document.querySelectorAll('.nn-lens .activations .body')].map((e) => getComputedStyle(e).opacity)"
    assert panel.page.evaluate(seen) == ["1"]
    go, free = threading.Event(), threading.Event()

    def work(session):
        free.set()
        yield go.wait(60)

    lens.session.submit("in the way", work, lambda job, result: None, urgency=-1)
    assert free.wait(60)
    lens.picture = lens.session.net.samples["coffee"]
    panel.wait(".card.activations", "e.matches('.stale.dim')")
    assert panel.page.evaluate(seen) == ["0.35"]
    go.set()
    panel.wait(".card.activations", "!e.matches('.stale') && !e.matches('.dim')")
    assert panel.page.evaluate(seen) == ["1"]


def test_long_names_break_nothing(shown):
    stem = "feature_extraction_backbone_network_for_large_images"
    blocks = torch.nn.Sequential(
        OrderedDict(first_convolution_of_this_block=torch.nn.Conv2d(8, 8, 3), relu=torch.nn.ReLU())
    )
    model = torch.nn.Sequential(
        OrderedDict(
            [(stem, torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), blocks)), ("pool", torch.nn.AdaptiveAvgPool2d(1))]
        )
    )
    lens = nl.Lens(nl.Network(model, (3, 24, 24)), unit=f"{stem}.1.first_convolution_of_this_block:3")
    panel = shown(lens, 848, 700)
    panel.wait(".card.activations", "e.dataset.shown")
    out = panel.page.evaluate(
        """() => [...document.querySelectorAll('.nn-lens .card:not([hidden]) *')].filter((e) => e.offsetParent).filter((e) => {
          const [own, card] = [e.getBoundingClientRect(), e.closest('.card').getBoundingClientRect()];
          return own.width && (own.right > card.right + 1 || own.left < card.left - 1) && !e.closest('.stops');
        }).map((e) => e.className + ' ' + e.textContent.slice(0, 40))"""
    )
    assert out == []
    chosen = panel.page.locator(".nn-lens .combo .chosen").first
    assert chosen.inner_text().startswith("▾") or "…" in chosen.inner_text()
    assert stem in chosen.get_attribute("title")
    assert panel.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [1280, 600, 380])
def test_a_layer_is_named_with_no_number_cut(shown, width):
    """What there is no room for beside its name is left out as a whole."""
    model = torch.nn.Sequential(
        OrderedDict(a_layer_of_a_long_name=torch.nn.Conv2d(3, 2048, 3), c=torch.nn.Conv2d(2048, 8, 3))
    )
    lens = nl.Lens(nl.Network(model, (3, 24, 24)), unit="a_layer_of_a_long_name:1")
    panel = shown(lens, width, 700)
    read = """() => {
      const button = document.querySelector('.nn-lens .combo .chosen');
      const floor = button.getBoundingClientRect().bottom;
      return [...button.querySelectorAll('span > span')]
        .filter((e) => e.getBoundingClientRect().bottom <= floor)
        .map((e) => [e.textContent, e.scrollWidth <= e.clientWidth + 1 && e.getBoundingClientRect().right <= button.getBoundingClientRect().right]);
    }"""
    for unit, pieces in (
        ("a_layer_of_a_long_name:1", ["a_layer_of_a_long_name", " · Conv2d", " · 2048×22×22"]),
        ("c:1", ["c", " · Conv2d", " · 8×20×20"]),
    ):
        lens.unit = unit
        panel.wait(".combo .chosen", f"e.title.startsWith({unit.split(':')[0]!r})")
        seen = panel.page.evaluate(read)
        assert [text for text, _ in seen] == pieces[: len(seen)]
        assert all(whole for _, whole in seen)
        assert len(seen) == 3 or unit[0] == "a"
