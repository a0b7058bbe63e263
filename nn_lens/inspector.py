"""What JupyterLab's side panel asks a kernel: which networks there are under the user's names, and of what layers.

The question is one silent expression, that calls `look` in the user's namespace. It must leave nothing behind: no name, no
history, no counter. So it imports nothing that is not there, never runs what belongs to the user (no `repr`, no property,
no method of an object), reads shapes and never numbers, and stops after so many names and milliseconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

NAMES, ATTRIBUTES, LAYERS = 500, 100, 4000
"""How many names are looked at, attributes of an object, and layers listed of all networks together."""
SECONDS = 0.05
TEXT = 200
"""Letters of a name that are told."""
_FLAGS: Any = type.__dict__["__flags__"]
_HEAP = 1 << 9
_OWN = {"In", "Out", "exit", "quit", "get_ipython", "open"}


class Seen:
    """An answer, which a kernel passes on as JSON."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"application/json": self.content, "text/plain": "nn-lens"}


def look(names: Mapping[str, Any] | None = None) -> Seen:
    """The networks under the user's names, also one attribute deep; `names`: None for those of the caller.

    The answer: `nets`, a list of `{name, kind, of (what panels call the network), model (which torch module, as its `id`),
    parameters, device, training, layers}`, where kind is "module", "network" or "session", and a layer `[name, class, shape
    of its weight, parameters]`; `whole`: whether all was looked at; `alias`:
    what nn_lens is called there, "" if nothing; `problem`: what went wrong, if something did.
    """
    if names is None:
        names = sys._getframe(1).f_globals
    try:
        return Seen(_seen(names, time.perf_counter() + SECONDS))
    except Exception as error:  # raised in the kernel it would take the place of the user's own last error
        return Seen({"nets": [], "whole": False, "alias": "", "problem": type(error).__name__})


def _seen(names: Mapping[str, Any], end: float) -> dict[str, Any]:
    content: dict[str, Any] = {"nets": [], "whole": True, "alias": ""}
    known = _classes()
    pairs = _public(names, end - SECONDS / 2)
    content["whole"] = len(pairs) <= NAMES and time.perf_counter() < end - SECONDS / 2
    content["alias"] = next((name for name, value in pairs if value is sys.modules.get("nn_lens")), "")
    room = LAYERS
    seen: set[int] = set()
    for name, value in _deep(pairs[:NAMES], known, end):
        if time.perf_counter() > end or room <= 0:
            content["whole"] = False
            break
        kind, module = _module_of(value, known)
        if module is None or ("." in name and id(module) in seen):
            continue
        seen.add(id(module))
        entry = _described(name, _name_of(value, kind, module), kind, module, known, room, end)
        room -= len(entry["layers"])
        content["whole"] &= entry.pop("whole")
        content["nets"].append(entry)
    return content


def _classes() -> dict[str, type]:
    """The classes that are looked for, of modules that are loaded; a module may be half-way through its import."""
    found: dict[str, type] = {}
    for kind, module, name in (
        ("module", "torch.nn", "Module"),
        ("network", "nn_lens.engine.network.network", "Network"),
        ("session", "nn_lens.sessions.session", "Session"),
    ):
        value = getattr(sys.modules.get(module), name, None)
        if isinstance(value, type):
            found[kind] = value
    return found


def _public(names: Mapping[str, Any], end: float) -> list[tuple[str, Any]]:
    """The names without an underscore of what classes written in Python have made, and of modules; one more than NAMES at most."""
    found: list[tuple[str, Any]] = []
    for i, (name, value) in enumerate(_items(names)):
        if i % 256 == 255 and time.perf_counter() > end:
            break
        if not issubclass(type(name), str) or name[:1] == "_" or name in _OWN or not _of_python(type(value)):
            continue
        found.append((name, value))
        if len(found) > NAMES:
            break
    return found


def _items(names: Mapping[str, Any]) -> list[tuple[str, Any]]:
    # A cell that runs beside this may add a name meanwhile.
    for _ in range(3):
        try:
            return list(names.items())
        except RuntimeError:
            continue
    return []


