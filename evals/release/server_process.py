"""The other side of `serving.py`: one model server, run as a program of its own that ends with whoever started it.

It is started by its path and with Python's -P, so that nothing of the folder that is served can be imported. Standard
input is a pipe that the parent holds open: when it closes, however the parent ended, this process ends too.

    server_process.py transformers MODEL PORT
    server_process.py llamacpp FILE PORT CONTEXT_TOKENS
"""

from __future__ import annotations

import importlib
import os
import sys
import threading

HOST = "127.0.0.1"


def end_with_parent() -> None:
    """End this process at once when standard input closes."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def serve_transformers(model: str, port: int) -> None:
    """`transformers serve MODEL` on loopback; MODEL is relative to the working directory."""
    from transformers.cli.transformers import app

    app(["serve", model, "--host", HOST, "--port", str(port)])


def serve_llamacpp(file: str, port: int, context_tokens: int) -> None:
    """llama.cpp's own server on loopback, one request at a time."""
    xllamacpp = importlib.import_module("xllamacpp")  # an extra that is rarely there
    settings = xllamacpp.CommonParams()
    settings.model.path = file
    settings.hostnames, settings.port = [HOST], port
    settings.n_ctx, settings.n_parallel = context_tokens, 1
    settings.warmup, settings.offline = False, True
    server = xllamacpp.Server(settings)
    sys.stderr.write(f"listening on {server.listening_address}\n")
    threading.Event().wait()


def main(kind: str, model: str, *numbers: str) -> None:
    """Serve until the parent ends."""
    end_with_parent()
    if kind == "transformers":
        serve_transformers(model, int(numbers[0]))
    else:
        serve_llamacpp(model, int(numbers[0]), int(numbers[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
