"""What a sweep of a network costs, of each `what`: processor seconds of one thread and bytes, from a few layers of it.

    python tests/benchmarks/sweep_rates.py resnet50 --layers 5 --pictures 1281167

Layers are taken evenly over the depth; each stands for those around it. Processor seconds count, so that what else runs on the
machine matters little. Pictures are noise: their content costs nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import nn_lens as nl
from nn_lens.atlas import examples, recipe, work
from nn_lens.atlas.storage import read_shard, write
from nn_lens.atlas.sweeping import request_of
from nn_lens.atlas.tasks import SAMPLE, Request, Task

ROOT = Path(__file__).parent.parent


def network(name: str, material: Path) -> nl.Network:
    if name == "photos":
        return nl.demo()
    import torchvision

    if name == "squeezenet":
        return nl.load(material / "models" / "squeezenet1_1_torchvision.safetensors", torchvision.models.squeezenet1_1)
    torch.manual_seed(0)
    return nl.Network(getattr(torchvision.models, name)(weights=None))


def timed(made: recipe.Recipe, task: Task) -> tuple[float, dict[str, bytes]]:
    begun = time.process_time()
    done = work.run(made, task)
    assert not done.reason, done.reason
    return time.process_time() - begun, done.files


def size(files: dict[str, bytes]) -> int:
    return sum(map(len, files.values()))


def of_pictures(request: Request, made: recipe.Recipe, folder: Path, layers: list[str]) -> float:
    """Seconds a picture; leaves the examples of some layers in the folder."""
    (task,) = request.ranges(request.layers)
    timed(made, task)
    seconds, files = timed(made, task)
    tensors, about = read_shard(files[".safetensors"])
    for layer in layers:
        own = examples.merged(request.net, layer, [tensors])
        merged = request.examples(layer)
        write(
            folder, merged.shard, work.files_of(merged, work.Result(own, {**about, "total": task.stop}))[".safetensors"]
        )
    return seconds / task.stop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="photos, squeezenet, or one of torchvision's, with random weights")
    parser.add_argument("--layers", type=int, default=4, help="that are measured")
    parser.add_argument("--sample", type=int, default=40, help="pictures that are measured")
    parser.add_argument("--pictures", type=int, default=1_281_167, help="of the dataset that is planned for")
    parser.add_argument("--no-trust", action="store_true")
    parser.add_argument("--material", type=Path, default=ROOT.parent.parent / "shared" / "material")
    options = parser.parse_args()
    torch.set_num_threads(1)
    net = network(options.network, options.material)
    shown = [layer for layer in net.layers if layer.reason is None]
    picked = [shown[int(i)] for i in np.linspace(0, len(shown) - 1, options.layers + 2)[1:-1].round()]
    units = sum(layer.channels for layer in shown)
    noise = torch.rand(options.sample, *net.input_shape)
    request = request_of(net, None, None, noise, ("filters", "maximizing", "examples", "trust"), False)
    rates: dict[str, list[float]] = {"maximizing": [], "trust": []}
    bytes_: dict[str, list[float]] = {"maximizing": [], "trust": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = recipe.written(net, request.source, folder / "recipe", folder, None)
        picture = of_pictures(request, made, folder, [layer.name for layer in picked])
        print(
            f"{len(shown)} layers, {units:,} units; {1000 * picture:.1f} ms a picture, all layers at once", flush=True
        )
        for layer in picked:
            # A page as a sweep has it: on small canvases units together are cheaper than alone.
            page = next(t.channels for t in request.of_layers() if (t.what, t.layer) == ("maximizing", layer.name))
            tasks = [request.task("maximizing", layer.name, channels=page)]
            if not options.no_trust:
                tasks.append(request.task("trust", layer.name, request.examples(layer.name).shard, channels=page[:1]))
            for task in tasks:
                seconds, files = timed(made, task)
                rates[task.what].append(seconds / len(task.channels))
                bytes_[task.what].append(size(files) / len(task.channels))
                print(f"{task}: {rates[task.what][-1]:.2f} s a unit, {bytes_[task.what][-1]:,.0f} bytes", flush=True)
    weights = sum(p.numel() for p in net.model.parameters()) * 4
    near = [min(range(len(picked)), key=lambda i: abs(shown.index(picked[i]) - k)) for k in range(len(shown))]
    sampled = min(SAMPLE, options.pictures)
    print("what        hours of one thread      gigabytes")
    print(f"filters     {0:19.2f} {weights / 1e9:14.3f}")
    each = 2 * 9 * (4 + 8 + 4 + 16) + sampled * (4 + 2)
    print(f"examples    {picture * options.pictures / 3600:19.2f} {units * each / 1e9:14.3f}")
    for what, own in rates.items():
        if own:
            hours = sum(layer.channels * own[i] for layer, i in zip(shown, near, strict=True)) / 3600
            held = sum(layer.channels * bytes_[what][i] for layer, i in zip(shown, near, strict=True)) / 1e9
            print(f"{what:12}{hours:19.2f} {held:14.3f}")


if __name__ == "__main__":
    main()
