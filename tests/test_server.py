"""The server extension costs a Jupyter Server nothing at its start."""

from __future__ import annotations

import re
import subprocess
import sys

_ASKED = """
import os, sys, threading
before = set(sys.modules)
opened = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
import nn_lens.server
assert nn_lens.server._jupyter_server_extension_points() == [{"module": "nn_lens.server"}]
new = set(sys.modules) - before
print(*sorted(name for name in new if name.split(".")[0] not in sys.stdlib_module_names))
print(len(new))
from jupyter_server.services.kernels import websocket
before = set(sys.modules)
nn_lens.server._load_jupyter_server_extension(None)
print(*sorted(set(sys.modules) - before))
print(threading.active_count(), (len(os.listdir("/proc/self/fd")) if opened else 0) - opened)
"""


def test_its_import_brings_nothing_but_itself_and_its_start_opens_nothing():
    done = subprocess.run([sys.executable, "-c", _ASKED], capture_output=True, text=True, check=True)
    imported, count, at_start, opened = done.stdout.split("\n")[:4]
    assert imported == "nn_lens nn_lens.server"
    assert int(count) < 40, "of the standard library: what would take more than some milliseconds has many parts"
    assert at_start == "", "what it needs, every Jupyter Server has loaded"
    assert opened == "1 0", "threads, and files or sockets more than before"


def test_jupyter_server_lists_it():
    done = subprocess.run(
        [sys.executable, "-m", "jupyter", "server", "extension", "list"], capture_output=True, text=True
    )
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    assert re.search(r"nn_lens\.server enabled", said), said
    assert re.search(r"nn_lens\.server.*OK", said), said
