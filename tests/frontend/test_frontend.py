"""The TypeScript unit tests, bundled by esbuild and run by Node's own test runner."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FRONTEND = HERE.parent.parent / "nn_lens" / "frontend"
ESBUILD = FRONTEND / "node_modules" / ".bin" / "esbuild"


def test_the_front_end_without_a_browser(tmp_path):
    node = shutil.which("node")
    if node is None or not ESBUILD.exists():
        assert not os.environ.get("CI"), "CI builds the front end, and has Node.js and esbuild"
        pytest.skip("needs Node.js and the front end's packages: npm ci in nn_lens/frontend")
    tests = sorted(HERE.glob("*.test.ts"))
    assert tests
    bundle = [ESBUILD, *tests, "--bundle", "--platform=node", "--format=esm", "--target=es2022", "--log-level=warning"]
    styles = ["--alias:panel.css=./style/panel.css", "--loader:.css=text"]
    files = ["--out-extension:.js=.mjs", f"--outdir={tmp_path}"]
    subprocess.run([*bundle, *styles, *files], cwd=FRONTEND, check=True)
    made = [tmp_path / f"{test.stem}.mjs" for test in tests]
    done = subprocess.run([node, "--test", *made], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "# pass 0\n" not in done.stdout
