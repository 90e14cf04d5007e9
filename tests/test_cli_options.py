"""Every command that works on a config takes the same options, in the same words."""

from pathlib import Path

import click
import pytest

import assay
from schemas.errors import ExitCode
from tests.evals.made_chain import make_chain

COMMANDS = (["curate"], ["gate", "data"], ["preview"], ["train"], ["evals"], ["gate", "model"], ["report"], ["release"])
SHARED = {
    "config": ["--config", "-c"],
    "overrides": ["--set"],
    "out": ["--out"],
    "form": ["--format"],
    "quiet": ["--quiet", "-q"],
}


def command_named(words: list[str]) -> click.Command:
    command: click.Command | None = assay.assay
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None
    return command


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_shared_options_are_there(words):
    parameters = {parameter.name: parameter for parameter in command_named(words).params}
    assert {name: parameters[name].opts for name in SHARED} == SHARED
    arguments = [parameter for parameter in parameters.values() if isinstance(parameter, click.Argument)]
    assert [(argument.required, "CONFIG" in (argument.metavar or "")) for argument in arguments] == [(False, True)]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("how", [[], ["-c"]], ids=["positional", "option"])
def test_a_config_can_be_named_either_way(words, how, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("nam: x\n")
    assert assay.run([*words, *how, "mine.yaml", "-q"]) == ExitCode.USAGE
    assert "mine.yaml:1" in capsys.readouterr().err


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_two_configs_are_refused(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert assay.run([*words, "one.yaml", "-c", "two.yaml"]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("error: two configs are named")


@pytest.mark.parametrize("options", [["-c", "assay.yaml"], ["--set", "name=x"], ["--out", "elsewhere"]])
def test_a_verdict_and_a_config_for_another_one_are_refused(tmp_path, monkeypatch, capsys, options):
    monkeypatch.chdir(tmp_path)
    chain = make_chain(tmp_path)
    assert assay.run(["report", str(chain.verdict.folder), *options]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("error: a verdict is named, and options")
    assert assay.run(["report", str(chain.verdict.folder), "-q"]) == ExitCode.PASS
