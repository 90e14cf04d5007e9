"""How others serve the release: a Modelfile for Ollama, and the command line for vLLM."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from evals.release.adapter_checks import adapter_settings
from evals.release.chat_turns import Turns, find_turns
from evals.release.gguf_tokenizer import answer_ends
from evals.release.source import Source
from schemas.atomic import write_atomic
from schemas.errors import UserError
from schemas.terminal import printable

MODELFILE, VLLM = "Modelfile", "vllm.sh"
MOST_CONTEXT = 8192
"""Tokens of context that are asked for at most: the memory for more is nothing to take without being asked."""
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for `--max-lora-rank`."""
NOT_IN_VLLM = ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "trainable_token_indices", "lora_bias")
"""Settings of an adapter that vLLM refuses or reads past."""


def serving_files(source: Source, folder: Path, targets: Sequence[ModuleType]) -> list[Path]:
    """Write what suits the exported targets.

    Args:
        source: the judged model.
        folder: the release; its targets lie in it as they are named by FOLDER.
        targets: what was exported.

    Returns:
        The files: `Modelfile` where there is a GGUF file, `vllm.sh` where there is something that vLLM serves.
    """
    folders = {target.FOLDER for target in targets}
    context = _context(source.base)
    written = []
    if "gguf" in folders:
        written.append(_write(folder / MODELFILE, _modelfile(source, folder, context)))
    script = _vllm(source, folder, folders, min(context, MOST_CONTEXT))
    if script:
        written.append(_write(folder / VLLM, script))
        (folder / VLLM).chmod(0o755)
    return written


def _write(path: Path, text: str) -> Path:
    write_atomic(path, text.encode("utf-8"))
    return path


def _context(base: Path) -> int:
    """Tokens that the model reads with full attention."""
    config = json.loads((base / "config.json").read_bytes())
    return int(min(config.get("max_position_embeddings") or 2048, config.get("sliding_window") or 10**9))


# ---------------------------------------------------------------------------------------------------------- Ollama


