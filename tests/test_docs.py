"""The generated pages are complete, and a stale one is named."""

import importlib.util
from pathlib import Path
from typing import Any

import assay

ROOT = Path(__file__).resolve().parents[1]


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_name_every_command_and_every_rule():
    generate = generator()
    page = generate.cli_page()
    assert [name for name in assay.COMMANDS if f"\n## assay {name}\n" not in page] == []
    rules = generate.rules_page()
    assert [rule.code for rule in generate.all_rules() if f"\n## {rule.code} {rule.name}\n" not in rules] == []


def test_a_stale_page_is_named_and_written_again(tmp_path, monkeypatch, capsys):
    generate = generator()
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    (tmp_path / "schemas" / "json").mkdir(parents=True)
    (tmp_path / "schemas" / "json" / "gone.json").write_text("{}")
    assert generate.main(["--check"]) == 1
    assert "schemas/json/gone.json is stale; run `make docs`" in capsys.readouterr().err
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    assert not (tmp_path / "schemas" / "json" / "gone.json").exists()
