"""The sweep that is disturbed, once as it is when it is not."""

from __future__ import annotations

import atlases
import pytest


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    return atlases.undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def _small_tasks():
    with atlases.small_tasks():
        yield
