"""The words of the panel, in one catalogue that the browser has too: strings.json. A language is another such file."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

STRINGS: dict[str, Any] = json.loads(files("nn_lens.widgets").joinpath("strings.json").read_text(encoding="utf-8"))
"""The catalogue: single texts, and by view ("about") what a card shows and how that was made."""
