"""`assay` itself: what it imports, what each error leads to, and that nothing from outside reaches the terminal raw."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import assay
from schemas.errors import ConfigError, ConservationError, ExitCode, Problem, UserError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch):
    """Install a command `fake` that does what it is told."""

    def install(body) -> None:
        module = type(sys)("fake_command")
        vars(module)["fake"] = click.Command("fake", callback=body)
        monkeypatch.setitem(sys.modules, "fake_command", module)
        monkeypatch.setitem(assay.COMMANDS, "fake", assay.Entry("Start", "fake_command:fake", "Do what it is told."))

    return install


def raising(error: BaseException):
    def body() -> None:
        raise error

    return body


def run_process(*args: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "assay.py"), *args],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_command_is_listed_under_its_heading(capsys):
    assert assay.run(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ") and line.split()[0] in assay.COMMANDS]
    assert listed == list(assay.COMMANDS)
    headings = [line.rstrip(":") for line in lines if line.endswith(":") and not line.startswith((" ", "Usage"))]
    assert headings == ["Options", *dict.fromkeys(entry.group for entry in assay.COMMANDS.values())]


def test_without_a_command_the_help_is_a_usage_error(capsys):
    assert assay.run([]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Usage: assay ")


def test_the_version_is_the_declared_one(capsys):
    assert assay.run(["--version"]) == 0
    declared = (ROOT / "pyproject.toml").read_text().split('version = "')[1].split('"')[0]
    assert capsys.readouterr().out.removesuffix(" (checkout)\n").removesuffix("\n") == f"assay {declared}"


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        (["trian"], "There is no command `trian`. Did you mean `train`?"),
        (["gate", "modle"], "There is no command `modle`. Did you mean `model`?"),
        (["xyzzy"], "There is no command `xyzzy`."),
        (["verify"], "Missing argument 'RUN'."),
        (["verify", "x", "--format", "xml"], "Invalid value for '--format': 'xml' is not one of 'text', 'json'."),
        (["gate", "model", "--confg", "x"], "No such option '--confg'. Did you mean '--config'?"),
    ],
)
def test_usage_errors_say_what_was_meant_and_where_the_help_is(capsys, args, answer):
    assert assay.run(args) == ExitCode.USAGE
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"error: {answer}"
    assert lines[1].startswith("  help: `assay ")


@pytest.mark.parametrize(
    ("returned", "code"), [(None, 0), (ExitCode.PASS, 0), (ExitCode.FAIL, 1), (ExitCode.INCONCLUSIVE, 4)]
)
def test_what_a_command_returns_is_the_exit_code(command, returned, code):
    command(lambda: returned)
    assert assay.run(["fake"]) == code


def test_a_command_may_leave_through_click(command):
    command(lambda: click.get_current_context().exit(4))
    assert assay.run(["fake"]) == 4


def test_an_error_is_told_with_place_finding_expectation_and_help(command, capsys):
    command(raising(UserError("no such file", where="a.yaml:3", found="'raw'", expected="a file", help="look")))
    assert assay.run(["fake"]) == ExitCode.USAGE
    assert capsys.readouterr().err.splitlines() == [
        "error: no such file",
        "  --> a.yaml:3",
        "  found 'raw'",
        "  expected a file",
        "  help: look",
    ]


def test_all_problems_of_a_config_are_told(command, capsys):
    command(raising(ConfigError([Problem("one"), Problem("two")])))
    assert assay.run(["fake"]) == ExitCode.USAGE
    assert capsys.readouterr().err.splitlines() == ["error: one", "error: two"]


def test_lost_rows_are_our_bug(command):
    command(raising(ConservationError("curate", 3, 1, 1)))
    assert assay.run(["fake"]) == ExitCode.BUG


def test_a_value_can_neither_steer_the_terminal_nor_pose_as_a_message(command, capsys):
    command(
        raising(UserError("bad row \x1b[2J", found="x\nerror: all is lost\n  help: run this\x07\u202e", where="a\rb"))
    )
    assert assay.run(["fake"]) == ExitCode.USAGE
    lines = capsys.readouterr().err.split("\n")
    assert lines == [
        r"error: bad row \x1b[2J",
        r"  --> a\rb",
        "  found x",
        "            error: all is lost",
        r"            help: run this\x07\u202e",
        "",
    ]


def test_an_interruption_is_130_and_says_what_is_kept(command, capsys):
    command(raising(KeyboardInterrupt()))
    assert assay.run(["fake"]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "\ninterrupted: finished results are kept, nothing half-written was published\n"


def test_a_bug_leaves_a_report_in_the_current_folder(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command(raising(ZeroDivisionError("of a row \x1b[2J")))
    assert assay.run(["fake"]) == ExitCode.BUG
    [report] = tmp_path.iterdir()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: this is a bug in assay"
    assert lines[1] == f"  --> {report}"
    assert lines[2] == r"  found ZeroDivisionError: of a row \x1b[2J"
    text = report.read_text()
    assert text.splitlines()[1] == "command: assay fake"
    assert "Traceback (most recent call last):" in text
    assert "\x1b" not in text


def test_a_bug_report_goes_elsewhere_when_the_current_folder_refuses_it(command, capsys, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    real = Path.write_text

    def write(path: Path, text: str, **settings: str) -> int:
        if path.parent.name == "gone":
            raise PermissionError(13, "Permission denied")
        return real(path, text, **settings)

    monkeypatch.setattr(Path, "write_text", write)
    command(raising(RuntimeError("boom")))
    assert assay.run(["fake"]) == ExitCode.BUG
    [report] = (tmp_path / "temporary").iterdir()
    assert f"--> {report}" in capsys.readouterr().err


def test_a_package_that_is_not_installed_is_no_bug(command, capsys):
    command(raising(ModuleNotFoundError("No module named 'torch'", name="torch.cuda")))
    assert assay.run(["fake"]) == ExitCode.USAGE
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "error: this command needs the package 'torch.cuda', which is not installed"


def test_a_missing_module_of_ours_is_a_bug(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command(raising(ModuleNotFoundError("No module named 'evals.gone'", name="evals.gone")))
    assert assay.run(["fake"]) == ExitCode.BUG


@pytest.mark.parametrize("content", [None, "", '__distribution__ = "evals"\n', "raise SystemExit('executed')\n"])
def test_a_room_of_another_distribution_stops_with_its_path_and_is_not_executed(tmp_path, content):
    stranger = tmp_path / "evals"
    stranger.mkdir()
    if content is not None:
        (stranger / "__init__.py").write_text(content)
    done = subprocess.run(
        [sys.executable, "-c", "import assay; assay.main()", "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}" if content is not None else f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if content is None:  # a folder without __init__.py never hides a package
        assert done.returncode == 0
        return
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.splitlines()[:2] == [
        "error: the package `evals` that Python would import is not assay's",
        f"  --> {stranger / '__init__.py'}",
    ]


def test_a_script_of_the_user_that_hides_a_room_is_named(tmp_path):
    (tmp_path / "train.py").write_text("print('my own training')\n")
    done = subprocess.run(
        [sys.executable, "-c", "import assay; assay.main()", "doctor"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.USAGE
    assert f"--> {tmp_path / 'train.py'}" in done.stderr
    assert done.stdout == ""


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    script = f"{sys.executable} {ROOT / 'assay.py'} --help 2> {tmp_path}/err | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("0", str(assay.BROKEN_PIPE))
    assert (tmp_path / "err").read_text() == ""


def test_output_that_cannot_be_written_is_an_error(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, str(ROOT / "assay.py"), "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.splitlines()[0] == "error: the disk is full"


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_and_only_where_they_are_wanted(tmp_path, environment, coloured):
    plain = run_process("trian", cwd=tmp_path, **environment)
    assert "\x1b" not in plain.stderr
    command = f"{sys.executable} {ROOT / 'assay.py'} trian"
    clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | environment
    shown = subprocess.run(
        ["script", "-qec", command, "/dev/null"], env=clean, capture_output=True, text=True, check=False
    )
    assert "There is no command" in shown.stdout
    assert ("\x1b[31m" in shown.stdout) is coloured


def test_names_that_are_no_text_are_escaped_and_no_crash(tmp_path):
    done = run_process(os.fsdecode(b"t\xffst"), cwd=tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.splitlines()[0] == r"error: There is no command `t\udcffst`."


def test_a_row_with_a_lone_surrogate_is_escaped_on_output_and_no_crash(tmp_path):
    lines = (
        "import assay, click, sys, types",
        "command = click.Command('fake', callback=lambda: click.echo('\\ud800'))",
        "sys.modules['fake'] = types.SimpleNamespace(fake=command)",
        "assay.COMMANDS['fake'] = assay.Entry('Start', 'fake:fake', '')",
        "sys.argv = ['assay', 'fake']; assay.main()",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "\\ud800\n", "")


@pytest.mark.parametrize(("asked", "code"), [("SIGINT", ExitCode.INTERRUPTED), ("SIGTERM", ExitCode.TERMINATED)])
def test_a_process_that_is_asked_to_end_says_so_in_one_line(tmp_path, asked, code):
    script = f"import assay, os, signal; assay.check_rooms = lambda: os.kill(os.getpid(), signal.{asked}); assay.main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert done.stderr == "\ninterrupted: finished results are kept, nothing half-written was published\n"
