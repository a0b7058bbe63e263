"""The server extension is found and loaded by a Jupyter Server that nobody configured."""

from __future__ import annotations


def test_the_extension_is_loaded(lab):
    _, folder = lab
    log = (folder / "server.log").read_text()
    assert "nn_lens.server | extension was successfully loaded" in log


def test_kernel_websockets_send_without_delay():
    from jupyter_server.services.kernels.websocket import KernelWebsocketHandler

    from nn_lens import server

    server._load_jupyter_server_extension(None)
    opened = KernelWebsocketHandler.open
    assert opened.sends_at_once
    server._load_jupyter_server_extension(None)
    assert KernelWebsocketHandler.open is opened, "once is enough"
