"""A panel as one HTML file: the same views on stored answers, with no kernel and no network."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from tqdm.auto import tqdm

from nn_lens.errors import LensError
from nn_lens.sessions.requests import PAGE

if TYPE_CHECKING:
    from nn_lens.widgets.panel import Panel

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ --jp-ui-font-color1: #222; --jp-layout-color1: #fff; }}
@media (prefers-color-scheme: dark) {{
  :root {{
    --jp-ui-font-color1: #e4e4e4; --jp-ui-font-color2: #aaa; --jp-layout-color1: #1b1b1b; --jp-layout-color2: #2c2c2c;
    --jp-border-color1: #555; --jp-brand-color1: #5aa9f5; --jp-error-color1: #ff8a80;
  }}
}}
body {{ margin: 0 auto; max-width: 1200px; background: var(--jp-layout-color1); color: var(--jp-ui-font-color1); }}
</style>
<div id="panel"></div>
<script type="application/json" id="stored">{data}</script>
<script type="application/json" id="views">{views}</script>
<script type="module">
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const url = URL.createObjectURL(new Blob([read("views")], {{ type: "text/javascript" }}));
const {{ stored }} = await import(url);
URL.revokeObjectURL(url);
stored(document.getElementById("panel"), read("stored"));
</script>
</html>
"""


def write(panel: Panel, path: Path, layers: list[str]) -> None:
    """Asks all that the views may ask for `layers` with the panel's picture, and writes the answers beside the views."""
    if not layers:
        raise LensError("to_html needs at least one layer; leave layers out for the selected one.")
    if not path.parent.is_dir():
        raise LensError(f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}.")
    data = _stored(panel, layers, path.name)
    step = "" if panel.step is None else f", step {panel.step}"
    page = _PAGE.format(
        title=html.escape(f"nn-lens: {panel.session.net.name}, {', '.join(layers)}{step}"),
        data=_json(data),
        views=_json(panel._esm),
    )
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise LensError(f"{str(path)!r} cannot be written: {error.strerror or error}.") from error


def _stored(panel: Panel, layers: list[str], title: str) -> dict[str, Any]:
    """The traits and answers of a panel, and of that beside it."""
    net = panel.session.net
    names = [net[name].name for name in layers]
    chosen = panel.unit if panel.unit.layer in names else None
    questions = list(_questions(panel, names))
    answers = []
    for question in tqdm(questions, desc=title, unit=" views", leave=False, delay=1):
        try:
            found = list(panel.answers(**question))
        except LensError as error:
            answers.append({"question": question, "error": str(error)})
            continue
        if not found:
            answers.append({"question": question, "error": "The model changed while this file was made."})
            continue
        if question["what"] in ("page", "negative"):
            found = [_smaller(*found[-1])]
        elif question["what"] not in ("attribution", "ablation"):
            found = found[-1:]  # those on the way are of no use
        stored = [{"head": head, "buffers": [_text(b) for b in buffers]} for head, buffers in found]
        answers.append({"question": question, "messages": stored})
    described = [d for d in panel._network["layers"] if d["name"] in names]
    selection = panel._selection if chosen else {"layer": names[0], "channel": 0, "row": None, "column": None}
    picture = panel._picture and {**panel._picture, "data": {"bytes": _text(panel._picture["data"])}}
    traits = {
        "_kind": panel._kind, "_views": panel._views, "_network": {**panel._network, "layers": described},
        "_colours": {name: {"bytes": _text(table)} for name, table in panel._colours.items()}, "_samples": [],
        "_selection": selection, "_picture": picture, "_weights": panel._weights, "view": panel.view, "selected": [], "_stored": True,
        "step": None, "_steps": [], "_follows": panel._follows,
    }  # fmt: skip
    data = {"traits": traits, "answers": answers}
    if panel.compared is not None:
        theirs = dict.fromkeys(panel.compared._follows[name] for name in names)
        data["beside"] = _stored(panel.compared, list(theirs), title)
    return data


def _questions(panel: Panel, layers: list[str]) -> Iterator[dict[str, Any]]:
    """As store.ts asks them, for every unit of the layers; evidence for the selected unit."""
    net, views = panel.session.net, set(panel.VIEWS)
    picture = {"picture": panel._picture["key"]} if panel._picture else None
    drawn = len(net.input_shape) == 3
    if picture and "picture" in views:
        yield {"what": "scores", **picture}
    for layer in layers:
        channels = net[layer].channels
        described = next(d for d in panel._network["layers"] if d["name"] == layer)
        height, width = described["grid"]
        if picture and views & {"activations", "picture", "unit"}:
            yield from _parts("maps", layer, channels, height * width, picture)
        if described["filter"] and views & {"filters", "unit"}:
            planes, rows, columns = described["filter"]
            yield from _parts("filters", layer, channels, planes * rows * columns, {})
        elif "filters" in views:
            yield {"what": "filters", "layer": layer, "channel": 0}  # says where there are some
        if drawn:
            yield {"what": "field", "layer": layer}
        if drawn and views & {"maximization", "unit", "examples"}:
            for start in range(0, channels, PAGE):
                yield {"what": "page", "layer": layer, "channels": list(range(start, min(start + PAGE, channels)))}
    unit = panel.unit
    if unit.layer not in layers:
        return
    of = {"layer": unit.layer, "channel": unit.channel}
    if drawn and "unit" in views:
        yield {"what": "negative", **of}
    for what in ("examples", "trust", "incoming", "directions"):
        if what in views or (what == "trust" and "examples" in views):
            yield {"what": what, **of}
    if "embedding" in views:
        yield {"what": "embedding", "layer": unit.layer}
    if picture and drawn and "blocks" in views:
        yield {"what": "blocks", "layer": unit.layer, **picture}
    if picture and "attribution" in views:
        yield {"what": "attribution", **of, **picture, "target": 0}
    if picture and "ablation" in views:
        yield {"what": "ablation", **of, **picture, "scale": 0}


def _parts(what: str, layer: str, channels: int, size: int, more: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A question for each part in which a layer's tiles are sent."""
    most = max(1, (4 << 20) // max(1, size))
    for start in range(0, channels, most):
        yield {"what": what, "layer": layer, "channel": start, **more}


def _smaller(head: dict[str, Any], buffers: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """A page of pictures as JPEG, which is a tenth of what is sent to a live panel."""
    file = io.BytesIO()
    Image.open(io.BytesIO(buffers[0])).convert("RGB").save(file, "JPEG", quality=88, optimize=True)
    return head, [file.getvalue()]


def _text(data: Any) -> str:
    return base64.b64encode(data).decode("ascii")


def _json(value: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
