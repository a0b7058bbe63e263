"""What the package imports is declared: nothing is there only because another package happens to bring it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

ROOT = Path(__file__).parent.parent
PARTS = {
    "fsspec": "torch",
    "traitlets": "ipywidgets",
    "IPython": "ipykernel",
    "jupyter_core": "jupyterlab",
    "jupyter_server": "jupyterlab",
}
"""Packages that are the interface of a declared one, which cannot be without them."""


def imported() -> set[str]:
    """The top-level packages that the package's files import, wherever in them; those of its builds apart."""
    names = set()
    for file in (ROOT / "nn_lens").rglob("*.py"):
        if "frontend" in file.relative_to(ROOT).parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"nn_lens"}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_import_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {plain(re.match(r"[\w.-]+", entry)[0]) for entry in project["dependencies"]}
    brings = packages_distributions()
    missing = {name for name in imported() if not declared & {plain(d) for d in brings.get(name, [name])}} - set(PARTS)
    assert not missing, f"not declared in pyproject.toml: {sorted(missing)}"
    assert "torch" in imported()
    for part, whole in PARTS.items():
        needed = {plain(re.match(r"[\w.-]+", entry)[0]) for entry in requires(whole)}
        assert plain(part) in needed, f"{whole} does not bring {part} any more"
        assert plain(whole) in declared
