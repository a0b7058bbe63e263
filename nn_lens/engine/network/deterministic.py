"""The same bits from the same call, on a GPU too, where torch's fastest kernels add up in any order."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.utils.deterministic

_lock = threading.Lock()
_inside = 0  # of all threads: what torch is told holds for the process
_undo = ExitStack()


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """On a GPU, torch takes deterministic kernels where it has any; on other devices nothing is changed, as all are."""
    if device.type != "cuda":
        yield
        return
    global _inside
    with _lock:
        if not _inside:
            _undo.enter_context(_told())
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _undo.close()


@contextmanager
def _told() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    told: Any = torch.utils.deterministic
    filling, benchmark = told.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    with warnings.catch_warnings():
        # A model may need a kernel that there is no deterministic one for: then its images are not the same every time.
        warnings.filterwarnings("ignore", ".*deterministic", UserWarning)
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            told.fill_uninitialized_memory = False  # it would cost time and tell nothing
            torch.backends.cudnn.benchmark = False
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            told.fill_uninitialized_memory = filling
            torch.backends.cudnn.benchmark = benchmark
