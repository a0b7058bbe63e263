"""Processors that a container really has."""

from __future__ import annotations

import pytest

from nn_lens.sessions import cpu


@pytest.mark.parametrize(
    ("text", "quota"), [("max 100000", None), ("100000 100000", 1.0), ("150000 100000", 1.5), ("nonsense", None)]
)
def test_quota_of_cgroup_2(tmp_path, text, quota):
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert cpu._quota(tmp_path) == quota


@pytest.mark.parametrize(("text", "quota"), [("-1", None), ("50000", 0.5)])
def test_quota_of_cgroup_1(tmp_path, text, quota):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(text)
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert cpu._quota(tmp_path) == quota


def test_there_is_at_least_one(tmp_path, monkeypatch):
    assert cpu._quota(tmp_path) is None
    monkeypatch.setattr(cpu, "_quota", lambda: 0.2)
    assert cpu.available() == 1
