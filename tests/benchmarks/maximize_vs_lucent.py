"""Maximizing images beside torch-lucent's: quality and time, unit by unit, on the same networks and machine.

    pip install --no-deps torch-lucent==0.1.8 kornia==0.4.1
    pip install tqdm decorator ipython future
    python tests/benchmarks/maximize_vs_lucent.py

needs the material; takes a quarter of an hour on 2 fast cores, which should have nothing else to do. Prints a table and
writes maximize_vs_lucent.json beside this file. `--cache FILE` keeps lucent's half between runs while tuning (a reported
run is whole), `--only NAME` cuts it short, `--sheet FILE` draws 48 pictures.

lucent runs at its defaults: a 128 px picture shown at 224 px (32 and 64 for the small networks) to the whole network,
weights with their gradients, 512 steps, its channel objective, the one that its "layer:channel" text stands for (its
neuron objective leaves more units grey); seeded, warmed up, its hooks removed. Its picture is judged as the network
sees it: padded, cut and enlarged as its transforms do, and cut so that a neuron of its map lies where the yardstick
looks. Ours is one page of 8 units, of which 4 are compared. Quality is that of the material's `quality.py`. lucent's time
is that of the first snapshot at 95 % of its own final quality; ours that of the first step at the same quality, over
the page's units.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

HERE = Path(__file__).parent
MATERIAL = Path(os.environ.get("NN_LENS_MATERIAL", HERE.parents[2] / "shared" / "material"))
sys.path[:0] = [str(HERE.parent), str(MATERIAL.parent)]

from models import material_network, squeezenet  # noqa: E402
from quality import picture_quality  # noqa: E402

import nn_lens as nl  # noqa: E402
from nn_lens.engine.maximizing.maximize import Run  # noqa: E402

SEED = 2026
UNITS, PAGE = 4, 8
SNAPSHOTS = (32, 64, 128, 256, 512)
OUR_STEPS = (*range(1, 17), 18, 20, 22, 24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 112)
CLASSES = 20


def squeezenet_1_0() -> nl.Network:
    from safetensors.torch import load_file

    model = torchvision.models.squeezenet1_0()
    state = load_file(MATERIAL / "models" / "squeezenet1_0_deepcompression_rgb.safetensors")
    model.load_state_dict({k: v.float() for k, v in state.items()})
    return nl.Network(model.eval(), (3, 224, 224), nl.IMAGENET)


# Name: how to make it, its layers from the input to the output, lucent's fixed_image_size.
NETWORKS: dict[str, Any] = {
    "squeezenet 1.1": (
        lambda: squeezenet(MATERIAL),
        ["features.3", "features.4", "features.7", "features.9", "features.12"],
        None,
    ),
    "squeezenet 1.0": (squeezenet_1_0, ["features.3", "features.5", "features.7", "features.9", "features.12"], None),
    "resnet-20": (
        lambda: material_network(MATERIAL, "cifar10_resnet20", (3, 32, 32), nl.IMAGENET),
        ["layer1.0", "layer1.2", "layer2.1", "layer3.0", "layer3.2"],
        32,
    ),
    "photos20": (nl.demo, ["relu1", "relu2", "relu3", "relu4", "block4"], 64),
}


def chosen(net: nl.Network, layer: str) -> list[int]:
    """The page's channels; the first UNITS are compared."""
    return random.Random(f"{SEED} {layer}").sample(range(net[layer].channels), PAGE)


