"""What all tests share: the bundled network, small networks, and the material where it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MATERIAL = Path(os.environ.get("NN_LENS_MATERIAL", ROOT.parent / "shared" / "material"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache_and_settings(tmp_path_factory):
    """Tests neither read nor fill the user's cache, and do not read the user's settings of JupyterLab."""
    own = {
        "NN_LENS_CACHE": str(tmp_path_factory.mktemp("cache")),
        "JUPYTER_CONFIG_DIR": str(tmp_path_factory.mktemp("jupyter")),
    }
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def material() -> Path:
    if not MATERIAL.is_dir():
        pytest.skip(f"the material is not at {MATERIAL}; set NN_LENS_MATERIAL")
    return MATERIAL


@pytest.fixture(scope="session")
def demo():
    import nn_lens as nl

    return nl.demo()
