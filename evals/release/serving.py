"""A model server on loopback for as long as it is asked: started offline, waited for, and always ended.

The server is a process of its own (`server_process.py`) in a session of its own. It is ended on the way out whatever
happened, with all that it started, and it ends by itself when this process is killed.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from schemas.terminal import printable

HOST = "127.0.0.1"
PROGRAM = Path(__file__).with_name("server_process.py")
READY_S = 300.0
"""A model of several gigabytes is read from a slow disk in this time."""
ANSWER_S = 300.0
TAIL_LINES = 12
TAIL_BYTES = 4000
NEEDED = {
    "transformers": ("fastapi", "uvicorn", "openai", "pydantic"),
    "llamacpp": ("xllamacpp",),
}
"""Server -> modules without which it does not start."""
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "NO_PROXY": HOST,
}


class NotAnsweredError(Exception):
    """The server did not answer a request as it should; the text says how."""


def missing_modules(kind: str) -> list[str]:
    """Modules of NEEDED that are not installed."""
    return [name for name in NEEDED[kind] if importlib.util.find_spec(name) is None]


@dataclass(frozen=True)
class Server:
    """A server that is up."""

    port: int

    def post(self, path: str, body: dict[str, Any], timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """Send JSON, get a JSON object.

        Raises:
            NotAnsweredError: no connection, no answer in time, another status than 200, or no JSON object.
        """
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout_s)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise NotAnsweredError(f"{path}: {type(error).__name__}: {error}"[:300]) from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise NotAnsweredError(f"{path}: status {answer.status}, {_text(data)[:300]}")
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise NotAnsweredError(f"{path}: no JSON, {_text(data)[:200]}") from error
        if not isinstance(found, dict):
            raise NotAnsweredError(f"{path}: {_text(data)[:200]}")
        return found

    def healthy(self) -> bool:
        """Whether it answers and says that its model is loaded."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def free_port() -> int:
    """A port of the loopback device that nobody listens on now."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def serving(
    kind: str, model: str, folder: Path, *numbers: int, program: Path = PROGRAM, ready_s: float = READY_S
) -> Iterator[Server]:
    """A server of one model; ended on the way out.

    Args:
        kind: of NEEDED.
        model: what is served, relative to `folder`.
        folder: the server's working directory.
        numbers: further arguments of `server_process.py`.
        program: what is run.
        ready_s: how long to wait for it.

    Raises:
        UserError: it ended, or was not ready in time; the message has the end of its log.
    """
    port = free_port()
    command = [sys.executable, "-P", str(program), kind, model, str(port), *map(str, numbers)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | OFFLINE,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            server = Server(port)
            _wait(process, server, log, model, ready_s)
            try:
                yield server
            except NotAnsweredError as error:
                raise _failed(f"the server of {model} did not answer", str(error), log) from error
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], server: Server, log: Any, model: str, ready_s: float) -> None:
    until = time.monotonic() + ready_s
    while not server.healthy():
        if process.poll() is not None:
            raise _failed(f"the server of {model} ended before it was ready", f"status {process.returncode}", log)
        if time.monotonic() > until:
            raise _failed(f"the server of {model} was not ready in time", f"no answer within {ready_s:g} s", log)
        time.sleep(0.1)
    if process.poll() is not None:  # somebody else listens on the port that it was given
        raise _failed(f"the server of {model} ended before it was ready", f"status {process.returncode}", log)


def _failed(what: str, found: str, log: Any) -> UserError:
    tail = log_tail(log)
    return UserError(
        what,
        where=f"{HOST}, see the end of its log below",
        found=f"{printable(found)}\n{tail}" if tail else printable(found),
        help="start the same server by hand; the lines above are its own",
    )


def log_tail(log: Any) -> str:
    """The last lines of a log, harmless to a terminal."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - TAIL_BYTES))
    lines = _text(log.read()).splitlines()[-TAIL_LINES:]
    return "\n".join(printable(line)[:300] for line in lines)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the server with all that it started; it holds nothing that would have to be saved."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def chat_body(model: str | None, messages: Sequence[dict[str, str]], stop: Sequence[str], most: int) -> dict[str, Any]:
    """A request for a greedy answer, as OpenAI's chat completions have it."""
    body: dict[str, Any] = {"messages": list(messages), "temperature": 0, "max_tokens": most}
    return body | ({"model": model} if model else {}) | ({"stop": list(stop)} if stop else {})


def answer_of(found: dict[str, Any]) -> str:
    """The text of a chat completion.

    Raises:
        NotAnsweredError: it is not one.
    """
    try:
        content = found["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise NotAnsweredError(f"no chat completion: {json.dumps(found)[:200]}") from error
    return str(content or "")
