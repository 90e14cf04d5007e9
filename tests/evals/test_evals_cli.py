"""`assay evals` and `assay gate model` as commands."""

import json
from xml.etree import ElementTree

import click
import pytest
from click.testing import CliRunner

from evals.cli import evals, gate_model
from evals.run import evals_stage
from evals.token_scores import TokenScorer
from schemas.errors import ExitCode, UserError
from schemas.stage import require
from tests.evals.made_evidence import OFF


def run(command, *arguments):
    """Exit code that the command returned, and what it printed."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, result.stdout, result.stderr


def test_evals_prints_the_manifest_and_its_progress_on_stderr(fresh):
    project, adapter = fresh
    code, out, err = run(evals, "-c", project.path, "--adapter", adapter)
    assert code is ExitCode.PASS
    assert out.strip() == str(require(evals_stage(project, adapter), "evals").path)
    assert "base on toy_test" in err
    assert "rows/s" in err
    code, out, err = run(evals, project.path, "--adapter", adapter, "--format", "json", "--quiet")
    assert json.loads(out)["reused"] is True
    assert err == ""


def test_evals_finds_the_adapter_by_the_config(fresh):
    project, _ = fresh
    with pytest.raises(UserError, match="no such data file"):  # the toy dataset was not made by `assay curate`
        run(evals, "-c", project.path)


def test_an_interrupted_evaluation_says_what_is_kept(fresh, monkeypatch, capfd):
    project, adapter = fresh

    def interrupt(scorer, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(TokenScorer, "_score_batch", interrupt)
    with pytest.raises(click.Abort):
        evals.main(["-c", str(project.path), "--adapter", str(adapter), "--quiet"], standalone_mode=False)
    assert "0 finished parts are kept" in capfd.readouterr().err


def test_gate_model_returns_the_verdict_as_exit_code(done):
    project, _, result = done
    code, out, err = run(gate_model, "-c", project.path, "--results", result.folder)
    assert code in (ExitCode.FAIL, ExitCode.INCONCLUSIVE)
    assert out.startswith("gate model: ")
    assert "toy_test:improve" in out
    assert err.startswith("verdict: ")


@pytest.mark.parametrize("form", ["json", "markdown", "junit", "github", "sarif", "html"])
def test_gate_model_speaks_each_format(done, form):
    project, _, result = done
    _, out, _ = run(gate_model, "-c", project.path, "--results", result.folder, "--format", form)
    if form == "json":
        assert json.loads(out)["schema"] == "assay/verdict/1"
    elif form == "junit":
        assert ElementTree.fromstring(out).attrib["tests"] == "12"
    elif form == "markdown":
        assert out.startswith("<!-- assay gate model -->\n# Gate model: ")
    elif form == "sarif":
        assert json.loads(out)["version"] == "2.1.0"
    elif form == "html":
        assert out.startswith("<!doctype html>")
    else:
        assert out.count("title=toy_test%3Aimprove") == 1


def test_one_run_writes_several_formats(done, tmp_path):
    project, _, result = done
    also = [word for form in ("html", "github") for word in ("--also", f"{form}:{tmp_path / form}")]
    _, out, _ = run(gate_model, "-c", project.path, "--results", result.folder, *also)
    assert out.startswith("gate model: ")
    assert (tmp_path / "html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "github").read_text().startswith("::")
    with pytest.raises(UserError, match="--also cannot be read"):
        run(gate_model, "-c", project.path, "--results", result.folder, "--also", f"pdf:{tmp_path / 'x'}")


@pytest.mark.parametrize(("gained", "expected"), [("0.0", None), ("-0.99", ExitCode.PASS)])
def test_thresholds_can_be_set_on_the_command_line(done, gained, expected):
    project, _, result = done
    override = f"gates.model.tasks.toy_test={{must: improve, detect: 0.2, min_gain: {gained}, beat: []}}"
    code, _, _ = run(
        gate_model,
        "-c",
        project.path,
        "--results",
        result.folder,
        "--set",
        override,
        "--set",
        f"gates.model.overfitting={json.dumps(OFF)}",
    )
    assert (code is ExitCode.PASS) == (expected is ExitCode.PASS)
