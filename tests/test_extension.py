"""What the extension's schemas say, against what reads them: the settings of Python, the commands of the TypeScript."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from nn_lens.sessions import settings

FRONTEND = Path(__file__).parent.parent / "nn_lens" / "frontend"
SCHEMAS = {file.stem: json.loads(file.read_text()) for file in (FRONTEND / "schema").glob("*.json")}
SOURCE = "\n".join(file.read_text() for file in (FRONTEND / "src" / "jupyterlab").glob("*.ts"))


def camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def test_the_settings_editor_offers_what_python_reads():
    offered = SCHEMAS["commands"]["properties"]
    own = {camel(f.name): f.default for f in fields(settings.Settings) if f.name not in ("sources", "problems")}
    assert {name: of["default"] for name, of in offered.items()} == own
    assert tuple(offered["colourMap"]["enum"]) == settings.COLOUR_MAPS
    assert tuple(offered["quality"]["enum"]) == settings.QUALITIES
    kinds = {str: "string", int: "integer", bool: "boolean"}
    assert {name: of["type"] for name, of in offered.items()} == {n: kinds[type(d)] for n, d in own.items()}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_of_a_plugin_and_says_what_it_is(name):
    assert f'id: "nn-lens:{name}"' in SOURCE, "JupyterLab loads a schema with the plugin of its name"
    schema = SCHEMAS[name]
    assert {"title", "description", "properties", "type"} <= set(schema)
    assert all({"title", "description", "default"} <= set(of) for of in schema["properties"].values())


def test_menus_and_keys_name_commands_that_there_are():
    text = json.dumps(SCHEMAS)
    named = set(re.findall(r'"command": "(nn-lens:[\w-]+)"', text))
    there = set(re.findall(r'"(nn-lens:[\w-]+)"', SOURCE))
    assert len(named) >= 9
    assert named <= there
    keys = [" ".join(each["keys"]) for schema in SCHEMAS.values() for each in schema.get("jupyter.lab.shortcuts", [])]
    assert len(keys) == len(set(keys)) == 3


def test_the_server_extension_is_imported_at_once():
    """It holds up the start of everybody's server; the best of three, since the machine may be busy."""
    code = "import time, typing, ast, pathlib; began = time.perf_counter(); import nn_lens.server; print(time.perf_counter() - began)"
    took = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) for _ in range(3)
    ]
    assert min(took) < 0.03, took
