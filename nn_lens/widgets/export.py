"""A panel as one HTML file: the same views on stored answers, with no kernel and no network."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image
from tqdm.auto import tqdm

from nn_lens.errors import LensError
from nn_lens.units import Unit
from nn_lens.widgets.frames import Message
from nn_lens.widgets.questions import Look, fields_of_layers
from nn_lens.widgets.table import TABLE, Kind

TRAITS = (
    "_kind", "_views", "_network", "_colours", "_samples", "_selection", "_picture", "_weights", "view", "_counterparts",
    "_compared", "slice",
)  # fmt: skip
"""The traits that a page takes over from its panel."""


@dataclass(frozen=True)
class State:
    """What a page takes from a panel, and from the one that it is compared with.

    `traits`: TRAITS by name. `answers`: all messages that answer a question, as of the conversation. `title`: of the page.
    """

    traits: Mapping[str, Any]
    look: Look
    answers: Callable[..., Iterator[Message]]
    title: str
    compared: State | None = None


def write(state: State, path: Path, layers: Sequence[str], views: str) -> None:
    """Writes all that the views may ask of `layers`, with the answers and `views`, the JavaScript that shows them.

    Raises:
        LensError: there are no layers, or the file cannot be written.
    """
    if not layers:
        raise LensError("to_html needs at least one layer; leave layers out for the selected one.")
    if not path.parent.is_dir():
        raise LensError(f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}.")
    page = Template(files("nn_lens.widgets").joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(state.title),
        holds=html.escape(_holds(state, layers)),
        data=_json(stored(state, layers, path.name)),
        views=_json(views),
    )
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise LensError(f"{str(path)!r} cannot be written: {error.strerror or error}.") from error


def _holds(state: State, layers: Sequence[str]) -> str:
    """What a page holds, in a sentence or two."""
    unit = state.look.unit if state.look.unit.layer in layers else Unit(layers[0], 0)
    named = f"layer {layers[0]}" if len(layers) == 1 else f"{len(layers)} layers, {', '.join(layers)}"
    picture = (state.traits.get("_picture") or {}).get("name")
    of = f" for the picture {picture}" if picture else ""
    return (
        f"This page holds {named}{of}, all units of each, and the evidence of {unit}. "
        f"It needs no kernel and no network; made with nn-lens {metadata.version('nn-lens')}."
    )


def stored(state: State, layers: Sequence[str], name: str) -> dict[str, Any]:
    """The data of a page: the traits, the answers, and those of the network that is compared; `name` is the page's."""
    look = state.look
    if look.unit.layer not in layers:
        look = replace(look, unit=Unit(layers[0], 0))
    asked = list(_questions(look, layers, state.traits["_views"]))
    steps = tqdm(asked, desc=name, unit=" views", leave=False, delay=1)
    data: dict[str, Any] = {
        "traits": _traits(state.traits, look, layers),
        "answers": [_answer(kind, fields, state.answers) for kind, fields in steps],
    }
    if state.compared is not None:
        theirs = dict.fromkeys(state.compared.traits["_counterparts"][layer] for layer in layers)
        data["compared"] = stored(state.compared, list(theirs), name)
    return data


def _questions(look: Look, layers: Sequence[str], views: Sequence[str]) -> Iterator[tuple[Kind, dict[str, Any]]]:
    """What the views can ask: of the layers all units, and of the evidence that of the selected unit."""
    kinds = [TABLE.kinds[kind.stored] if kind.stored else kind for kind in TABLE.needed(views)]
    for kind in dict.fromkeys(kinds):
        for fields in fields_of_layers(kind, look, layers):
            yield kind, fields


def _answer(kind: Kind, fields: dict[str, Any], answers: Callable[..., Iterator[Message]]) -> dict[str, Any]:
    """A question, with the messages that answer it or why there are none."""
    question = {"what": kind.name, **fields}
    try:
        messages = list(answers(**question))
    except LensError as error:
        return {"question": question, "error": str(error)}
    if not messages:
        return {"question": question, "error": "The model changed while this file was made."}
    kept = messages if kind.replies == "all" else messages[-1:]
    return {
        "question": question,
        "messages": [{"head": head, "buffers": [_text(b) for b in _smaller(head, buffers)]} for head, buffers in kept],
    }


def _traits(traits: Mapping[str, Any], look: Look, layers: Sequence[str]) -> dict[str, Any]:
    network, unit = traits["_network"], look.unit
    return {
        **_textual(traits),
        "_network": {**network, "model": "", "layers": [d for d in network["layers"] if d["name"] in layers]},
        "_samples": [{**sample, "data": {"bytes": ""}} for sample in traits["_samples"]],
        "_selection": look.geometry.selection(unit),
        "selected": [], "_stored": True, "step": None, "_steps": [],
    }  # fmt: skip


def _smaller(head: Mapping[str, Any], buffers: list[bytes]) -> list[bytes]:
    """Maximizing images as JPEG, which is a tenth of what is sent to a live panel; all else as it is."""
    if head["type"] not in ("page", "negative"):
        return buffers
    return [_jpeg(picture) for picture in buffers]


def _jpeg(picture: bytes) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").save(file, "JPEG", quality=88, optimize=True)
    return file.getvalue()


def _textual(value: Any) -> Any:
    """Values with {bytes: text} in place of their binary parts."""
    if isinstance(value, Mapping):
        return {name: _textual(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_textual(part) for part in value]
    return {"bytes": _text(value)} if isinstance(value, (bytes, memoryview)) else value


def _text(data: Any) -> str:
    return base64.b64encode(data).decode("ascii")


def _json(value: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
