"""The settings of JupyterLab's settings editor, as panels that are opened afterwards read them.

JupyterLab writes them to a file of the user's; a kernel on another machine reads the one there, if there is one.
An environment variable goes before the file, and what is passed to a function before both.
"""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from nn_lens.errors import nearest, quoted

COLOUR_MAPS = ("cividis", "viridis", "magma", "gray")
QUALITIES = ("full", "draft")
_PLUGIN = "nn-lens"
_LARGEST = 1 << 20  # bytes of a settings file
_TOKENS = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|,(?=(?:\s|//[^\n]*|/\*.*?\*/)*[}\]])', re.DOTALL)
_said: set[str] = set()


@dataclass(frozen=True)
class Settings:
    """What is in force. `sources`: where each is from, "default" if from nowhere; `problems`: what was not understood.

    `colour_map` of activation maps without negative values; `quality` "full" or "draft", of maximizing images; `cache_folder`
    "" for the user's cache folder; `cache_size` in MB; `threads` of a session, 0 for as many as there are processors;
    `snapshot`: whether notebooks keep a picture of panels; `side_panel` is JupyterLab's own.
    """

    colour_map: str = COLOUR_MAPS[0]
    quality: str = QUALITIES[0]
    cache_folder: str = ""
    cache_size: int = 512
    threads: int = 0
    snapshot: bool = True
    side_panel: bool = True
    sources: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def said(self) -> Iterator[str]:
        """Each setting in force, and where it is from."""
        for name in _KEYS:
            yield f"{name.replace('_', ' ')}: {getattr(self, name)!r} ({self.sources.get(name, 'default')})"


def read_settings() -> Settings:
    """The settings in force now. What is not understood is left out, and said once as a warning; nothing is raised."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    problems: list[str] = []
    for source, entries in _sources(problems):
        for name, value in entries.items():
            wrong = _CHECKS[name](value)
            if wrong:
                problems.append(f"{source}: {_KEYS[name]} {wrong}, and is {quoted(value)}; it is left out")
            else:
                values[name] = int(value) if _CHECKS[name] is _whole else value
                sources[name] = source
    for problem in problems:
        if problem not in _said:
            _said.add(problem)
            warnings.warn(f"nn-lens: {problem}.", stacklevel=2)
    return Settings(**values, sources=sources, problems=tuple(problems))


def _sources(problems: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where settings come from, the weakest first."""
    overrides = Path(sys.prefix) / "share/jupyter/lab/settings/overrides.json"
    of_plugins = _read(overrides, problems)
    for plugin, entries in of_plugins.items():
        if plugin.startswith(f"{_PLUGIN}:") and isinstance(entries, Mapping):
            yield str(overrides), _known(entries, str(overrides), problems)
    for file in _files():
        yield str(file), _known(_read(file, problems), str(file), problems)
    for name, variable in _VARIABLES.items():
        text = os.environ.get(variable)
        if text:
            yield f"${variable}", {name: _of_text(name, text)}


def _files() -> list[Path]:
    """The user's settings files of the extension's plugins."""
    from jupyter_core.paths import jupyter_config_dir

    given = os.environ.get("JUPYTERLAB_SETTINGS_DIR")
    folder = Path(given) if given else Path(jupyter_config_dir()) / "lab" / "user-settings"
    try:
        return sorted((folder / _PLUGIN).glob("*.jupyterlab-settings"))
    except OSError:
        return []


def _read(file: Path, problems: list[str]) -> Mapping[str, Any]:
    try:
        if not file.is_file():
            return {}
        if file.stat().st_size > _LARGEST:
            raise ValueError(f"larger than {_LARGEST >> 20} MB")
        content = json.loads(_plain(file.read_text(encoding="utf-8")) or "{}")
        if not isinstance(content, Mapping):
            raise ValueError("no object")
        return content
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"the settings in {file} cannot be read ({type(error).__name__}: {error}); they are left out")
        return {}


def _plain(text: str) -> str:
    """JSON without the comments and last commas that JupyterLab's files may have."""
    return _TOKENS.sub(lambda found: found[0] if found[0].startswith('"') else "", text).strip()


def _known(entries: Mapping[str, Any], source: str, problems: list[str]) -> dict[str, Any]:
    names = {key: name for name, key in _KEYS.items()}
    for key in entries:
        near = nearest(str(key), names, 1)
        if key not in names and near and near[0].lower() == str(key).lower():
            problems.append(f"{source}: there is no setting {quoted(key)}; it is called {near[0]}")
    return {names[key]: value for key, value in entries.items() if key in names}


def _of_text(name: str, text: str) -> Any:
    """The value that an environment variable's text means; the text itself where it means none."""
    if name == "snapshot":
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(text.lower(), text)
    if name in ("threads", "cache_size"):
        return int(text) if text.isdecimal() else text
    return text


def _one_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    return lambda value: "" if value in names else f"is one of {', '.join(names)}"


def _whole(value: Any) -> str:
    whole = (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    )
    fine = whole and 0 <= value < 1 << 31
    return "" if fine else "is a whole number from 0"


def _truth(value: Any) -> str:
    return "" if isinstance(value, bool) else "is true or false"


_CHECKS: dict[str, Callable[[Any], str]] = {
    "colour_map": _one_of(COLOUR_MAPS),
    "quality": _one_of(QUALITIES),
    "cache_folder": lambda value: "" if isinstance(value, str) and "\0" not in value else "is a folder",
    "cache_size": _whole,
    "threads": _whole,
    "snapshot": _truth,
    "side_panel": _truth,
}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


_KEYS = {f.name: _camel(f.name) for f in fields(Settings) if f.name in _CHECKS}
"""By name, what a setting is called in JupyterLab's files."""

_VARIABLES = {
    "colour_map": "NN_LENS_COLOUR_MAP", "quality": "NN_LENS_QUALITY", "cache_folder": "NN_LENS_CACHE",
    "cache_size": "NN_LENS_CACHE_SIZE", "threads": "NN_LENS_THREADS", "snapshot": "NN_LENS_SNAPSHOT",
}  # fmt: skip
