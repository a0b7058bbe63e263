"""A real JupyterLab and a real Chromium for the browser tests."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome") if Path(p).exists()), None
)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip

OTHERS = ("favicon", "Could not restore the debugger state")
"""Of errors in the console that are JupyterLab's own: the second where a kernel restarts while its debugger is asked."""

LIMIT = 90_000
"""Milliseconds after which a page counts as failed: a busy machine may be three times as slow as one at rest."""

RECORD = """(() => {
  const last = window.lastInputs = [];
  const note = (what) => { last.push(`${Math.round(performance.now())} ${what}`); last.splice(0, last.length - 16); };
  const name = (e) => e instanceof Element ? `${e.localName}.${e.getAttribute('class')} ${e.textContent.slice(0, 12)}` : '';
  for (const type of ['pointerdown', 'pointerup', 'pointercancel', 'click', 'focusin', 'scroll'])
    window.addEventListener(type, (e) => note(`${type} ${name(e.target)}`), { capture: true, passive: true });
  const media = navigator.mediaDevices;
  const ask = media?.getUserMedia;
  if (ask) media.getUserMedia = async (...what) => {
    note('camera asked');
    try { return await ask.apply(media, what); }
    catch (error) { note(`camera: ${error}`); throw error; }
    finally { note('camera answered'); }
  };
})()"""
"""Of every page: its last inputs, and what became of the camera, for the report of a test that failed."""


@contextmanager
def jupyter_lab(folder: Path, python: str = sys.executable) -> Iterator[str]:
    """A JupyterLab server on `folder`, of the environment of `python`; the address of its start page, with a token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    env = {**os.environ, "JUPYTER_CONFIG_DIR": str(folder / ".config"), "NN_LENS_CACHE": str(folder / ".cache")}
    env["JUPYTER_PATH"] = os.pathsep.join([str(folder / ".share"), *filter(None, [env.get("JUPYTER_PATH")])])
    settings = folder / ".config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    command = [
        python, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={token}", "--LabApp.expose_app_in_browser=True",
        "--LabApp.news_url=None", "--JupyterNotebookApp.expose_app_in_browser=True",
    ]  # fmt: skip
    log = (folder / "server.log").open("wb")
    server = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(480):
            try:
                urllib.request.urlopen(f"{url}/api?token={token}", timeout=2)
                break
            except OSError:
                if server.poll() is not None:
                    break
                time.sleep(0.25)
        else:
            raise RuntimeError("JupyterLab did not start: " + (folder / "server.log").read_text()[-2000:])
        yield f"{url}/lab?token={token}"
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
        log.close()


def stop_kernels(url: str) -> None:
    """Ends all kernels of the JupyterLab with that start page."""
    base, token = url.split("/lab?token=")

    def ask(path: str, method: str = "GET") -> bytes:
        headers = {"Authorization": f"token {token}"}
        with urllib.request.urlopen(urllib.request.Request(base + path, method=method, headers=headers)) as answer:
            return answer.read()

    for kernel in json.loads(ask("/api/kernels")):
        ask(f"/api/kernels/{kernel['id']}", "DELETE")


def write_notebook(path: Path, cells: list[str]) -> None:
    """A notebook of code cells, with the kernel named so that no dialog opens."""
    content = {
        "cells": [
            {"cell_type": "code", "id": f"c{i}", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
            for i, source in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip
    path.write_text(json.dumps(content))


def state_of(page: Any) -> str:
    """What a page is at, for the report of a test that failed: whether it draws, its kernel, and what its panels say."""
    try:
        state = page.evaluate(
            """async () => {
              let frames = 0;
              const count = () => { frames++; requestAnimationFrame(count); };
              requestAnimationFrame(count);
              await new Promise((done) => setTimeout(done, 500));
              const kernel = window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel;
              const panels = [...document.querySelectorAll('.nn-lens')].map((e) => ({
                ...e.dataset,
                visible: e.clientWidth > 0,
                says: [...e.querySelectorAll('.problem, .note, [role=alert], [role=status], h3, button.camera')]
                  .filter((x) => x.offsetWidth).map((x) => x.textContent).filter(Boolean),
              }));
              const [now, inputs] = [Math.round(performance.now()), window.lastInputs];
              return { frames, visibility: document.visibilityState, kernel: kernel?.status, panels, now, inputs };
            }"""
        )
    except Exception as error:  # the report of the failure comes first
        return f"does not answer: {error}"
    return json.dumps(state, indent=1, ensure_ascii=False)


class Notebook:
    """One notebook open in a page: runs cells, and Python in its kernel."""

    def __init__(self, page: Any, url: str, name: str) -> None:
        self.page, self.problems = page, []
        page.set_default_timeout(LIMIT)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        path, token = url.split("?")
        page.goto(f"{path}/tree/{name}?{token}&reset")
        page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook")
        self.wait_for_kernel()

    def _console(self, message: Any) -> None:
        if message.type == "error" and not any(known in message.text for known in OTHERS):
            self.problems.append(message.text)

    def wait_for_kernel(self) -> None:
        """Until the kernel is idle."""
        self.page.wait_for_function(
            "() => { const p = window.jupyterapp?.shell?.currentWidget;"
            " return p?.sessionContext?.session?.kernel?.status === 'idle'; }"
        )

    def run_all(self) -> None:
        """Runs every cell and waits for the kernel to be idle."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def python(self, code: str, timeout: float = 90) -> Any:
        """The JSON value of a Python expression, or of `result` after statements, computed in the notebook's kernel."""
        value = f"nn-lens-value-{secrets.token_hex(4)}"  # a warning in the output may show lines of other code
        script = f"import json as _json\n{code}\nprint('{value}', _json.dumps(result))"
        text = self.page.evaluate(
            """async ([code, timeout]) => {
              const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
              const future = kernel.requestExecute({ code, store_history: false, silent: false });
              let out = "";
              future.onIOPub = (m) => {
                if (m.header.msg_type === "stream") out += m.content.text;
                if (m.header.msg_type === "error") out += "ERROR " + m.content.evalue;
              };
              await Promise.race([future.done, new Promise((_, no) => setTimeout(() => no(new Error("timeout " + out)), timeout))]);
              return out;
            }""",
            [script, timeout * 1000],
        )
        lines = [line for line in text.splitlines() if line.startswith(f"{value} ")]
        assert lines, text
        return json.loads(lines[-1].removeprefix(value))

    def until(self, code: str, value: Any, timeout: float = 90) -> None:
        """Waits until `python(code)` is `value`: a message of the page may reach the kernel after a request."""
        end = time.monotonic() + timeout
        while (found := self.python(code)) != value:
            assert time.monotonic() < end, f"{code}: {found!r}, not {value!r} within {timeout} s"
            time.sleep(0.1)