def _modelfile(source: Source, folder: Path, context: int) -> str:
    files = sorted((folder / "gguf").glob("*.gguf"), key=lambda path: (-path.stat().st_size, path.name))
    lines = [f"# {printable(source.name)} for Ollama: ollama create NAME -f {MODELFILE}"]
    lines += [f"# Smaller, with larger differences: ./gguf/{printable(path.name)}" for path in files[1:]]
    lines.append(f"FROM {_quoted(f'./gguf/{files[0].name}')}")
    turns, stops, reason = _conversation(source.base)
    if turns is None:
        lines.append(f'# No TEMPLATE: {printable(reason)}. Send prompts that were rendered before, with "raw": true.')
    else:
        lines.append(f"TEMPLATE {_quoted(turns.go_template())}")
        lines += [f"SYSTEM {_quoted(turns.default_system)}"] if turns.default_system else []
    lines += [f"PARAMETER stop {_quoted(stop)}" for stop in stops]
    lines.append("# As it was evaluated: the most likely token, and no penalty for saying a word twice.")
    lines += ["PARAMETER temperature 0", "PARAMETER repeat_penalty 1"]
    if context > MOST_CONTEXT:
        lines.append(f"# The model reads up to {context} tokens; more context takes more memory.")
    lines.append(f"PARAMETER num_ctx {min(context, MOST_CONTEXT)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A value of a Modelfile; three quotes hold anything but themselves."""
    return f'"""{text}"""' if '"' in text or "\n" in text else f'"{text}"'


def _breaks_out(text: str) -> bool:
    """Whether a text would end the quotes that it stands in."""
    return '"""' in text or text.endswith('"')


def _conversation(base: Path) -> tuple[Turns | None, list[str], str]:
    """The template's turns where Ollama can write them, texts that end an answer, and why there are no turns."""
    from curate.load_supervisor import load_supervisor, template_source, tokenizer_settings

    try:
        source = template_source(base, tokenizer_settings(base), needed=False)
        supervisor = load_supervisor(base, MOST_CONTEXT, needs_template=False)
    except UserError as error:
        return None, [], str(error)
    ids = (supervisor.eos_token_id, *answer_ends(base))
    ends = dict.fromkeys(supervisor.tokenizer.id_to_token(number) for number in ids)
    stops = [text for text in ends if text and not _breaks_out(text)]
    added = supervisor.added_start

    def render(messages: Sequence[Any], generation_prompt: bool) -> str:
        try:
            text = supervisor.prompt(messages) if generation_prompt else supervisor.render(messages)
        except UserError as error:
            raise ValueError from error
        if not text.startswith(added):
            raise ValueError(text)
        return text[len(added) :]  # in Ollama the tokenizer writes the start token

    if not source:
        return None, stops, "the base model has no chat template"
    if "strftime_now" in source:
        return None, stops, "the chat template writes the day's date, which Ollama cannot"
    turns = find_turns(render)
    if turns is None:
        return None, stops, "the chat template is not turn after turn, so that Ollama's language cannot say it safely"
    pieces = (turns.start, *turns.system, *turns.user, *turns.assistant, turns.prompt, turns.default_system)
    if any("{{" in piece or "}}" in piece or _breaks_out(piece) for piece in pieces):
        return None, stops, "the chat template writes signs that have a meaning of their own in Ollama's language"
    return turns, stops, ""


# ------------------------------------------------------------------------------------------------------------ vLLM


def _vllm(source: Source, folder: Path, folders: set[str], context: int) -> str:
    """The script; empty where there is nothing that vLLM serves."""
    ways, notes = {}, []
    if "adapter" in folders:
        settings = adapter_settings(folder / "adapter")
        reason = _unserved(settings)
        if reason:
            notes.append(f"# vLLM does not serve this adapter: {printable(reason)}.")
        else:
            ways["adapter"] = _adapter_way(source, settings, context)
    if "merged" in folders:
        line = ["vllm", "serve", "./merged", "--served-model-name", source.name, *_shared(context, source.dtype)]
        ways["merged"] = f"    exec {shlex.join(line)}"
    if not ways:
        return ""
    first = next(iter(ways))
    cases = [f"{name})\n{lines}\n    ;;" for name, lines in ways.items()]
    head = ["#!/bin/sh", f"# Serves {printable(source.name)} by vLLM: sh {VLLM} [{'|'.join(ways)}]", *notes]
    other = f'*)\n    echo "expected: {" or ".join(ways)}" >&2\n    exit 2\n    ;;'
    move = 'cd -- "$(dirname -- "$0")"'
    return "\n".join([*head, "set -eu", move, f'case "${{1:-{first}}}" in', *cases, other, "esac"]) + "\n"


def _shared(context: int, dtype: str) -> list[str]:
    greedy = json.dumps({"temperature": 0})
    return ["--max-model-len", str(context), "--dtype", dtype, "--override-generation-config", greedy]


def _adapter_way(source: Source, settings: dict[str, Any], context: int) -> str:
    rank = next(allowed for allowed in VLLM_RANKS if allowed >= settings["r"])
    # vLLM's kernels for adapters compute in half precision; `auto` takes the half precision that suits the base model.
    dtype = "auto" if source.dtype == "float32" else source.dtype
    lora = ["--enable-lora", "--lora-modules", f"{source.name}=./adapter", "--max-lora-rank", str(rank)]
    lines = [
        f"    # BASE: folder or hub id of the base model, which was in a folder called {printable(source.base.name)}."
    ]
    revision = ""
    if source.base.parent.name == "snapshots":  # the hub's cache: models--<org>--<name>/snapshots/<revision>
        hub = source.base.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
        lines = [f"    # BASE: another copy of the base model, {printable(hub)}."]
        lines.append(f"    : ${{BASE:={shlex.quote(hub)}}}")
        revision = f" --revision {shlex.quote(source.base.name)}"
    else:
        lines.append('    : "${BASE:?give the base model: BASE=FOLDER sh ' + VLLM + '}"')
    if dtype != source.dtype:
        lines.append(
            "    # It was evaluated in float32; vLLM computes adapters in half precision, so answers may differ."
        )
    lines.append(f'    exec vllm serve "$BASE"{revision} {shlex.join([*lora, *_shared(context, dtype)])}')
    return "\n".join(lines)


def _unserved(settings: dict[str, Any]) -> str:
    """Why vLLM does not serve an adapter as it was trained; empty where it does."""
    found = [name for name in NOT_IN_VLLM if settings.get(name)]
    if settings.get("bias", "none") != "none":
        found.append("bias")
    targets = settings.get("target_modules") or []
    ends = {"embed_tokens", "lm_head"} & {str(name).rpartition(".")[2] for name in targets}
    if ends:
        found.append(f"an adapter on {', '.join(sorted(ends))}")
    rank = settings.get("r")
    if not isinstance(rank, int) or not 0 < rank <= VLLM_RANKS[-1]:
        found.append(f"rank {rank}")
    return ", ".join(found)
