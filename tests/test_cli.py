"""The `nn-lens` command: where the notebooks go, what is passed on, and what the doctor says."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from nn_lens import cli

ROOT = Path(__file__).parent.parent


def test_in_a_checkout_its_own_notebooks_are_opened(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert cli.notebooks_folder() == ROOT / "notebooks"


def test_elsewhere_copies_are_made_and_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = cli.notebooks_folder()
    assert folder == tmp_path / "nn-lens-notebooks"
    starter = folder / cli.STARTER
    assert json.loads(starter.read_text())["nbformat"] == 4
    starter.write_text("mine")
    assert cli.notebooks_folder() == folder
    assert starter.read_text() == "mine"
    assert cli.notebooks_folder(Path("other")) == tmp_path / "other"
    assert (tmp_path / "other" / cli.STARTER).is_file()


@pytest.mark.parametrize(("arguments", "says"), [(["docter"], "nn-lens doctor"), (["--port", "99999"], "1 to 65535")])
def test_slips_are_named(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main([str(tmp_path / "file" / "folder"), "--no-browser"]) == 1
    assert "name another folder" in capsys.readouterr().err


@pytest.mark.parametrize("root", [True, False])
def test_what_jupyterlab_is_told(tmp_path, monkeypatch, capsys, root):
    told = []

    class Server:
        def __init__(self, command):
            told.append(command)

        def wait(self):
            return 0

    monkeypatch.setattr(cli.subprocess, "Popen", Server)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    monkeypatch.setattr(cli.os, "geteuid", lambda: 0 if root else 1000)
    assert cli.main([str(tmp_path), "--no-browser", "--port", "8899"]) == 0
    (command,) = told
    assert {"--no-browser", "--port=8899", f"--ServerApp.root_dir={tmp_path}"} <= set(command)
    assert ("--allow-root" in command) == root
    assert ("--allow-root" in capsys.readouterr().out) == root
    assert cli.main([str(tmp_path)]) == 0
    assert "--no-browser" not in told[1]


def test_jupyterlab_starts_on_the_starter_notebook(tmp_path):
    """The command itself, as a process: the server answers, and hands out the notebook and the extension."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "JUPYTER_TOKEN": "secret", "JUPYTER_CONFIG_DIR": str(tmp_path / "config")}
    command = [sys.executable, "-m", "nn_lens.cli", "--no-browser", "--port", str(port), str(tmp_path / "books")]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=tmp_path, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def get(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}token=secret", timeout=5) as answer:
            return answer.read().decode()

    try:
        for _ in range(160):
            try:
                get("/api?")
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.25)
        assert json.loads(get(f"/api/contents/{cli.STARTER}?content=0&"))["type"] == "notebook"
        page = get("/lab?")
        assert '"nn-lens"' in page or "labextensions/nn-lens" in page
        assert f"/lab/tree/{cli.STARTER}" in (tmp_path / "log").read_text()
        server.terminate()
        server.wait(30)
        with pytest.raises(OSError, match="refused"):  # JupyterLab has ended with it
            get("/api?")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, 15)
        server.wait(20)


def test_the_doctor_finds_everything_well(capsys):
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "PROBLEM" not in said
    for word in (
        "Python",
        "torch",
        "jupyterlab",
        "JupyterLab extension",
        "threads",
        "cache",
        "bundled network answers",
    ):
        assert word in said


def test_the_doctor_names_what_is_wrong(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NN_LENS_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(cli, "PACKAGES", ("nn-lens", "no-such-package"))
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "no-such-package is not installed" in said
    assert "set NN_LENS_CACHE" in said
    assert "2 problems" in said


def test_the_doctor_says_what_is_switched_off(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    monkeypatch.setattr(cli, "_parts", lambda: iter([]))
    (tmp_path / "labconfig").mkdir()
    off = {"nn-lens:sidepanel": True, "nn-lens:status": False, "other:plugin": True}
    (tmp_path / "labconfig" / "page_config.json").write_text(json.dumps({"disabledExtensions": off}))
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "; switched off: nn-lens:sidepanel\n" in said
    assert "server extension nn_lens.server" in said
    (tmp_path / "labconfig" / "page_config.json").write_text("[]")
    assert cli.main(["doctor"]) == 0


def test_jupyter_labextension_list_shows_it():
    done = subprocess.run([sys.executable, "-m", "jupyter", "labextension", "list"], capture_output=True, text=True)
    line = next(line for line in (done.stdout + done.stderr).splitlines() if "nn-lens" in line)
    assert "enabled" in line
    assert "OK" in line
