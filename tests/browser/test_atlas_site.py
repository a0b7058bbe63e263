"""The site of an atlas, opened from a disk and over HTTP, with 512 units in a layer."""

from __future__ import annotations

import functools
import http.server
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import nn_lens as nl
from nn_lens.atlas import work

UNITS = 512
LABELS = [f"kind {i}" for i in range(7)]


def drawn(net, goals, seed):
    """In place of maximizing images: a colour for each unit, so that a tile tells whose it is."""
    images = []
    for goal in goals:
        channel = goal.channel if isinstance(goal, nl.Unit) else int(np.argmin(goal.vector))
        colour = np.array([channel % 8, channel // 8 % 8, channel // 64]) / 7
        negative = not isinstance(goal, nl.Unit)
        images.append(np.broadcast_to((1 - colour if negative else colour)[:, None, None], (3, 40, 40)))
    first = real(net, goals[0], steps=1, seed=seed)
    n = len(goals)
    return replace(
        first, goals=tuple(map(str, goals)), images=np.stack(images).astype(np.float32), activations=np.arange(n, dtype=np.float32),
        history=np.zeros((1, n), np.float32), notes=("",) * n,
    )  # fmt: skip


real = work.maximize


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, UNITS, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(UNITS, 7))
    net = nl.Network(model, (3, 24, 32), False, LABELS)
    folder = tmp_path_factory.mktemp("site")
    dataset = torch.rand(12, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    with ThreadPoolExecutor(1) as executor, pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "maximize", drawn)
        nl.sweep(net, folder / "atlas", ["1", "4"], what=("maximizing",), executor=executor, progress=False)
    with ThreadPoolExecutor(1) as executor:
        nl.sweep(
            net,
            folder / "atlas",
            ["4"],
            dataset=dataset,
            what="examples",
            pixels=True,
            executor=executor,
            progress=False,
        )
        atlas = nl.sweep(net, folder / "atlas", ["4"], ["4:3"], dataset, "trust", executor, progress=False)
    atlas.to_site(folder / "pages")
    return folder / "pages"


@pytest.fixture
def opened(chromium, site):
    """Opens a page of the site in a theme; `loaded` are the files that it took."""
    contexts = []

    def open_(name: str, theme: str = "light", base: str | None = None, width: int = 1280):
        context = chromium.new_context(viewport={"width": width, "height": 720}, color_scheme=theme)
        contexts.append(context)
        page = context.new_page()
        page.loaded, page.faults = [], []
        page.on(
            "requestfinished",
            lambda request: page.loaded.append(unquote(urlparse(request.url).path).rsplit("/pages/", 1)[-1]),
        )
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("requestfailed", lambda request: page.faults.append(request.url))
        page.goto(f"{base or f'file://{site}'}/{name}", wait_until="load")
        page.wait_for_timeout(300)
        return page

    yield open_
    for context in contexts:
        context.close()


def sheets(page) -> list[str]:
    return sorted({name for name in page.loaded if "sheet-" in name})


def bytes_of(page, site: Path) -> int:
    return sum((site / name).stat().st_size for name in set(page.loaded))


def test_the_first_page_is_light_and_quick(opened, site):
    page = opened("index.html")
    assert not page.faults
    assert page.title() == "Atlas of Sequential"
    assert page.locator(".layers b").all_inner_texts() == ["1", "4"]
    assert bytes_of(page, site) < 300_000
    taken = page.evaluate("performance.timing.loadEventEnd - performance.timing.navigationStart")
    assert taken < 3000  # one second where nobody else works


def test_thumbnails_come_as_one_scrolls(opened, site):
    page = opened("1.html")
    assert page.locator(".tile").count() == UNITS
    first = sheets(page)
    assert 0 < len(first) < 12
    assert bytes_of(page, site) < 300_000
    page.locator("#tile-500").scroll_into_view_if_needed()
    page.wait_for_timeout(400)
    assert len(sheets(page)) > len(first)
    assert not page.faults


@pytest.mark.parametrize("channel", [0, 13, 23, 24, 130])
def test_each_tile_shows_its_own_unit(opened, tmp_path, channel):
    page = opened("1.html")
    page.locator(f"#tile-{channel}").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    page.locator(f"#tile-{channel} i").screenshot(path=tmp_path / "tile.png")
    levels = np.asarray(Image.open(tmp_path / "tile.png").convert("RGB"))
    middle = levels[levels.shape[0] // 2, levels.shape[1] // 2] / 255
    np.testing.assert_allclose(middle, np.array([channel % 8, channel // 8 % 8, channel // 64]) / 7, atol=0.06)


def test_a_unit_has_an_address(opened):
    page = opened("4.html#3")
    card = page.locator("#unit")
    assert page.title() == "4:3 of Sequential"
    text = card.inner_text()
    assert "4:3 kind 3" in text
    assert "liveliness" in text
    assert "12 pictures" in text
    assert card.locator("img.patches").evaluate("image => image.naturalWidth") == 9 * 72
    assert page.locator("#tile-3").get_attribute("aria-current") == "true"
    assert not page.faults
    page.goto(page.url.replace("#3", "#5"))
    page.wait_for_timeout(200)
    assert "4:5 kind 5" in card.inner_text()
    page.goto(page.url.replace("#5", "#99"))  # there is no such unit
    assert not card.is_visible()


def test_units_layers_and_classes_are_found(opened):
    page = opened("index.html")
    page.keyboard.press("/")
    page.keyboard.type("1:77")
    assert page.locator("#found a").first.inner_text().startswith("1:77")
    page.keyboard.press("Enter")
    page.wait_for_url("**/1.html#77")
    page.locator("#search").fill("kind 6")
    assert "4:6" in page.locator("#found a").first.inner_text()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/4.html#6")
    page.locator("#search").fill("no such thing")
    assert "nothing of that name" in page.locator("#found").inner_text()


def test_all_of_it_goes_by_keys(opened):
    page = opened("1.html")
    page.keyboard.press("ArrowRight")
    assert page.url.endswith("#0")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    across = page.evaluate(
        """[...document.querySelectorAll(".tiles > li:not(#unit)")].findIndex((li, _, all) => li.offsetTop > all[0].offsetTop)"""
    )
    assert page.url.endswith(f"#{1 + across}")
    assert page.evaluate("document.activeElement.id") == f"tile-{1 + across}"
    page.keyboard.press("Escape")
    assert "#" not in page.url
    assert not page.locator("#unit").is_visible()
    page.keyboard.press("]")
    page.wait_for_url("**/4.html")
    page.keyboard.press("[")
    page.wait_for_url("**/1.html")


def test_it_is_the_same_over_http(opened, site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = opened("4.html#3", base=f"http://127.0.0.1:{server.server_port}")
        assert "liveliness" in page.locator("#unit").inner_text()
        assert not page.faults
        server.shutdown()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_fault(opened, theme):
    from axe_playwright_python.sync_playwright import Axe

    for name in ("index.html", "4.html#3"):
        page = opened(name, theme)
        found = Axe().run(page).response["violations"]
        assert not [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")]


def test_the_card_stands_below_the_row_of_its_tile(opened):
    page = opened("1.html")
    page.locator("#tile-300").scroll_into_view_if_needed()
    page.locator("#tile-300").click()
    page.wait_for_timeout(400)
    tile, card = (page.locator(f"#{name}").bounding_box() for name in ("tile-300", "unit"))
    assert 0 <= card["y"] - (tile["y"] + tile["height"]) < 40
    assert 0 <= tile["y"] < 720
    assert card["width"] > 1000
    before = card["y"]
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    assert (
        abs(page.locator("#unit").bounding_box()["y"] - before) < 30
        or page.locator("#tile-301").bounding_box()["y"] > tile["y"]
    )


def test_512_units_stay_at_a_frame(opened):
    """Layout and script of a step to the next unit, far below a frame's 16 ms where nobody else works."""
    page = opened("1.html#5")
    page.keyboard.press("ArrowRight")
    slowest = page.evaluate(
        """() => { const taken = []; for (let i = 0; i < 20; i++) { const begun = performance.now();
        document.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" })); document.body.offsetHeight;
        taken.push(performance.now() - begun); } return taken.sort((a, b) => a - b)[10]; }"""
    )
    assert slowest < 60
