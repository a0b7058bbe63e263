"""What tests of atlases share: a dataset, a folder's files, and a small sweep that is disturbed in many ways."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from models import small

import nn_lens as nl
from nn_lens.atlas import crew, tasks

ASKED = {
    "layers": ["0", "3"], "units": ["0:1", "3:2", "3:5"], "what": ("filters", "maximizing", "examples"), "progress": False,
}  # fmt: skip


def pictures(count: int = 100) -> torch.Tensor:
    return torch.rand(count, 3, 20, 28, generator=torch.Generator().manual_seed(1))


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@contextlib.contextmanager
def small_tasks():
    """Tasks of one batch and two units, and one thread here, as the workers have."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "_RANGE", (32, 32))
        patch.setattr(tasks, "_PAGES", ((1 << 30, 2, 1),))
        patch.setattr(crew, "share", lambda *_: 1)
        yield
    torch.set_num_threads(before)


def undisturbed(folder: Path) -> dict[str, bytes]:
    """What `ASKED` comes to when nobody disturbs it."""
    with small_tasks(), ThreadPoolExecutor(1) as executor:
        atlas = nl.sweep(small(), folder, dataset=pictures(), executor=executor, **ASKED)
    assert atlas.missing == ()
    return files(folder)
