"""The TypeScript unit tests, bundled by esbuild and run by Node's own test runner."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FRONTEND = HERE.parent.parent / "nn_lens" / "frontend"
ESBUILD = FRONTEND / "node_modules" / ".bin" / "esbuild"


@pytest.fixture
def node() -> str:
    found = shutil.which("node")
    if found is None or not ESBUILD.exists():
        assert not os.environ.get("CI"), "CI builds the front end, and has Node.js and esbuild"
        pytest.skip("needs Node.js and the front end's packages: npm ci in nn_lens/frontend")
    return found


def test_the_front_end_without_a_browser(tmp_path, node):
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


def _literals(node: str, *sources: Path) -> list[str]:
    """What these files say that is not in the catalogue; without files, of all of the panel, with what nothing says."""
    files = [file for file in (FRONTEND / "src").rglob("*.ts") if not file.name.endswith(".d.ts")]
    panel = sorted(file for file in files if "jupyterlab" not in file.parts)
    command = [node, HERE / "literals.mjs", FRONTEND, *(sources or panel)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()


def test_whatever_the_panel_says_stands_in_the_catalogue(node):
    assert not list(filter(None, _literals(node)))


def test_whatever_the_extension_says_goes_through_the_translator(node):
    """But for what JupyterLab shows of plugins as they write it, names for its shell, and Python."""
    extension = sorted((FRONTEND / "src" / "jupyterlab").rglob("*.ts"))
    described = {text for file in extension for text in re.findall(r'description:\s+"([^"]+)"', file.read_text())}
    found = [line.split(": ", 1)[1] for line in _literals(node, *extension) if ".ts:" in line]
    assert len(described) == 6
    assert described <= set(found)
    words = [text for text in found if re.search(r"\s|^[A-Z][a-z]", text) and text not in described]
    assert set(words) == {"import nn_lens as nl", "%pip install nn-lens", "Notebook"}


def test_a_text_beside_the_catalogue_is_found(tmp_path, node):
    """In each of the places where texts stand; names for the browser, keys and code are none."""
    source = tmp_path / "planted.ts"
    source.write_text(PLANTED.format(src=FRONTEND / "src"))
    found = [line.split(": ", 1)[1] for line in _literals(node, source) if "strings.json" not in line]
    assert found == ["a child", "a title", "in ", " pieces", "one", "another", "said", "unit has no {name}"]


PLANTED = """
import {{ el, say }} from "{src}/drawing/dom";
import {{ phrase }} from "{src}/panel/words";
export function draw(count: number): HTMLElement {{
  const mode: "map" | "layer" = count ? "map" : "layer";
  const node = el("p", {{ class: "note above", "data-mode": mode }}, "a child", phrase("stop"));
  node.title = "a title";
  node.addEventListener("click", () => say(node, `in ${{count}} pieces`));
  node.style.background = "linear-gradient(90deg, red, blue)";
  const either = count === 1 ? "one" : "another";
  node.setAttribute("aria-label", either);
  say(node, "said");
  node.append(phrase("unit"));
  return node;
}}
"""
