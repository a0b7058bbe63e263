"""On a GPU: whether images are what the contract says, and the waits at real size beside the card's bare work.

    python tests/benchmarks/on_gpu.py [--device cuda] [--out FILE]

alike: a unit alone, in a page of 8, and asked for twice, by the largest difference of a number of its image, in 255ths. steps:
milliseconds of one step of a page of 8 beside a bare forward and backward pass of the same batch on the same canvas. panel:
ResNet-50's waits in a session, as the panel asks. examples: pictures a second, beside the bare forward loop over the same
pictures in memory. Weights are random but for the bundled network's: of time and sameness they say the same.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

import nn_lens as nl
from nn_lens.engine.maximizing.maximize import Run
from nn_lens.engine.pictures.datasets import source_of
from nn_lens.sessions import requests

PAGE, PICTURES = 8, 2048


def bundled(device: str) -> nl.Network:
    net = nl.demo()
    net.model.to(device)
    return net


def random_weights(name: str, device: str) -> nl.Network:
    torch.manual_seed(0)
    return nl.Network(torchvision.models.get_model(name, weights=None).eval().to(device), (3, 224, 224), nl.IMAGENET)


def now() -> float:
    """Seconds, once the card has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def alike(device: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for net, layers in (
        (bundled(device), ("relu1", "relu2", "relu3", "relu4", "block4")),
        (random_weights("resnet18", device), ("layer1", "layer3")),
        (random_weights("mobilenet_v3_small", device), ("features.4",)),
    ):
        for layer in layers:
            units = [nl.Unit(layer, c) for c in range(PAGE)]
            page = nl.maximize(net, units)
            again, alone = nl.maximize(net, units), nl.maximize(net, units[5])
            found[f"{net.name} {layer}"] = {
                "twice": float(np.abs(page.images - again.images).max() * 255),
                "alone": float(np.abs(page.images[5] - alone.images[0]).max() * 255),
                "activations": [float(page.activations[5]), float(alone.activations[0])],
            }
    return found


def steps(device: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for net, layer in ((bundled(device), "relu3"), (random_weights("resnet50", device), "layer4")):
        run = Run(net, [nl.Unit(layer, c) for c in range(PAGE)])
        times: dict[tuple[int, ...], list[float]] = {}
        start = now()
        for step in run.steps():
            end = now()
            times.setdefault(tuple(step.images.shape), []).append(end - start)
            start = now()
        (shape, spent) = max(times.items(), key=lambda found: len(found[1]))
        x = torch.rand(shape, device=device)

        def bare(net: nl.Network = net, x: torch.Tensor = x, layer: str = layer) -> None:
            with net.evaluation(), torch.enable_grad():
                leaf = x.clone().requires_grad_()
                torch.autograd.grad(net.outputs(leaf, [layer])[layer].sum(), leaf)

        base = []
        for _ in range(12):
            start = now()
            bare()
            base.append(now() - start)
        ours, theirs = 1000 * np.median(spent), 1000 * np.median(base[2:])
        found[f"{net.name} {layer}"] = {
            "canvas": shape, "a_step_ms": float(ours), "bare_ms": float(theirs), "ratio": float(ours / theirs),
        }  # fmt: skip
    return found


def panel(device: str) -> dict[str, Any]:
    net = random_weights("resnet50", device)
    nl.maximize(net, "layer1:0", steps=2)  # warmed up
    session, units = nl.Session(net, cache=False), [nl.Unit("layer4", c) for c in range(PAGE)]
    start, times, maps = now(), [], []

    def work(s: Any) -> Any:
        for page in requests.page(s, units, chosen=lambda: units[5]):
            times.append(now() - start)
            yield page

    session.run(work)
    shown = [layer.name for layer in net.layers if layer.reason is None and len(layer.output_shape) == 3]
    for n, layer in enumerate(shown[:: max(1, len(shown) // 40)]):
        picture = np.random.default_rng(n).random((224, 224, 3)).astype(np.float32)
        at = now()
        session.run(lambda s, p=picture, n=n, layer=layer: requests.maps(s, p, f"p{n}", layer))
        maps.append(now() - at)
    session.close()
    return {
        "page_first_frame": times[0], "page": times[-1], "maps_of_a_new_picture_median_ms": 1000 * float(np.median(maps)),
        "most_ms": 1000 * max(maps),
    }  # fmt: skip


def examples(device: str) -> dict[str, Any]:
    net = random_weights("resnet50", device)
    pictures = torch.rand(PICTURES, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    layers = ["layer2", "layer3", "layer4"]

    def bare() -> None:
        with net.evaluation(), torch.no_grad():
            for batch in source_of(net, pictures).batches(net.batch_size()):
                net.outputs(batch.pictures, layers)

    ways = {"bare": bare, "examples": lambda: nl.dataset_examples(net, layers, pictures, progress=False)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(3):
        for name, way in ways.items():
            start = now()
            way()
            if round_:
                rates[name].append(PICTURES / (now() - start))
    found = {name: float(np.median(rate)) for name, rate in rates.items()}
    return {**found, "ratio": found["examples"] / found["bare"], "batch": net.batch_size()}


def traces(device: str) -> dict[str, Any]:
    """What is left behind: the card's random state, and memory."""
    net = bundled(device)
    nl.maximize(net, "relu3:1", steps=4)
    state, held = torch.cuda.get_rng_state(), torch.cuda.memory_allocated()
    nl.maximize(net, "relu3:2", steps=20)
    nl.attribute(net, net.samples["cat"], 1)
    return {
        "random_state_kept": bool(torch.equal(state, torch.cuda.get_rng_state())),
        "bytes_left": torch.cuda.memory_allocated() - held,
    }


PARTS = {"alike": alike, "steps": steps, "panel": panel, "examples": examples, "traces": traces}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    card = torch.cuda.get_device_name() if options.device.startswith("cuda") else "processor"
    report: dict[str, Any] = {"card": card, "torch": torch.__version__}
    for name in options.only:
        try:
            report[name] = PARTS[name](options.device)
        except Exception as error:  # the other parts are still worth their time on a borrowed card
            report[name] = f"{type(error).__name__}: {error}"
        print(json.dumps({name: report[name]}, indent=1), flush=True)
        if options.out:
            options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
