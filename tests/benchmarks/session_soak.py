"""10,000 random events in the life of two sessions: what they take of memory, threads, hooks and handles stays flat.

    python tests/benchmarks/session_soak.py [--events 10000] [--seed 0]

A line for each 500 events. It ends with an error where a question has no end or two, an answer is not that of plain torch,
or the second half of the run has more threads, handles, hooks, widgets or modules than the first, or 10 % more memory.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ipywidgets
import torch
from events import Life

EVERY = 500
SETTLE = 50  # events between two looks at everything


def measured(life: Life) -> dict[str, int]:
    """What is taken now, with every panel and session at rest."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    modules = [o for o in gc.get_objects() if type(o) is torch.nn.Conv2d]
    return {
        "MB": pages * os.sysconf("SC_PAGE_SIZE") >> 20,
        "threads": threading.active_count(),
        "handles": len(os.listdir("/proc/self/fd")),
        "hooks": sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in life.net.model.modules()),
        "widgets": len(ipywidgets.widgets.widget._instances),
        "modules": len(modules),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    life, begun, seen = Life(options.seed), time.monotonic(), []
    for i in range(1, options.events + 1):
        life.happen()
        if i % SETTLE == 0:
            life.settle()
        if i % EVERY == 0:
            life.begin_anew()
            seen.append(measured(life))
            said = "  ".join(f"{name} {value}" for name, value in seen[-1].items())
            print(f"{i:6} events  {time.monotonic() - begun:6.0f} s  {said}", flush=True)
    life.end()
    print(life.counts)
    half = len(seen) // 2
    first, second = seen[1:half], seen[half:]  # what loads at first use is no growth
    grown = [
        name
        for name in seen[0]
        if first and max(s[name] for s in second) > max(s[name] for s in first) * (1.1 if name == "MB" else 1)
    ]
    print(f"grown: {', '.join(grown)}" if grown else "all flat")
    return len(grown)


if __name__ == "__main__":
    sys.exit(main())
