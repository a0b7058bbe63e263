"""nn-lens: what has my network learned, which features does it look for, and why?

Names load when they are first used (PEP 562): importing nn_lens loads no torch.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any


def _modules() -> dict[str, str]:
    """Where each public name is imported from, as __init__.pyi says."""
    stub = ast.parse(Path(__file__).with_name("__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom) and node.module]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


_MODULES = _modules()

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        # As the import statement does: an attribute of the module, or a module inside it.
        value = getattr(__import__(_MODULES[name], fromlist=[name]), name)
        globals()[name] = value
        return value
    if name == "__version__":
        from importlib import metadata

        return metadata.version("nn-lens")
    from nn_lens.errors import nearest

    near = nearest(name, __all__)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise AttributeError(f"nn_lens has no {name!r}{hint}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
