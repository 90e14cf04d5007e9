"""Signatures with local keys: what is covered, and every way in which they do not hold."""

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

import assay
from evals.release.run import Wish
from evals.release.signing import PASSWORD, read_key, read_public_key, signature_problem
from schemas.errors import ExitCode, UserError
from schemas.release import Release
from tests.evals.release.made_release import resign


def make_key(folder: Path, name: str = "key", password: bytes | None = None, key=None) -> tuple[Path, Path]:
    """A private and a public key as PEM files."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    hidden = BestAvailableEncryption(password) if password else NoEncryption()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def signed(made, tmp_path):
    """A signed release and the public key."""
    private, public = make_key(tmp_path)
    return made.release(Wish(key=read_key(private))), public


def test_a_signed_release_names_its_key_and_holds(signed, capsys):
    done, public = signed
    said = Release.model_validate_json((done.folder / "release.json").read_bytes())
    assert said.signed_by == read_public_key(public)
    assert "model.sig" in {file.path for file in done.manifest.files}
    assert signature_problem(done.folder, public) == ""
    assert assay.run(["verify", str(done.folder), "--public-key", str(public)]) == ExitCode.PASS
    assert f"the signature is by {public}" in capsys.readouterr().out


def test_without_a_key_verify_says_whether_there_is_a_signature(signed, made, capsys):
    assert assay.run(["verify", str(signed[0].folder)]) == ExitCode.PASS
    assert ": signed: `assay verify --public-key KEY` checks by whom (model.sig)" in capsys.readouterr().out
    assert assay.run(["verify", str(made.release().folder)]) == ExitCode.PASS
    assert ": not signed" in capsys.readouterr().out


def test_another_key_is_no_signer(signed, tmp_path, capsys):
    _, other = make_key(tmp_path, "other")
    assert assay.run(["verify", str(signed[0].folder), "--public-key", str(other)]) == ExitCode.FAIL
    assert "model.sig: the signature does not hold: Key mismatch" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["merged/a.bin", "adapter/README.md", "release.json", "bom.cdx.json", "Modelfile"])
def test_a_forger_who_rewrites_the_manifest_too_is_found(signed, capsys, name):
    done, public = signed
    (done.folder / name).write_bytes(b"forged")
    resign(done.folder)
    assert assay.run(["verify", str(done.folder), "--public-key", str(public)]) == ExitCode.FAIL
    assert f"model.sig: these files are not those that were signed: {name} changed" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["extra.bin", ".gitignore", ".git/config"])
def test_a_file_that_was_put_in_is_found(signed, name):
    done, public = signed
    (done.folder / name).parent.mkdir(exist_ok=True)
    (done.folder / name).write_bytes(b"more")
    problem = signature_problem(done.folder, public)
    assert problem == f"these files are not those that were signed: {name} put in"


def test_a_file_that_was_taken_out_is_found(signed):
    done, public = signed
    (done.folder / "Modelfile").unlink()
    assert signature_problem(done.folder, public).endswith("signed: Modelfile missing")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"verificationMaterial": 1}', b"[" * 100_000])
def test_a_broken_signature_is_an_answer(signed, content):
    done, public = signed
    (done.folder / "model.sig").write_bytes(content)
    assert signature_problem(done.folder, public).startswith("the signature does not hold: ")


def test_a_missing_signature_is_found(signed, made, capsys):
    done, public = signed
    (done.folder / "model.sig").unlink()
    resign(done.folder)
    assert assay.run(["verify", str(done.folder)]) == ExitCode.FAIL
    assert "release.json says that it is signed, and there is no model.sig" in capsys.readouterr().out
    assert signature_problem(made.release().folder, public) == "the release is not signed"


def test_the_folder_may_have_another_name(signed, tmp_path):
    done, public = signed
    shutil.copytree(done.folder, tmp_path / "renamed")
    assert signature_problem(tmp_path / "renamed", public) == ""


# ------------------------------------------------------------------------------------------------------------ bad input


def test_an_encrypted_key_takes_its_password_from_the_environment(made, tmp_path, monkeypatch):
    private, public = make_key(tmp_path, password=b"open sesame")
    with pytest.raises(UserError) as caught:
        read_key(private)
    assert caught.value.problems[0].found == "an encrypted key without a password"
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(UserError, match="the signing key cannot be read"):
        read_key(private)
    monkeypatch.setenv(PASSWORD, "open sesame")
    done = made.release(Wish(key=read_key(private)))
    assert signature_problem(done.folder, public) == ""


def test_a_password_for_an_open_key_is_said(tmp_path, monkeypatch):
    private, _ = make_key(tmp_path)
    monkeypatch.setenv(PASSWORD, "x")
    with pytest.raises(UserError) as caught:
        read_key(private)
    assert caught.value.problems[0].found == "a password for a key that is not encrypted"


def test_keys_that_cannot_sign_are_refused(tmp_path):
    private, public = make_key(tmp_path, "ed", key=ed25519.Ed25519PrivateKey.generate())
    for read, path in ((read_key, private), (read_public_key, public)):
        with pytest.raises(UserError, match="this kind of key does not sign releases"):
            read(path)
    private, _ = make_key(tmp_path, "koblitz", key=ec.generate_private_key(ec.SECP256K1()))
    with pytest.raises(UserError) as caught:
        read_key(private)
    assert caught.value.problems[0].found == "secp256k1"


def test_files_that_are_no_keys_are_refused(tmp_path):
    private, public = make_key(tmp_path)
    with pytest.raises(UserError, match="the signing key cannot be opened"):
        read_key(tmp_path / "none.pem")
    with pytest.raises(UserError, match="the signing key cannot be read"):
        read_key(public)
    with pytest.raises(UserError, match="the public key cannot be read"):
        read_public_key(private)


def test_only_a_release_has_a_signature(made, tmp_path, capsys):
    _, public = make_key(tmp_path)
    assert assay.run(["verify", str(made.chain.verdict.folder), "--public-key", str(public)]) == ExitCode.USAGE
    assert "only a release can be signed" in capsys.readouterr().err
