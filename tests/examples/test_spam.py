"""The example's rows are what its script makes, its numbers are true, and its configs are valid."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import re
import subprocess
import sys
import tarfile
from collections import Counter
from email import message_from_bytes
from pathlib import Path

import pytest

from curate.configfile import load_project

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "spam"


def script(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # NamedTuple looks its module up
    spec.loader.exec_module(module)
    return module


build = script("build")
blames_overfitting = script("blames_overfitting")


@pytest.fixture(scope="module")
def rows():
    return [json.loads(line) for line in (EXAMPLE / "raw.jsonl").read_text(encoding="utf-8").splitlines()]


def mail(*headers, body=b"", digest="d", group="easy-ham-1", number="00001"):
    return build.Mail(digest, group, number, message_from_bytes("\n".join(headers).encode("latin-1") + b"\n\n" + body))


# ------------------------------------------------------------------------------------------------------- raw.jsonl


def test_rows_are_as_many_as_the_corpus_has_mails(rows):
    assert Counter(row["metadata"]["group"] for row in rows) == {
        "easy-ham-1": 2500,
        "easy-ham-2": 1400,
        "hard-ham-1": 250,
        "spam-1": 500,
        "spam-2": 1396,
    }
    assert len({row["metadata"]["id"] for row in rows}) == len(rows) == 6046


def test_rows_fit_the_budget():
    assert (EXAMPLE / "raw.jsonl").stat().st_size <= 4_000_000


def test_every_row_has_the_same_shape(rows):
    for row in rows:
        assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]
        assert row["messages"][0]["content"] == build.TASK
        assert row["messages"][2]["content"] == row["metadata"]["label"]
        assert row["metadata"]["label"] == ("spam" if row["metadata"]["group"].startswith("spam") else "ham")


def test_readme_tells_the_truth_about_the_dirt(rows):
    texts = [row["messages"][1]["content"] for row in rows]
    found = {
        "repeat": len(texts) - len(set(texts)),
        "address": sum(re.search(r"\S+@\S+\.\w+", text) is not None for text in texts),
        "broken": sum("\ufffd" in text for text in texts),
        "empty": sum(text.endswith("\n") for text in texts),
    }
    assert found == {"repeat": 201, "address": 890, "broken": 53, "empty": 20}
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    assert [number for number in (*found.values(), "6,046", "4,150", "1,896") if str(number) not in readme] == []


def test_threads_name_at_least_two_mails_each(rows):
    sizes = Counter(row["metadata"]["thread"] for row in rows if "thread" in row["metadata"])
    assert min(sizes.values()) == 2
    assert sum(sizes.values()) == 2303


# -------------------------------------------------------------------------------------------------------- build.py


def test_subject_decodes_encoded_words():
    assert build.subject_of(mail("Subject: =?iso-8859-1?Q?caf=E9?= au  lait").message) == "café au lait"


def test_subject_that_cannot_be_decoded_stays_as_sent():
    assert build.subject_of(mail("Subject: =?iso-8859-1?B?a?= x").message) == "=?iso-8859-1?B?a?= x"


def test_missing_subject_is_empty():
    assert build.subject_of(mail("From: a").message) == ""


@pytest.mark.parametrize(
    ("charset", "text"),
    [("utf-8", "é\ufffd"), ("iso-8859-1", "Ã©\xff"), ("no-such-set", "Ã©ÿ"), (None, "Ã©ÿ"), ("us-ascii", "\ufffd" * 3)],
)
def test_bytes_outside_the_declared_set_stay_visible(charset, text):
    assert build.decode("é".encode() + b"\xff", charset) == text


def test_text_is_the_first_plain_part():
    parts = (
        b"--x\nContent-Type: text/html\n\n<p>html</p>\n"
        b"--x\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"
        + base64.b64encode(b"plain  \n text")
        + b"\n--x--\n"
    )
    assert build.text_of(mail('Content-Type: multipart/alternative; boundary="x"', body=parts).message) == "plain text"


def test_html_only_mail_gives_what_a_reader_sees():
    body = b"<html><style>p {}</style><p>Buy&nbsp;now</b></script><!-- no --><script>no</script> <b>cheap"
    assert build.text_of(mail("Content-Type: text/html", body=body).message) == "Buy now cheap"


def test_mail_without_text_gives_none():
    assert build.text_of(mail("Content-Type: image/png", body=b"png").message) == ""


def test_threads_follow_references_transitively():
    mails = [
        mail("Message-ID: <a@x>"),
        mail("Message-ID: <b@x>", "In-Reply-To: <a@x>"),
        mail("Message-ID: <c@x>", "References: <gone@x> <b@x>"),
        mail("Message-ID: <other@x>"),
        mail("Subject: no id"),
    ]
    key = hashlib.sha256(b"<a@x>").hexdigest()[:12]
    assert build.threads_of(mails) == {0: key, 1: key, 2: key}


def test_row_carries_label_and_list():
    (row,) = build.rows_of([mail("Subject: Hi", "List-Id: Talk <talk.example.org>", body=b"x" * 300, group="spam-2")])
    assert row["messages"][1]["content"] == "Subject: Hi\n" + "x" * 220
    assert row["messages"][2]["content"] == "spam"
    assert row["metadata"] == {"id": "spam-2/00001", "group": "spam-2", "label": "spam", "list": "talk.example.org"}


def archive(path, names):
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            content = b"Subject: mail\n\nbody"
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_mails_come_in_the_order_of_their_digests(tmp_path):
    names = ["package/data/spam-1/00002.ff.txt", "package/data/spam-1/00002.ff.json", "package/README.md"]
    path = archive(tmp_path / "corpus.tgz", [*names, "package/data/easy-ham-1/00001.0a.txt"])
    mails = build.read_mails(path)
    assert [(mail.digest, mail.label) for mail in mails] == [("0a", "ham"), ("ff", "spam")]


def test_another_archive_is_refused(tmp_path, monkeypatch):
    path = archive(tmp_path / "corpus.tgz", ["package/data/spam-1/00001.ff.txt"])
    monkeypatch.setattr(sys, "argv", ["build.py", str(path), "--out", str(tmp_path / "raw.jsonl")])
    with pytest.raises(SystemExit, match=f"expected {build.ARCHIVE_SHA256}"):
        build.main()
    assert not (tmp_path / "raw.jsonl").exists()
    monkeypatch.setattr(build, "ARCHIVE_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    build.main()
    assert len((tmp_path / "raw.jsonl").read_text(encoding="utf-8").splitlines()) == 1


# --------------------------------------------------------------------------------------------------------- configs


@pytest.mark.parametrize(("name", "tasks"), [("assay.yaml", ["spam_test"]), ("overfit.yaml", ["spam_test"])])
def test_configs_are_valid_and_find_the_rows(name, tasks):
    project = load_project(EXAMPLE / name)
    assert project.source_files() == (EXAMPLE / "raw.jsonl",)
    assert project.config.evals.suites == list(project.config.gates.model.tasks) == tasks


def test_overfit_differs_in_how_it_trains_not_in_what_it_is_given():
    demo, overfit = (load_project(EXAMPLE / name).config for name in ("assay.yaml", "overfit.yaml"))
    assert (demo.data, demo.curate, demo.gates.data) == (overfit.data, overfit.curate, overfit.gates.data)
    assert demo.train.base_model == overfit.train.base_model


# ------------------------------------------------------------------------------------------- blames_overfitting.py


def verdict(outcome, **checks):
    named = [{"name": name.replace("_", ":"), "outcome": found, "message": "m"} for name, found in checks.items()]
    return {"outcome": outcome, "checks": named}


@pytest.mark.parametrize(
    ("exit_code", "given", "objection"),
    [
        (1, verdict("fail", overfitting_gap="fail", task_improve="pass"), None),
        (1, verdict("fail", overfitting_gap="fail", task_improve="fail"), None),
        (1, verdict("fail", overfitting_gap="pass", task_improve="fail"), "not for overfitting: task:improve"),
        (0, verdict("pass", overfitting_gap="pass"), "exited 0 with outcome 'pass'"),
        (4, verdict("inconclusive", overfitting_gap="inconclusive"), "exited 4 with outcome 'inconclusive'"),
    ],
)
def test_only_a_failure_for_overfitting_is_expected(exit_code, given, objection):
    found = blames_overfitting.objection(exit_code, given)
    assert found is None if objection is None else objection in found


def test_script_reads_a_verdict_from_stdin():
    given = json.dumps(verdict("fail", overfitting_gap="fail"))
    command = [sys.executable, str(EXAMPLE / "blames_overfitting.py"), "1"]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    assert done.stdout == "as expected, the gate failed on overfitting:gap: m\n"
