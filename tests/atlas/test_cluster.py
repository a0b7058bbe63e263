"""A real Dask cluster, where it is installed (pip install "nn-lens[cluster]"): the same atlas, also when it is disturbed."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from models import small

import nn_lens as nl
from nn_lens.atlas import crew, tasks

distributed = pytest.importorskip("distributed", reason="Dask is not installed")
ASKED = {
    "layers": ["0", "3"],
    "units": ["0:1", "3:2", "3:5"],
    "what": ("filters", "maximizing", "examples"),
    "progress": False,
}


def pictures() -> torch.Tensor:
    return torch.rand(100, 3, 20, 28, generator=torch.Generator().manual_seed(1))


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.fixture(scope="module", autouse=True)
def _small_tasks():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "_RANGE", (32, 32))
        patch.setattr(tasks, "_PAGES", ((1 << 30, 2, 1),))
        patch.setattr(crew, "share", lambda *_: 1)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with ThreadPoolExecutor(1) as executor:
        nl.sweep(small(), folder, dataset=pictures(), executor=executor, **ASKED)
    return files(folder)


@pytest.fixture
def client():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with distributed.Client(cluster) as client:
            yield client


def test_it_is_the_same_atlas(client, undisturbed, tmp_path):
    atlas = nl.sweep(small(), tmp_path / "atlas", dataset=pictures(), executor=client.get_executor(), **ASKED)
    assert atlas.missing == ()
    assert files(tmp_path / "atlas") == undisturbed


def test_a_worker_killed_during_a_write_loses_nothing(client, undisturbed, tmp_path, monkeypatch):
    writes, replace = 0, os.replace

    def killing(*names):
        nonlocal writes
        writes += 1
        if writes == 4:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        replace(*names)

    monkeypatch.setattr("nn_lens.atlas.storage.os.replace", killing)
    atlas = nl.sweep(small(), tmp_path / "atlas", dataset=pictures(), executor=client.get_executor(), **ASKED)
    assert atlas.missing == ()
    assert files(tmp_path / "atlas") == undisturbed


def test_a_restart_of_the_cluster_loses_nothing(client, undisturbed, tmp_path, monkeypatch):
    writes, replace = 0, os.replace

    def restarting(*names):
        nonlocal writes
        writes += 1
        if writes == 4:
            restart = threading.Thread(target=client.restart)
            restart.start()
            restart.join()
        replace(*names)

    monkeypatch.setattr("nn_lens.atlas.storage.os.replace", restarting)
    atlas = nl.sweep(small(), tmp_path / "atlas", dataset=pictures(), executor=client.get_executor(), **ASKED)
    if atlas.missing:  # what was lost three times; the same call goes on
        atlas = nl.sweep(small(), tmp_path / "atlas", dataset=pictures(), executor=client.get_executor(), **ASKED)
    assert atlas.missing == ()
    assert files(tmp_path / "atlas") == undisturbed
