"""Panels of several kinds of networks as they are laid out at several widths: nothing is cut, what belongs together is in
sight together; and by touch.
"""

from __future__ import annotations

import pytest
import torch
from models import squeezenet
from torch import nn
from zoo import Vision

import nn_lens as nl
from browser.bare import Bare
from browser.laid import faults_of, hides_ranking
from browser.panel import Panel

SIZES = {"desk": (1280, 720), "narrow": (600, 720), "at 150 %": (853, 480), "beside a file browser": (240, 700)}


def table() -> nl.Lens:
    model = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
    rows = torch.randn(40, 13)
    net = nl.Network(model, (13,), labels=["Barolo", "Grignolino", "Barbera d'Asti superiore"])
    return nl.Lens(net, unit="0:5", picture=rows[0], dataset=[*rows])


def grey() -> nl.Lens:
    model = nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.ReLU(),
        nn.Conv2d(20, 1, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(1, 3),
    )
    return nl.Lens(nl.Network(model, (1, 28, 28), False), unit="2:0", dataset=torch.rand(12, 1, 28, 28))


def tokens() -> nl.Lens:
    return nl.Lens(nl.Network(Vision(), (3, 32, 48), False), unit="blocks.0.linear1:3", picture=torch.rand(3, 32, 48))


def photos() -> nl.Lens:
    net = nl.demo()
    return nl.Lens(net, unit="block4.relu1:12", picture=net.samples["astronaut"])


@pytest.mark.parametrize("made", [photos, tokens, table, grey])
def test_nothing_is_cut_and_the_ranking_stays_in_sight(shown, made):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        lens = made()
    panel = shown(lens, *SIZES["desk"])
    panel.wait(".card.activations", "e.dataset.shown && !e.matches('.stale')")
    panel.wait(".card.maximization", "e.dataset.shown && !e.matches('.stale')")
    found = {}
    for view in ("all", "evidence", "here"):
        lens.view = view
        panel.wait_for_frame()
        panel.page.wait_for_timeout(2500 if view == "evidence" else 300)
        for name, (width, height) in SIZES.items():
            panel.page.set_viewport_size({"width": width, "height": height})
            panel.page.wait_for_timeout(150)
            found[f"{view}, {name}"] = faults_of(panel)
            if view == "all" and width >= 600 and lens.session.net.kind == "picture":
                found[f"in sight, {name}"] = hides_ranking(panel)
    assert {at: faults for at, faults in found.items() if faults} == {}


def test_the_numbers_of_a_kernel_are_whole(shown):
    """Those of a unit's own kernel, of 9 x 9 cells, and a small one."""
    net = nl.demo()
    lens = nl.Lens(net, unit="conv1:20", picture=net.samples["cat"], view="kernel")
    panel = shown(lens)
    panel.wait(".kernel-lab .cells", "e.rows.length === 9")
    assert faults_of(panel) == []
    cells = panel.page.locator(".nn-lens .cells input")
    shown_there = [float(cells.nth(i).input_value()) for i in (0, 40, 80)]
    exact = net.model.conv1.weight[20].sum(0).detach().flatten()[[0, 40, 80]]
    assert shown_there == pytest.approx(exact.tolist(), abs=0.01)
    panel.page.select_option(".nn-lens .kernel-lab select[aria-label=kernel]", label="edges (Laplace)")
    panel.wait(".kernel-lab .cells", "e.rows.length === 3")
    assert faults_of(panel) == []
    for number in ("-0.0661", "-1.25e-7"):
        cells.nth(4).fill(number)
        assert faults_of(panel) == [], number


def test_a_real_picture_that_leads_a_unit_further_comes_first(shown, material):
    lens = nl.Lens(squeezenet(material), unit="features.3:11", view="maximization")
    panel = shown(lens, *SIZES["narrow"])
    panel.wait(".card.maximization", "e.dataset.shown.endsWith('finished')")
    tile = panel.page.locator(".nn-lens .maximization .tile[aria-pressed=true]")
    real, image = tile.locator("img").all()
    assert real.get_attribute("alt").startswith("Part of a real picture that leads features.3:11 further")
    assert image.get_attribute("alt").startswith("Maximizing image of features.3:11")
    reached = float(tile.locator(".much").inner_text().removeprefix("real "))
    found = nl.maximize(lens.session.net, "features.3:11")
    assert reached == pytest.approx(found.real[0].activation, rel=1e-2)
    assert reached > found.activations[0]
    note = panel.page.locator(".nn-lens .maximization .note").inner_text()
    assert note.startswith(f"unit 11: {found.notes[0]}, more than its image")
    # Others on the page have their image alone, and none of them is called dead.
    assert panel.page.locator(".nn-lens .maximization .tile img.corner:visible").count() < 6
    assert "dead" not in panel.page.locator(".nn-lens .maximization").inner_text()
    assert faults_of(panel) == []


@pytest.fixture
def touched(chromium):
    """A panel on a screen that is touched, and how to move a finger on it."""
    net = nl.demo()
    lens = nl.Lens(nl.Session(net), unit="relu1:3", picture=net.samples["cat"])
    context = chromium.new_context(viewport={"width": 900, "height": 700}, has_touch=True)
    page = context.new_page()
    panel, session = Panel(Bare(page, lens)), context.new_cdp_session(page)

    def drag(selector, start, stop):
        page.locator(f".nn-lens {selector}").first.scroll_into_view_if_needed()
        box = page.locator(f".nn-lens {selector}").first.bounding_box()
        y = box["y"] + box["height"] / 2
        for i in range(11):
            x = box["x"] + box["width"] * (start + (stop - start) * i / 10)
            kind = "touchMove" if i else "touchStart"
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
            page.wait_for_timeout(20)
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    yield panel, lens, drag
    context.close()
    lens.close()


def test_by_touch(touched):
    """A finger moves both sliders, chooses a map and stays at a place; another touch of the same place lets go of it."""
    panel, lens, drag = touched
    panel.wait(".card.activations", "e.dataset.shown && !e.matches('.stale')")
    drag("input.unit", 0.1, 0.7)
    panel.notebook.until("result = 20 < lens.unit.channel < 40", True)
    drag("input.layer", 0.1, 0.25)
    panel.notebook.until("result = lens.layer != 'relu1'", True)
    lens.unit = "relu3:0"
    panel.wait(".card.activations", "e.dataset.shown?.startsWith('relu3 ') && !e.matches('.stale')")
    box = panel.page.locator(".nn-lens .activations .tiles").bounding_box()
    panel.page.touchscreen.tap(box["x"] + 100, box["y"] + 20)
    panel.notebook.until("result = lens.unit.channel > 0", True)
    box = panel.page.locator(".nn-lens .frame").first.bounding_box()
    for locked in (True, False):
        panel.page.touchscreen.tap(box["x"] + 0.3 * box["width"], box["y"] + 0.4 * box["height"])
        panel.wait(".picture-card .sees", f"e.classList.contains('locked') === {str(locked).lower()}")
    panel.page.locator(".nn-lens .switch button", has_text="Evidence").tap()
    panel.notebook.until("result = lens.view", "evidence")
    for card in (".contributions", ".ablation"):  # what comes above the slider would move it away from the finger
        panel.wait(card, "e.dataset.shown && !e.matches('.stale')")
    drag(".ablation input[type=range]", 0.35, 0.02)
    panel.wait(".ablation", "e.dataset.shown?.endsWith(' 0')")
    assert not panel.notebook.problems
