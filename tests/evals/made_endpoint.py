"""An OpenAI-compatible endpoint on loopback that serves a tiny base model and its adapter, or fails as it is told."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Reply = tuple[int, bytes]


@dataclass
class Endpoint:
    """What was asked, and what is answered."""

    model: Any
    tokenizer: Any
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    instead: Callable[[int, dict[str, Any]], Reply | None] = lambda count, payload: None
    """Number of the request and its body -> another reply; null answers as the model does."""

    def backend(self, kind: str = "completions", **args: Any) -> dict[str, Any]:
        """The config's `evals.backend` for this endpoint."""
        given = {"base_url": f"{self.url}/{kind}", "max_retries": 1, **args}
        name = f"local-{kind.replace('/', '-')}"
        return {"model": name, "args": given, "base": {"model": "base"}, "tuned": {"model": "tuned"}}

    def answer(self, path: str, payload: dict[str, Any]) -> Reply:
        """The reply to one request."""
        self.asked.append(payload)
        other = self.instead(len(self.asked), payload)
        if other is not None:
            return other
        with contextlib.nullcontext() if payload["model"] == "tuned" else self.model.disable_adapter():
            if path.endswith("/chat/completions"):
                ids = self.tokenizer.apply_chat_template(
                    payload["messages"], add_generation_prompt=True, return_dict=False
                )
                message = {"role": "assistant", "content": self.written(ids, payload)}
                return 200, json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
            given = payload["prompt"]
            given = self.tokenizer(given, add_special_tokens=False).input_ids if isinstance(given, str) else given
            prompts = given if isinstance(given[0], list) else [given]
            make = self.scored if payload.get("echo") else lambda ids: {"text": self.written(ids, payload)}
            choices = [{"index": place, **make(ids)} for place, ids in enumerate(prompts)]
        return 200, json.dumps({"choices": choices}).encode()

    def written(self, ids: list[int], payload: dict[str, Any]) -> str:
        """Greedy text up to a stop."""
        import torch

        with torch.inference_mode():
            out = self.model.generate(
                torch.tensor([ids]), max_new_tokens=payload["max_tokens"], do_sample=False, pad_token_id=2
            )
        text = str(self.tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True))
        for stop in payload.get("stop") or ():
            text = text.split(stop, maxsplit=1)[0] if stop else text
        return text

    def scored(self, ids: list[int]) -> dict[str, Any]:
        """Log-probabilities of the prompt and of one more token."""
        import torch

        with torch.inference_mode():
            logs = self.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        more = [*ids[1:], int(logs[-1].argmax())]
        values = [None, *(float(logs[place, token]) for place, token in enumerate(more))]
        tops = [None, *({"top": float(row.max())} for row in logs)]
        return {"text": "", "logprobs": {"token_logprobs": values, "top_logprobs": tops}}


@contextlib.contextmanager
def served(base: Path, adapter: Path) -> Iterator[Endpoint]:
    """The endpoint, for as long as it is needed."""
    from peft import PeftModel
    from transformers import AutoTokenizer

    from train.adapter import load_weights

    model = PeftModel.from_pretrained(load_weights(base), str(adapter)).eval()
    endpoint = Endpoint(model, AutoTokenizer.from_pretrained(base))
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                endpoint.headers.append(dict(self.headers))
                status, body = endpoint.answer(self.path, payload)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
