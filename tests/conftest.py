"""What all tests share: the bundled network, small networks, and the material where it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MATERIAL = Path(os.environ.get("NN_LENS_MATERIAL", ROOT.parent / "shared" / "material"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Tests neither read nor fill the user's cache."""
    before = os.environ.get("NN_LENS_CACHE")
    os.environ["NN_LENS_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["NN_LENS_CACHE"]
    else:
        os.environ["NN_LENS_CACHE"] = before


@pytest.fixture(scope="session")
def material() -> Path:
    if not MATERIAL.is_dir():
        pytest.skip(f"the material is not at {MATERIAL}; set NN_LENS_MATERIAL")
    return MATERIAL


@pytest.fixture(scope="session")
def demo():
    import nn_lens as nl

    return nl.demo()
