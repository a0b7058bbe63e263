"""What a notebook shows of an error: the message, below the line that it is about."""

from __future__ import annotations

import subprocess
import sys


def test_a_notebook_shows_the_message_and_the_line_without_a_traceback():
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance(colors='nocolor')\n"
        "shell.run_cell('import nn_lens as nl\\nnet = nl.demo()\\n\\nnl.filters(net, \"conv99\")')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.strip().splitlines()
    assert lines[0] == 'line 4: nl.filters(net, "conv99")'
    assert lines[1].startswith("UnknownLayer: There is no layer 'conv99'. Nearest: ")
    assert len(lines) == 2, done.stdout
