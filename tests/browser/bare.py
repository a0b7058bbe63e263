"""A page with anywidget's host protocol and nothing else, which is all that VS Code and Colab promise a widget.

The widget lives in the test's own process: no Jupyter, no kernel. The page asks for messages as a host would push them.
"""

from __future__ import annotations

import base64
import json
import queue
from typing import Any

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>bare host</title>
<style>body { margin: 0; background: var(--jp-layout-color1, #fff); }</style><main id="output"></main></html>"""

DARK = """:root { --jp-ui-font-color1: #fff; --jp-ui-font-color2: rgba(255,255,255,.7); --jp-layout-color1: #111;
--jp-layout-color2: #424242; --jp-border-color1: #616161; --jp-brand-color1: #2196f3; --jp-error-color1: #ef5350; }"""

HOST = """async (code) => {
  const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const text = (buffer) => {
    const data = new Uint8Array(buffer.buffer ?? buffer);
    let out = '';
    for (let i = 0; i < data.length; i += 32768) out += String.fromCharCode(...data.subarray(i, i + 32768));
    return btoa(out);
  };
  const revive = (value) => Array.isArray(value) ? value.map(revive)
    : value === null || typeof value !== 'object' ? value
    : typeof value.__bytes === 'string' ? bytes(value.__bytes)
    : Object.fromEntries(Object.entries(value).map(([k, v]) => [k, revive(v)]));
  const wrap = (value) => value instanceof DataView ? { __bytes: text(value) } : value;
  const models = new Map();
  class Model {
    constructor(id, state) { this.id = id; this.state = state; this.changed = {}; this.calls = new Map(); }
    get(name) { return this.state[name]; }
    set(name, value) { this.state[name] = value; this.changed[name] = value; this.tell('change:' + name); }
    save_changes() {
      const state = Object.fromEntries(Object.entries(this.changed).map(([k, v]) => [k, wrap(v)]));
      this.changed = {};
      window.hostTold(this.id, JSON.stringify({ method: 'update', state, buffers: [] }));
    }
    on(event, call) { this.calls.set(event, (this.calls.get(event) ?? new Set()).add(call)); }
    off(event, call) { this.calls.get(event)?.delete(call); }
    send(content, _, buffers = []) {
      window.hostTold(this.id, JSON.stringify({ method: 'custom', content, buffers: buffers.map(text) }));
    }
    tell(event, ...rest) { for (const call of [...(this.calls.get(event) ?? [])]) call(...rest); }
    widget_manager = { get_model: async (id) => models.get(id) };
  }
  for (const [id, state] of JSON.parse(await window.hostStates())) models.set(id, new Model(id, revive(state)));
  const views = (await import(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })))).default;
  const [first] = [...models.values()];
  views.initialize?.({ model: first });
  await views.render({ model: first, el: document.getElementById('output') });
  const take = async () => {
    for (const [id, { method, content, state, buffers }] of JSON.parse(await window.hostTake())) {
      const model = models.get(id);
      if (method === 'custom') model?.tell('msg:custom', content, buffers.map(bytes));
      else for (const [name, value] of Object.entries(revive(state))) {
        if (!model) continue;
        model.state[name] = value;
        model.tell('change:' + name);
      }
    }
    setTimeout(take, 15);
  };
  take();
}"""


class Bare:
    """A widget in a bare page; `python` runs code where `lens` is the widget."""

    def __init__(self, page: Any, lens: Any, *, dark: bool = False, **names: Any) -> None:
        self.page, self.lens, self.problems = page, lens, []
        self.names: dict[str, Any] = {"lens": lens, **names}
        self._out: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self._widgets = {w.model_id: w for w in (lens, getattr(lens, "compared", None)) if w is not None}
        for widget in self._widgets.values():
            self._listen(widget)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda m: self.problems.append(m.text) if m.type == "error" else None)
        page.expose_function("hostTold", self._told)
        page.expose_function("hostTake", self._take)
        page.expose_function("hostStates", self._states)
        page.set_content(PAGE)
        if dark:
            page.add_style_tag(content=DARK)
        page.evaluate(HOST, lens._esm)

    def python(self, code: str) -> Any:
        """`result` after some statements."""
        exec(code, self.names)
        return self.names.get("result")

    def until(self, code: str, value: Any, timeout: float = 60) -> None:
        """Waits until `python(code)` is `value`."""
        for _ in range(int(timeout / 0.05)):
            if self.python(code) == value:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{code}: {self.python(code)!r}, not {value!r}")

    def _listen(self, widget: Any) -> None:
        name = widget.model_id

        def publish(kind: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any) -> None:
            if kind == "comm_msg" and data:
                self._out.put((name, {**data, "buffers": list(buffers or [])}))

        widget.comm.publish_msg = publish

    def _states(self) -> str:
        return json.dumps([[name, _plain(widget.get_state())] for name, widget in self._widgets.items()])

    def _take(self) -> str:
        found = []
        while not self._out.empty():
            name, message = self._out.get()
            if message["method"] == "update":
                state, buffers = message["state"], message["buffers"]
                for path, buffer in zip(message.get("buffer_paths", []), buffers, strict=True):
                    at = state
                    for step in path[:-1]:
                        at = at[step]
                    at[path[-1]] = buffer
                found.append([name, {"method": "update", "state": _plain(state)}])
            elif message["method"] == "custom":
                texts = [base64.b64encode(b).decode() for b in message["buffers"]]
                found.append([name, {"method": "custom", "content": message["content"], "buffers": texts}])
        return json.dumps(found)

    def _told(self, name: str, text: str) -> None:
        message = json.loads(text)
        buffers = [memoryview(base64.b64decode(b)) for b in message.pop("buffers")]
        data: dict[str, Any] = {"method": message["method"]}
        if message["method"] == "custom":
            data["content"] = message["content"]
        else:
            data["state"] = {
                k: base64.b64decode(v["__bytes"]) if isinstance(v, dict) and "__bytes" in v else v
                for k, v in message["state"].items()
            }
            data["buffer_paths"] = []
        self._widgets[name]._handle_msg({"content": {"data": data}, "buffers": buffers})


def _plain(value: Any) -> Any:
    """JSON of a state, its binary parts as {__bytes: text}."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (bytes, memoryview)):
        return {"__bytes": base64.b64encode(value).decode()}
    return value
