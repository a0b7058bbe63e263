"""The project itself: checkers, layering, imports, the README's quickstart."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FRONTEND = ROOT / "nn_lens" / "frontend"


def run(*command: str, folder: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def script(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, f'{name} is missing: pip install ".[test]"'
    return found


@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["lint-imports"]], ids=" ".join
)
def test_python_checkers(command):
    run(script(command[0]), *command[1:])


def test_frontend_checkers():
    npm = shutil.which("npm")
    if npm is None or not (FRONTEND / "node_modules").is_dir():
        pytest.skip("the front end was built elsewhere: npm or nn_lens/frontend/node_modules is missing")
    run(npm, "run", "--silent", "check", folder=FRONTEND)


def test_import_loads_no_torch():
    code = "import sys, nn_lens; dir(nn_lens); assert 'torch' not in sys.modules and 'ipywidgets' not in sys.modules"
    run(sys.executable, "-c", code)


def test_every_public_name_is_there():
    import nn_lens as nl

    for name in nl.__all__:
        assert getattr(nl, name).__doc__ or name == "IMAGENET", name
    with pytest.raises(AttributeError, match="maximize"):
        nl.maximise  # noqa: B018


def test_quickstart_of_the_readme(tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text()
    code = re.search(r"## Quickstart\n+```python\n(.*?)```", text, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert (tmp_path / "wanted.png").stat().st_size > 1000
    assert str(names["lens"].unit) == "relu3:1"
    names["lens"].close()


def test_tests_run_on_the_installed_package():
    """Not on a checkout that happens to be where the tests were started."""
    import nn_lens

    installed = importlib.metadata.distribution("nn-lens")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    editable = origin.get("dir_info", {}).get("editable", False)
    expected = ROOT / "nn_lens" if editable else Path(installed.locate_file("nn_lens"))
    package = Path(nn_lens.__file__).parent
    assert package.samefile(expected), f"start the tests with `pytest`: {package} is not {expected}"
    assert (package / "static" / "nn-lens.js").is_file()


@pytest.mark.parametrize("script", [".ci/run", "binder/postBuild"])
def test_shell_scripts_are_well_formed(script):
    run("bash", "-n", script)
    assert (ROOT / script).stat().st_mode & 0o111


def test_links_of_the_documents_lead_somewhere():
    for document in (
        ROOT / "README.md",
        *(ROOT / ".github").glob("*.md"),
        *(ROOT / "nn_lens" / "networks").glob("*.md"),
    ):
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            assert "://" in link or (document.parent / link).exists(), f"{document.name}: {link}"
