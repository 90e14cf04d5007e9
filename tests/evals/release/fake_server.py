"""A model server without a model: `fake_server.py KIND MODEL PORT`, told what to do by `fake.json` in its folder.

answers   what it says, by the last message's content
tokens    token ids, by text
prompts   what its template makes, by messages as JSON
die       ends with this status before it listens
late_s    listens after this time
status    of every answer to a chat
child     a process that it starts, whose number it writes to `child.pid`
"""

import http.server
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

told: dict[str, Any] = json.loads(Path("fake.json").read_text("utf-8"))


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status: int, found: Any) -> None:
        data = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.answer(200 if self.path == "/health" else 404, {"status": "ok"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with Path("asked.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps([self.path, body]) + "\n")
        if self.path == "/tokenize":
            return self.answer(200, {"tokens": told.get("tokens", {}).get(body["content"], [0])})
        if self.path == "/apply-template":
            return self.answer(200, {"prompt": told.get("prompts", {}).get(json.dumps(body["messages"]), "?")})
        said = told.get("answers", {}).get(body["messages"][-1]["content"], "?")
        message = {"role": "assistant", "content": said}
        return self.answer(told.get("status", 200), told.get("raw", {"choices": [{"message": message}]}))


if __name__ == "__main__":
    Path("server.pid").write_text(str(os.getpid()), "utf-8")
    sys.stderr.write("the model \x1b[31mis red\n")
    sys.stderr.flush()
    if "die" in told:
        sys.exit(told["die"])
    if "child" in told:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path("child.pid").write_text(str(child.pid), "utf-8")
    time.sleep(told.get("late_s", 0))
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[3])), Handler).serve_forever()