def _of_python(class_: type) -> bool:
    """Whether a class is no builtin one, such as those of numbers and texts, without asking the class's own class."""
    return class_ is type(sys) or bool(_FLAGS.__get__(class_) & _HEAP)


def _deep(pairs: list[tuple[str, Any]], known: Mapping[str, type], end: float) -> Iterator[tuple[str, Any]]:
    """The values and then, of those that are nothing known, their own attributes."""
    yield from pairs
    for name, value in pairs:
        attributes = _attributes(value)
        if (
            attributes is None
            or type(value) is type(sys)
            or issubclass(type(value), type)
            or _module_of(value, known)[0]
        ):
            continue
        yield from ((f"{name}.{n}", v) for n, v in _public(attributes, end)[:ATTRIBUTES] if n.isidentifier())


def _attributes(value: Any) -> dict[str, Any] | None:
    """An object's own attributes, whatever its class says of them."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except Exception:
        return None
    return found if type(found) is dict else None


def _module_of(value: Any, known: Mapping[str, type]) -> tuple[str, Any]:
    """What a value is, and the torch module that it holds, None where it holds none. `isinstance` would ask proxies."""
    kind = next((kind for kind, class_ in known.items() if issubclass(type(value), class_)), "")
    if kind in ("", "module"):
        return kind, value if kind else None
    try:
        return kind, (value if kind == "network" else value.net).model
    except AttributeError:  # one that is half made
        return kind, None


def _name_of(value: Any, kind: str, module: Any) -> str:
    """What panels call the network."""
    if kind == "module":
        return type(module).__name__[:TEXT]
    return str((value if kind == "network" else value.net).name)[:TEXT]


def _described(
    name: str, of: str, kind: str, module: Any, known: Mapping[str, type], room: int, end: float
) -> dict[str, Any]:
    layers: list[list[Any]] = []
    devices: list[str] = []
    counted: set[int] = set()
    total, whole = 0, True
    for path, each in _modules(module, known["module"]):
        if len(layers) >= room or time.perf_counter() > end:
            whole = False
            break
        own = 0
        for parameter in list((_attributes(each) or {}).get("_parameters", {}).values()):
            if parameter is None or id(parameter) in counted:
                continue
            counted.add(id(parameter))
            own += _size(parameter)
            device = _device(parameter)
            if device and device not in devices:
                devices.append(device)
        total += own
        if path:
            layers.append([path[:TEXT], type(each).__name__[:TEXT], _shape(each), own])
    return {
        "name": name[:TEXT], "kind": kind, "of": of, "model": str(id(module)), "parameters": total, "device": ", ".join(devices[:4]),
        "training": bool((_attributes(module) or {}).get("training")), "layers": layers, "whole": whole,
    }  # fmt: skip


def _modules(root: Any, class_: type) -> Iterator[tuple[str, Any]]:
    """A module and all inside of it, in their order, each once, with their dotted names."""
    seen: set[int] = set()
    waiting = [("", root)]
    while waiting:
        path, module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield path, module
        children = (_attributes(module) or {}).get("_modules", {})
        inside = [(f"{path}.{n}" if path else str(n), m) for n, m in list(children.items())]
        waiting += [(p, m) for p, m in reversed(inside) if issubclass(type(m), class_)]


def _shape(module: Any) -> list[int]:
    """The shape of a layer's weight, [] where it has none or it is not known yet."""
    weight = (_attributes(module) or {}).get("_parameters", {}).get("weight")
    try:
        return [int(n) for n in weight.shape] if weight is not None else []
    except Exception:
        return []


def _size(parameter: Any) -> int:
    try:
        return int(parameter.numel())
    except Exception:  # a lazy layer's, whose shape is not known before it has run
        return 0


def _device(parameter: Any) -> str:
    try:
        return str(parameter.device)[:TEXT]
    except Exception:
        return ""
