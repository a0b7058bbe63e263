"""What the machine has: processors, of which containers report the host's, and memory."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import threading
from pathlib import Path

import torch

NICE = 10  # of Unix, for the worker and the threads that it starts


def available() -> int:
    """Processors that this process may use: affinity, cut by the container's quota (cgroup 1 or 2)."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def use_threads(count: int = 0) -> None:
    """Has torch work with `count` threads; 0: with no more than there are processors, which would only make it slower."""
    if count or torch.get_num_threads() > available():
        torch.set_num_threads(count or available())


def give_way() -> None:
    """Lets the browser and the cells of the notebook go before the calling thread, where the system can."""
    with contextlib.suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Processors' worth of time granted, None if unlimited."""
    try:
        if (root / "cpu.max").exists():
            granted, period = (root / "cpu.max").read_text().split()
        else:
            granted = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        return None if granted in ("max", "-1") else int(granted) / int(period)
    except (OSError, ValueError):
        return None


def return_memory() -> None:
    """Gives freed memory back to the system: the allocator of Linux keeps what a worker's thread has used for the next."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
