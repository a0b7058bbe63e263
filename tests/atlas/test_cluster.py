"""A real Dask cluster, where it is installed (pip install "nn-lens[cluster]"): the same atlas, also when it is disturbed."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from atlases import ASKED, files, pictures
from models import small

import nn_lens as nl

distributed = pytest.importorskip("distributed", reason="Dask is not installed")
pytestmark = pytest.mark.usefixtures("_small_tasks")


@pytest.fixture
def client():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with distributed.Client(cluster) as client:
            yield client


def test_it_is_the_same_atlas(client, undisturbed, tmp_path):
    atlas = nl.sweep(small(), tmp_path / "atlas", dataset=pictures(), executor=client.get_executor(), **ASKED)
    assert atlas.missing == ()
    assert files(tmp_path / "atlas") == undisturbed


def at_the_fourth_write(monkeypatch, disturb):
    """Does something in the middle of a write."""
    writes, replace = [], os.replace

    def disturbed(*names):
        writes.append(names)
        if len(writes) == 4:
            disturb()
        replace(*names)

    monkeypatch.setattr("nn_lens.atlas.storage.os.replace", disturbed)


def test_a_worker_killed_during_a_write_loses_nothing(client, undisturbed, tmp_path, monkeypatch):
    at_the_fourth_write(monkeypatch, lambda: os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL))
    atlas = nl.sweep(small(), tmp_path / "atlas", dataset=pictures(), executor=client.get_executor(), **ASKED)
    assert atlas.missing == ()
    assert files(tmp_path / "atlas") == undisturbed


def test_a_restart_of_the_cluster_loses_nothing(client, undisturbed, tmp_path, monkeypatch):
    def restart():
        elsewhere = threading.Thread(target=client.restart)
        elsewhere.start()
        elsewhere.join()

    at_the_fourth_write(monkeypatch, restart)
    atlas = nl.sweep(small(), tmp_path / "atlas", dataset=pictures(), executor=client.get_executor(), **ASKED)
    if atlas.missing:  # what was lost three times; the same call goes on
        atlas = nl.sweep(small(), tmp_path / "atlas", dataset=pictures(), executor=client.get_executor(), **ASKED)
    assert atlas.missing == ()
    assert files(tmp_path / "atlas") == undisturbed
