"""Dataset examples beside the bare forward loop: pictures a second, for all units of SqueezeNet 1.1's deepest layers.

    python tests/benchmarks/examples_throughput.py

needs the material; a minute or two on 2 fast cores. The bare loop reads the same pictures from memory, in the same
batches, runs the same truncated forward and throws the answers away. Both are taken in turns, `ROUNDS` times; the ratio
is that of the medians.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
MATERIAL = Path(os.environ.get("NN_LENS_MATERIAL", HERE.parents[2] / "shared" / "material"))
sys.path[:0] = [str(HERE.parent)]

from models import squeezenet  # noqa: E402

import nn_lens as nl  # noqa: E402
from nn_lens.engine.datasets import source_of  # noqa: E402
from nn_lens.engine.examples import _batch_size  # noqa: E402

LAYERS = ["features.9", "features.10", "features.11", "features.12", "classifier.1"]
ROUNDS = 5


def main() -> None:
    net = squeezenet(MATERIAL)
    files = sorted((MATERIAL / "imagenet100").glob("*.jpg"))
    pictures = torch.stack([net.picture(f) for f in files]).repeat(3, 1, 1, 1)
    # Copies of a picture tie with it: a little noise makes each its own.
    pictures = (pictures + 0.01 * torch.rand(pictures.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    units = sum(net[layer].channels for layer in LAYERS)
    bare, ours = [], []
    for round_ in range(ROUNDS + 1):
        start = time.perf_counter()
        with net.evaluation(), torch.no_grad():
            for batch in source_of(net, pictures).batches(_batch_size(net)):
                net.outputs(batch.pictures, LAYERS)
        middle = time.perf_counter()
        found = nl.dataset_examples(net, LAYERS, pictures, progress=False)
        end = time.perf_counter()
        if round_:  # the first warms up
            bare.append(len(pictures) / (middle - start))
            ours.append(len(pictures) / (end - middle))
    assert found.count == len(pictures)
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, {len(pictures)} pictures, {units} units")
    print(f"bare forward {np.median(bare):.1f} pictures/s, dataset examples {np.median(ours):.1f}")
    print(
        f"ratio {np.median(ours) / np.median(bare):.3f} (rounds {', '.join(f'{a / b:.2f}' for a, b in zip(ours, bare, strict=True))})"
    )
    print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB")


if __name__ == "__main__":
    main()
