"""`nn-lens sweep`: a sweep from the command line."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nn_lens.atlas.sweeping import sweep
from nn_lens.atlas.tasks import WHAT
from nn_lens.engine.network.network import Network
from nn_lens.errors import LensError
from nn_lens.networks import BUNDLED, demo
from nn_lens.networks.loading import load


def main(arguments: Sequence[str]) -> int:
    """Runs the command; 0 when nothing is missing, 1 when something is, or cannot be begun."""
    parser = argparse.ArgumentParser(
        "nn-lens sweep",
        description="Computes every unit of a network and keeps it in a folder: an atlas, which nl.Atlas(FOLDER) opens. The same "
        "command goes on where it was stopped.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help=f"a checkpoint file, as nl.load takes it; or module:name, a network, a model, or a function that makes one; or "
        f"{', '.join(BUNDLED)}, which are bundled",
    )
    parser.add_argument("--out", metavar="FOLDER", required=True, type=Path, help="the folder of the atlas")
    parser.add_argument("--like", metavar="MODULE:NAME", help="of a checkpoint: what makes the architecture")
    parser.add_argument("--layers", metavar="LAYER", nargs="+", help="default: all")
    parser.add_argument("--units", metavar="UNIT", nargs="+", help="such as features.3:12; default: all of the layers")
    parser.add_argument("--dataset", metavar="FOLDER", help="pictures; default: the network's own")
    parser.add_argument("--what", nargs="+", default=list(WHAT), choices=WHAT, help="default: all of it")
    parser.add_argument("--workers", metavar="N", type=int, help="processes; default: as many as processors")
    parser.add_argument("--pixels", action="store_true", help="keep the pictures among the examples too")
    parser.add_argument("--site", metavar="FOLDER", type=Path, help="also write a site, which any browser opens")
    options = parser.parse_args(list(arguments))
    if options.workers is not None and options.workers < 1:
        parser.error(f"there is at least 1 worker, not {options.workers}")
    try:
        atlas = sweep(
            network_of(options.source, options.like), options.out, options.layers, options.units, options.dataset, options.what,
            pixels=options.pixels, workers=options.workers,
        )  # fmt: skip
        if options.site is not None:
            atlas.to_site(options.site)
    except LensError as error:
        print(f"nn-lens: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("nn-lens: stopped; the same command goes on from here.", file=sys.stderr)
        return 130
    print(f"{atlas} in {options.out}")
    for missing in atlas.missing:
        print(f"missing: {missing!r}", file=sys.stderr)
    return int(bool(atlas.missing))


def network_of(source: str, like: str | None = None) -> Network:
    """The network that a text names.

    Raises:
        LensError: it names none.
    """
    if source in BUNDLED:
        return demo(source)
    module, colon, name = source.partition(":")
    if colon and not Path(source).exists() and len(module) > 1:  # a drive has one letter
        return _imported(module, name)
    return load(source, like)


def _imported(module: str, name: str) -> Network:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)  # also of the workers
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise LensError(f"{module}:{name} cannot be imported from {here!r} ({error}).") from error
    if (not isinstance(found, Network) and callable(found) and not hasattr(found, "named_modules")) or isinstance(
        found, type
    ):
        found = found()
    return found if isinstance(found, Network) else Network(found)