class Yardstick:
    """Quality of pictures of a layer's units, after the material's `picture_quality`."""

    def __init__(self, net: nl.Network, layer: str) -> None:
        self.net, self.layer = net, layer
        field, side = net[layer].receptive_field, min(net.input_shape[1:])
        self.window = min(max(field.size), side)
        self.canvas = min(self.window + 16, side)
        from nn_lens.engine.maximizing.plan import read_goal

        self.place = read_goal(net, nl.Unit(layer, 0), (self.canvas, self.canvas)).centres[layer]

    def around_its_neuron(self, picture: np.ndarray) -> np.ndarray:
        """The canvas of a larger picture around the neuron after the middle of its map."""
        field, side = self.net[self.layer].receptive_field, picture.shape[1]
        if field.whole or side <= self.canvas:
            return picture
        with self.net.evaluation(), torch.no_grad():
            grid = self.net.outputs(torch.from_numpy(picture[None]), [self.layer])[self.layer].shape[2:]
        for axis in (0, 1):
            start = round(field.stride[axis] * (grid[axis] // 2 - self.place[axis]))
            index = np.abs(np.arange(start, start + self.canvas))
            index = np.where(index >= side, 2 * (side - 1) - index, index)
            picture = picture.take(index, axis + 1)
        return picture

    def __call__(self, picture: np.ndarray, channel: int) -> float:
        def answer(x: torch.Tensor) -> torch.Tensor:
            return self.net.outputs(x, [self.layer])[self.layer][:, channel, self.place[0], self.place[1]]

        with self.net.evaluation(), torch.no_grad():
            return float(picture_quality(picture, answer, self.window, self.canvas))


# ---- lucent ----


def lucent_pictures(model: torch.nn.Module, objective: Any, size: int | None, seed: int, steps: Any) -> list[Any]:
    """[(step, seconds, (3,H,W) picture as the network sees it)] of one unit."""
    from lucent.optvis import render, transform

    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    started: list[float] = []

    def clock(x: torch.Tensor) -> torch.Tensor:
        started.append(time.perf_counter())
        return x

    images = render.render_vis(
        model, objective, transforms=[clock, *transform.standard_transforms], thresholds=steps,
        progress=False, show_image=False, fixed_image_size=size,
    )  # fmt: skip
    end = time.perf_counter()
    for module in model.modules():
        module._forward_hooks.clear()
        module.zero_grad(set_to_none=True)
    ends = [started[n] - started[0] if n < len(started) else end - started[0] for n in steps]
    return [(n, s, as_seen(i[0].transpose(2, 0, 1), size or 224)) for n, s, i in zip(steps, ends, images, strict=True)]


def as_seen(picture: np.ndarray, size: int) -> np.ndarray:
    """lucent's transforms without their randomness: a border of 12, cut by 12 in all by two jitters, then enlarged."""
    x = torch.nn.functional.pad(torch.from_numpy(picture)[None], [12] * 4, value=0.5)[:, :, 6:-6, 6:-6]
    return torch.nn.functional.interpolate(x, (size, size), mode="bilinear", align_corners=True)[0].numpy()


def lucent_layer(net: nl.Network, layer: str, channels: list[int], size: int | None) -> list[Any]:
    from lucent.optvis import objectives

    name, yardstick, found = layer.replace(".", "_"), Yardstick(net, layer), []
    for channel in channels:
        objective = objectives.channel(name, channel)
        shots = lucent_pictures(net.model, objective, size, SEED + channel, SNAPSHOTS)
        row = [(n, s, yardstick(yardstick.around_its_neuron(p), channel)) for n, s, p in shots]
        found.append({"shots": row, "picture": shots[-1][2]})
    return found


# ---- ours ----


def our_layer(net: nl.Network, layer: str, channels: list[int]) -> dict[str, Any]:
    yardstick, compared = Yardstick(net, layer), channels[:UNITS]
    start = time.perf_counter()
    run = Run(net, [nl.Unit(layer, c) for c in channels], seed=SEED)
    spent, shots = 0.0, []
    steps = run.steps()
    while True:
        step = next(steps, None)
        if step is None:
            break
        if step.index == 0:
            first = time.perf_counter() - start
        if step.index in OUR_STEPS:
            images = step.images
            spent += time.perf_counter() - start
            shots.append((step.index, spent, [yardstick(images[i], c) for i, c in enumerate(compared)]))
            start = time.perf_counter()
    result = run.result()
    spent += time.perf_counter() - start
    quality = [yardstick(result.images[i], c) for i, c in enumerate(compared)]
    shots.append((result.steps, spent, quality))
    return {
        "shots": shots, "pictures": result.images[:UNITS], "seconds": spent, "steps": result.steps, "first": first,
        "canvas": run.plan.shape[1], "activations": result.activations[:UNITS],
    }  # fmt: skip


def bare_step(net: nl.Network, layer: str, channels: list[int], canvas: int, count: int = 8) -> tuple[float, float]:
    """Seconds of one bare truncated forward and backward of a page, and of one step of ours: medians, taken in turns."""
    run = Run(net, [nl.Unit(layer, c) for c in channels], steps=10_000, seed=SEED)
    x = torch.rand(len(channels), *run.plan.shape)
    n, place = torch.arange(len(channels)), run.plan.centres[layer]
    bare, ours, steps = [], [], run.steps()
    for _ in range(3):
        next(steps)
    for _ in range(count):
        with net.evaluation(), torch.enable_grad():
            leaf = net.normalized(x).requires_grad_()
            start = time.perf_counter()
            from nn_lens.engine.network import capture

            maps = net[layer].layout.maps(capture.outputs(net.runner, leaf, [layer])[layer])
            torch.autograd.grad(maps[n, channels, place[0], place[1]].sum(), leaf)
            bare.append(time.perf_counter() - start)
        start = time.perf_counter()
        next(steps)
        ours.append(time.perf_counter() - start)
    return float(np.median(bare)), float(np.median(ours))


# ---- the comparison ----


def compare(net: nl.Network, name: str, layer: str, theirs: list[Any], ours: dict[str, Any], third: bool) -> list[Any]:
    rows = []
    for i, channel in enumerate(chosen(net, layer)[:UNITS]):
        shots = theirs[i]["shots"]
        final = shots[-1][2]
        alive = final > 0 and theirs[i]["picture"].std() > 0.01  # a grey picture, its noise enlarged, is no answer
        target = 0.95 * final
        reached = next((s for s in shots if s[2] >= target), shots[-1])
        own = next((s for s in ours["shots"] if s[2][i] >= target), None)
        quality = ours["shots"][-1][2][i]
        rows.append({
            "network": name, "layer": layer, "channel": channel, "canvas": ours["canvas"], "deep": third,
            "lucent": final, "ours": quality, "alive": bool(alive), "dead": bool(ours["activations"][i] <= 0),
            "ratio": quality / final if alive else None,
            "lucent_seconds": reached[1], "lucent_step": reached[0],
            "our_seconds": own[1] / PAGE if own else None, "our_step": own[0] if own else None,
            "faster": (reached[1] * PAGE / own[1] if own else 1.0) if alive else None,
        })  # fmt: skip
    return rows


def class_transfer(cache: dict[str, Any]) -> dict[str, Any]:
    """Class pictures made on SqueezeNet 1.1, scored by SqueezeNet 1.0."""
    net, judge = squeezenet(MATERIAL), squeezenet_1_0()
    classes = random.Random(SEED).sample(range(1000), CLASSES)
    if "classes" not in cache:
        from lucent.optvis import objectives

        cache["classes"] = [
            lucent_pictures(net.model, objectives.channel("labels", c), None, SEED + c, (512,))[0][2] for c in classes
        ]
    last = [x.name for x in net.layers if x.channels == 1000][-1]
    ours = nl.maximize(net, [nl.Unit(last, c) for c in classes], seed=SEED)

    def judged(pictures: Any) -> dict[str, float]:
        p = [torch.from_numpy(judge.scores(torch.from_numpy(np.ascontiguousarray(x)))).softmax(0) for x in pictures]
        ranks = [int((q > q[c]).sum()) for q, c in zip(p, classes, strict=True)]
        return {
            "top1": float(np.mean([r == 0 for r in ranks])), "top5": float(np.mean([r < 5 for r in ranks])),
            "probability": float(np.mean([float(q[c]) for q, c in zip(p, classes, strict=True)])),
        }  # fmt: skip

    return {
        "lucent": judged(cache["classes"]),
        "ours": judged(ours.images),
        "seconds": ours.seconds,
        "steps": ours.steps,
    }


def contact_sheet(pictures: dict[tuple[str, str], Any], path: Path) -> None:
    """48 pictures: a row per layer, ours and lucent's of each unit side by side, ours cut as lucent's are."""
    from matplotlib.figure import Figure

    wanted = [(name, NETWORKS[name][1][i]) for name in ("photos20", "squeezenet 1.1") for i in (1, 3, 4)]
    rows = [key for key in wanted if key in pictures]
    figure = Figure(figsize=(8 * 1.3, len(rows) * 1.45))
    for r, key in enumerate(rows):
        for i, (channel, ours, theirs) in enumerate(zip(*pictures[key], strict=True)):
            side = min(ours.shape[1], theirs.shape[1])
            low = (theirs.shape[1] - side) // 2
            both = (ours, theirs[:, low : low + side, low : low + side])
            for k, picture in enumerate(both):
                axes = figure.add_subplot(len(rows), 8, r * 8 + 2 * i + k + 1)
                axes.imshow(picture.transpose(1, 2, 0).clip(0, 1), interpolation="nearest")
                axes.set_title(f"{key[1]}:{channel} {'lucent' if k else 'nn-lens'}", fontsize=5.5, pad=2)
                axes.set_axis_off()
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.97, 0.05, 0.12)
    figure.savefig(path, dpi=150)


def contact_sheet_of(pictures: list[tuple[str, np.ndarray]], path: Path, across: int = 4) -> None:
    """Ours alone, with their units."""
    from matplotlib.figure import Figure

    down = -(-len(pictures) // across)
    figure = Figure(figsize=(across * 2.2, down * 2.4))
    for i, (name, picture) in enumerate(pictures):
        axes = figure.add_subplot(down, across, i + 1)
        axes.imshow(picture.transpose(1, 2, 0).clip(0, 1), interpolation="nearest")
        axes.set_title(name, fontsize=7)
        axes.set_axis_off()
    figure.savefig(path, dpi=100)


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((x.split(": ")[1] for x in lines if x.startswith("model name")), platform.processor())


def summary(rows: list[Any]) -> dict[str, Any]:
    both = [r for r in rows if r["alive"] and not r["dead"]]
    deep = [r for r in both if r["deep"]]
    return {
        "units": len(rows), "lucent_dead": sum(not r["alive"] for r in rows), "ours_dead": sum(r["dead"] for r in rows),
        "quality_median_ratio": float(np.median([r["ratio"] for r in both])),
        "quality_below": [f"{r['network']} {r['layer']}:{r['channel']} {r['ratio']:.2f}" for r in both if r["ratio"] < 1],
        "faster_geometric_mean": float(np.exp(np.mean([np.log(r["faster"]) for r in both]))),
        "deep_below_20": [f"{r['network']} {r['layer']}:{r['channel']} {r['faster']:.1f}" for r in deep if r["faster"] < 20],
        "deep_least": min((r["faster"] for r in deep), default=None),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--only", nargs="*", choices=[*NETWORKS, "classes"])
    parser.add_argument("--sheet", type=Path, help="a PNG of 48 pictures, ours beside lucent's")
    options = parser.parse_args()
    cache = pickle.loads(options.cache.read_bytes()) if options.cache and options.cache.exists() else {}

    before = bool(cache)

    def keep() -> None:
        if options.cache:
            options.cache.write_bytes(pickle.dumps(cache))

    rows, limits, pictures, warm = [], [], {}, False
    for name, (make, layers, size) in NETWORKS.items():
        if options.only and name not in options.only:
            continue
        net = make()
        for depth, layer in enumerate(layers):
            channels = chosen(net, layer)
            key = f"{name} {layer}"
            if key not in cache:
                if not warm:
                    from lucent.optvis import objectives

                    lucent_pictures(net.model, objectives.channel(layer.replace(".", "_"), 0), size, 0, (8,))
                    warm = True
                cache[key] = lucent_layer(net, layer, channels[:UNITS], size)
                keep()
            nl.maximize(net, [nl.Unit(layer, c) for c in channels], steps=2)  # warmed up, too
            ours = our_layer(net, layer, channels)
            bare, step = bare_step(net, layer, channels, ours["canvas"])
            limits.append({"network": name, "layer": layer, "canvas": ours["canvas"], "bare": bare, "ours": step})
            print(f"{key}: canvas {ours['canvas']}, {ours['steps']} steps in {ours['seconds']:.1f} s, "
                  f"step {step * 1e3:.1f} ms, {step / bare:.2f}x the bare one")  # fmt: skip
            pictures[name, layer] = channels[:UNITS], ours["pictures"], [x["picture"] for x in cache[key]]
            for row in compare(net, name, layer, cache[key], ours, depth >= len(layers) * 2 / 3 - 0.5):
                rows.append(row)
                ratio = f"{row['ratio']:.2f}" if row["alive"] else "lucent dead"
                faster = f"{row['faster']:.0f}x" if row["alive"] else "-"
                at = f"{row['our_seconds']:.3f} s (step {row['our_step']})" if row["our_step"] else "not reached"
                print(f"  {row['channel']:4d} quality {row['lucent']:8.2f} {row['ours']:8.2f} {ratio:>12s}"
                      f"   {row['lucent_seconds']:6.2f} s (step {row['lucent_step']})  {at}  {faster}", flush=True)  # fmt: skip
    report = {
        "lucent_from_a_run_before": before,
        "machine": f"{os.cpu_count()} cores of {processor()}",
        "torch": torch.__version__,
        "rows": rows,
        "limits": limits,
    }
    if rows:
        report["summary"] = summary(rows)
        print(json.dumps(report["summary"], indent=1))
    if options.sheet:
        contact_sheet(pictures, options.sheet)
    if not options.only or "classes" in options.only:
        report["class_transfer"] = class_transfer(cache)
        keep()
        print(json.dumps(report["class_transfer"], indent=1))
    if not options.only:
        (HERE / "maximize_vs_lucent.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
