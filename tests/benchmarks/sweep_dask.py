"""How far a sweep goes faster on two workers of a Dask cluster than on one, each of one thread.

Runs alternate after a warm-up, in which every worker reads the network; the medians are compared. The scheduler and the client
live in this process: their processor time is told, as it is taken from the workers where cores are few.

    pip install "nn-lens[cluster]" && python tests/benchmarks/sweep_dask.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import nn_lens as nl

WHAT = {"maximizing": ("maximizing",), "examples": ("examples",), "trust": ("trust",)}


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def one(
    net: nl.Network, executor: object, options: argparse.Namespace, units: list[str]
) -> tuple[float, float, dict[str, bytes]]:
    """Seconds, those of this process's processor, and the files."""
    with tempfile.TemporaryDirectory() as folder:
        begun, own = time.perf_counter(), time.process_time()
        atlas = nl.sweep(net, folder, None, units, None, WHAT[options.what], executor, progress=False)
        taken = time.perf_counter() - begun, time.process_time() - own
        assert not atlas.missing, atlas.missing
        return *taken, files(Path(folder))


def main() -> None:
    from distributed import Client, LocalCluster

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="photos")
    parser.add_argument("--layer", default="relu2")
    parser.add_argument("--units", type=int, default=96)
    parser.add_argument("--what", choices=WHAT, default="maximizing")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    net = nl.demo(options.network)
    units = [f"{options.layer}:{i}" for i in range(min(options.units, net[options.layer].channels))]
    seconds: dict[int, list[float]] = {1: [], 2: []}
    own: dict[int, list[float]] = {1: [], 2: []}
    made: list[dict[str, bytes]] = []
    for run in range(options.runs + 1):
        for workers in (1, 2) if run % 2 else (2, 1):
            with (
                LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
                Client(cluster) as client,
            ):
                client.wait_for_workers(workers)
                executor = client.get_executor()
                for _ in range(2):  # until each worker has read the network
                    one(net, executor, options, units[: 48 * workers])
                if run == 0 and options.runs > 1:
                    continue
                taken, process, found = one(net, executor, options, units)
                seconds[workers].append(taken)
                own[workers].append(process)
                made.append(found)
                print(f"{workers} workers: {taken:.1f} s, client and scheduler {process:.1f} s", flush=True)
    assert all(found == made[0] for found in made), "the atlases differ"
    one_, two = (statistics.median(seconds[n]) for n in (1, 2))
    print(
        f"{len(units)} units, {options.what}: median {one_:.1f} s on 1 worker, {two:.1f} s on 2: {one_ / two:.2f} times as fast"
    )
    print(
        f"client and scheduler took {statistics.median(own[2]) / (2 * two):.1%} of two cores; all atlases are equal, to the bit"
    )


if __name__ == "__main__":
    main()
