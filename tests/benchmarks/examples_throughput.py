"""Dataset examples beside the bare forward loop: pictures a second, for all units of SqueezeNet 1.1's deepest layers.

    python tests/benchmarks/examples_throughput.py

needs the material; a minute or two on 2 fast cores. The bare loops read the same pictures from memory, in the same
batches, run the same truncated forward and throw the answers away: one as anybody writes it, one with the memory format
that nn-lens picks for itself. All are taken in turns, `ROUNDS` times; ratios are those of the medians.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
MATERIAL = Path(os.environ.get("NN_LENS_MATERIAL", HERE.parents[2] / "shared" / "material"))
sys.path[:0] = [str(HERE.parent)]

from models import squeezenet  # noqa: E402

import nn_lens as nl  # noqa: E402
from nn_lens.engine.network import capture  # noqa: E402
from nn_lens.engine.pictures.datasets import source_of  # noqa: E402

LAYERS = ["features.9", "features.10", "features.11", "features.12", "classifier.1"]
ROUNDS = 5


def bare(net: nl.Network, pictures: torch.Tensor, forward: Callable[[torch.Tensor], Any]) -> None:
    with net.evaluation(), torch.no_grad():
        for batch in source_of(net, pictures).batches(net.batch_size()):
            forward(batch.pictures)


def main() -> None:
    net = squeezenet(MATERIAL)
    files = sorted((MATERIAL / "imagenet100").glob("*.jpg"))
    pictures = torch.stack([net.picture(f) for f in files]).repeat(3, 1, 1, 1)
    # Copies of a picture tie with it: a little noise makes each its own.
    pictures = (pictures + 0.01 * torch.rand(pictures.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    units = sum(net[layer].channels for layer in LAYERS)
    ways = {
        "bare forward": lambda: bare(net, pictures, lambda x: capture.outputs(net.runner, net.normalized(x), LAYERS)),
        "bare forward, our memory format": lambda: bare(net, pictures, lambda x: net.outputs(x, LAYERS)),
        "dataset examples": lambda: nl.dataset_examples(net, LAYERS, pictures, progress=False),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(ROUNDS + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if round_:  # the first warms up
                rates[name].append(len(pictures) / (time.perf_counter() - start))
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, {len(pictures)} pictures, {units} units")
    ours = float(np.median(rates["dataset examples"]))
    for name, found in rates.items():
        print(f"{name}: {np.median(found):.1f} pictures/s, dataset examples at {ours / np.median(found):.2f} of it")
    print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB")


if __name__ == "__main__":
    main()
