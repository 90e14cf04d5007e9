"""Eval items as an index that may be published: what it finds, and what it tells nobody."""

import hashlib
import json
import os
import re
import subprocess
import sys
import zlib

import numpy as np
import orjson
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given
from hypothesis import strategies as st

import assay
from curate.contamination.index import build_index, hash_runs
from curate.contamination.items import eval_items
from curate.contamination.seal import WrongKeyError, seal, unseal
from curate.contamination.store import (
    SCHEME,
    TOKENIZER,
    add_evals,
    build_evals,
    eval_format,
    load_index,
    make_key,
    read_key,
    save_index,
)
from curate.contamination.verdicts import Grade, contamination
from schemas.errors import ExitCode, UserError
from tests.curate.made_rows import chat, corpus_from, distinct_rows, make_project, write_rows
from tests.curate.test_contamination import CHOICE_ITEM, ITEM, QUESTION_TEXT, SHORT, SOLUTION, same

KEY = (1, 2)
ITEMS = (ITEM, SHORT, CHOICE_ITEM)


def items_of(*evals):
    return list(eval_items(corpus_from(*evals)))


# ------------------------------------------------------------------------------------------------------- keyed hashes


def sip(data: bytes, key: tuple[int, int], rounds: tuple[int, int]) -> int:
    """SipHash-c-d as its paper has it, for messages of any length; nothing of it is shared with the product."""
    mask = (1 << 64) - 1

    def rotated(value, by):
        return (value << by | value >> 64 - by) & mask

    def round_(v):
        v0, v1, v2, v3 = v
        v0 = (v0 + v1) & mask
        v1 = rotated(v1, 13) ^ v0
        v0 = rotated(v0, 32)
        v2 = (v2 + v3) & mask
        v3 = rotated(v3, 16) ^ v2
        v0 = (v0 + v3) & mask
        v3 = rotated(v3, 21) ^ v0
        v2 = (v2 + v1) & mask
        v1 = rotated(v1, 17) ^ v2
        return v0, v1, rotated(v2, 32), v3

    v = (
        key[0] ^ 0x736F6D6570736575,
        key[1] ^ 0x646F72616E646F6D,
        key[0] ^ 0x6C7967656E657261,
        key[1] ^ 0x7465646279746573,
    )
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v = (v[0], v[1], v[2], v[3] ^ word)
        for _ in range(rounds[0]):
            v = round_(v)
        v = (v[0] ^ word, v[1], v[2], v[3])
    v = (v[0], v[1], v[2] ^ 0xFF, v[3])
    for _ in range(rounds[1]):
        v = round_(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def test_the_reference_is_python_s_own_siphash():
    """Python hashes bytes with SipHash-1-3, under a key of zeros where PYTHONHASHSEED is 0."""
    assert sys.hash_info.algorithm == "siphash13"
    messages = [bytes(range(n)) for n in range(1, 40)]
    code = f"print([hash(message) for message in {messages!r}])"
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert [value % (1 << 64) for value in json.loads(done.stdout)] == [sip(data, (0, 0), (1, 3)) for data in messages]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.tuples(*[st.integers(0, 2**64 - 1)] * 2))
def test_runs_are_hashed_with_siphash_2_4(words, key):
    data = np.array(words, dtype=np.uint64)
    found = hash_runs(data, np.zeros(1, np.int64), np.array([len(words)]), np.array(key, dtype=np.uint64))
    assert int(found[0]) == sip(data.tobytes(), key, (2, 4))


def test_the_reference_s_own_test_vector():
    key = int.from_bytes(bytes(range(8)), "little"), int.from_bytes(bytes(range(8, 16)), "little")
    assert sip(bytes(range(15)), key, (2, 4)) == 0xA129CA6149BE45E5


@given(st.binary(min_size=1, max_size=300), st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_sealed_bytes_come_back_with_their_key_only(data, key, other):
    sealed = seal(data, key)
    assert unseal(sealed, key) == data
    assert sealed == seal(data, key)
    changed = bytes([sealed[0] ^ 1]) + sealed[1:]
    for wrong in ((changed, key), (sealed[:-1], key), *([(sealed, other)] if other != key else [])):
        with pytest.raises(WrongKeyError):
            unseal(*wrong)


def test_the_cipher_is_aes_siv():
    """Appendix A.1 of RFC 5297."""
    key = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    beside = bytes.fromhex("101112131415161718191a1b1c1d1e1f2021222324252627")
    sealed = bytes.fromhex("85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c")
    assert AESSIV(key).encrypt(bytes.fromhex("112233445566778899aabbccddee"), [beside]) == sealed


# ----------------------------------------------------------------------------------------------------------- the index


@pytest.mark.parametrize("key", [None, KEY])
def test_a_saved_index_is_the_index_and_equal_indexes_are_equal_files(tmp_path, key):
    index = build_index(items_of(*ITEMS), key or (0, 0))
    for name in "ab":
        save_index(tmp_path / name, index)
    files = [sorted((p.name, p.read_bytes()) for p in (tmp_path / n).rglob("*") if p.is_file()) for n in "ab"]
    assert files[0] == files[1]
    loaded = load_index(tmp_path / "a", key)
    if key is None:
        assert same(loaded, index)
    else:
        assert loaded.items.drop("row_id").equals(index.items.drop("row_id"))
        assert np.array_equal(loaded.grams, index.grams)


@pytest.mark.parametrize("key", [None, KEY])
def test_adding_is_building_from_all(tmp_path, key):
    items = items_of(*distinct_rows(10), *ITEMS)
    build_evals(tmp_path / "whole", items, key)
    build_evals(tmp_path / "grown", items[:4], key)
    add_evals(tmp_path / "grown", items[4:9], key)
    header = add_evals(tmp_path / "grown", items[2:], key)
    assert header.counts["items"] == len(items), "items that are there already are left out"
    assert len(header.segments) == 3
    assert same(load_index(tmp_path / "grown", key), load_index(tmp_path / "whole", key))
    assert add_evals(tmp_path / "grown", items, key).segments == header.segments


def test_a_keyed_index_finds_what_a_bare_one_finds(tmp_path):
    key = make_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    build_evals(tmp_path / "keyed", items_of(*ITEMS), key)
    build_evals(tmp_path / "bare", items_of(*ITEMS), None)
    rows = corpus_from(chat(QUESTION_TEXT, SOLUTION), chat("What is 7 times 8?", "56"), *distinct_rows(5))
    keyed = load_index(tmp_path / "keyed", read_key(tmp_path / "key"))
    bare = load_index(tmp_path / "bare")
    assert contamination(rows, keyed.telling)[0] == contamination(rows, bare.telling)[0]
    assert [v.grade for v in contamination(rows, keyed.telling)[0]] == [Grade.BOTH] * 2
    assert not set(keyed.grams.tolist()) & set(bare.grams.tolist())
    assert not set(keyed.seg_hash.tolist()) & set(bare.seg_hash.tolist())
    assert (keyed.prints == bare.prints).mean() < 0.1
    assert not set(keyed.items["row_id"]) & set(bare.items["row_id"])


def probes_of(item):
    """Everything that somebody who has an item could look for: its words, and digests of any of its texts."""
    texts = [text for value in item.values() for text in (value if isinstance(value, list) else [str(value)])]
    texts += [text.lower() for text in texts] + [json.dumps(item), orjson.dumps(item).decode()]
    for text in texts:
        for word in re.findall(r"\w{5,}", text):
            yield word.encode()
        for data in (text.encode(), text.encode() + b"\n"):
            for name in ("md5", "sha1", "sha256", "blake2b", "blake2s"):
                digest = hashlib.new(name, data).digest()
                yield from (digest[:8], digest.hex()[:16].encode())


def test_a_keyed_index_holds_nothing_that_can_be_probed_without_the_key(tmp_path, capsys):
    write_rows(tmp_path / "private_set.jsonl", list(ITEMS))
    command = ["index", "build", "--kind", "contamination", str(tmp_path / "private_set.jsonl"), "--quiet"]
    assert assay.run([*command, "--out", str(tmp_path / "bare")]) == ExitCode.PASS
    keyed = [*command, "--out", str(tmp_path / "keyed"), "--keyed", "--key-file", str(tmp_path / "key")]
    assert assay.run(keyed) == ExitCode.PASS
    capsys.readouterr()
    published = b"\n".join(path.read_bytes() for path in (tmp_path / "keyed").rglob("*") if path.is_file())
    for own in (SCHEME, TOKENIZER):  # what the header says of every index
        published = published.replace(own.encode(), b"")
    secret = (tmp_path / "key").read_text().strip()
    bare = build_index(items_of(*ITEMS))
    hidden = [probe for item in ITEMS for probe in probes_of(item)]
    hidden += [b"private_set", secret.encode(), bytes.fromhex(secret), bytes.fromhex(secret)[::-1], b"PAR1", b"NUMPY"]
    hidden += [row_id[:16].encode() for row_id in bare.items["row_id"]]
    hidden += [value.tobytes() for array in (bare.grams, bare.seg_hash) for value in array]
    hidden += [bare.numbers[:24].tobytes(), bare.seg_begin[:3].tobytes()]
    assert [probe for probe in hidden if probe in published or probe.lower() in published] == []
    assert len(hidden) > 300
    # Nor can the sealed file be compressed, as it could if anything of its structure showed.
    sealed = (tmp_path / "keyed" / "segment-000001" / "evals.sealed").read_bytes()
    assert len(zlib.compress(sealed, 9)) >= len(sealed)


def test_a_missing_and_a_wrong_key_are_told_apart(tmp_path):
    build_evals(tmp_path / "i", items_of(*ITEMS), KEY)
    before = sorted(path.name for path in (tmp_path / "i").iterdir())
    for key, said in ((None, "no key was given"), ((1, 3), "not the key")):
        with pytest.raises(UserError, match=said) as caught:
            load_index(tmp_path / "i", key)
        assert caught.value.problems[0].help
        with pytest.raises(UserError, match=said):
            add_evals(tmp_path / "i", items_of(ITEM), key)
    assert sorted(path.name for path in (tmp_path / "i").iterdir()) == before
    build_evals(tmp_path / "bare", items_of(*ITEMS), None)
    assert load_index(tmp_path / "bare", KEY).key == (0, 0), "a key that nobody needs does no harm"


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "empty"])
@pytest.mark.parametrize("name", ["index-000001.json", "segment-000001/evals.zip"])
def test_a_damaged_index_is_refused(tmp_path, damage, name):
    build_evals(tmp_path / "i", items_of(*ITEMS), None)
    path = tmp_path / "i" / name
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 0x01
    path.write_bytes({"cut": data[: len(data) // 2], "flip": data, "text": b"hello", "empty": b""}[damage])
    with pytest.raises(UserError, match=r"damaged|not read this index"):
        load_index(tmp_path / "i")


def test_hashing_in_another_way_is_a_mismatch(tmp_path, monkeypatch):
    build_evals(tmp_path / "i", items_of(ITEM), None)
    other = eval_format(False).model_copy(update={"probe": "0" * 64})
    monkeypatch.setattr("curate.contamination.store.eval_format", lambda keyed: other)
    with pytest.raises(UserError, match="made in another way"):
        load_index(tmp_path / "i")


def test_keys_are_32_hexadecimal_digits(tmp_path, monkeypatch):
    for text in ("hello", "0" * 32, "0" * 31, ""):
        (tmp_path / "key").write_text(text)
        with pytest.raises(UserError, match="no key"):
            read_key(tmp_path / "key")
    monkeypatch.setenv("ASSAY_INDEX_KEY", "00000000000000010000000000000002")
    assert read_key(None) == (1, 2)
    monkeypatch.delenv("ASSAY_INDEX_KEY")
    assert read_key(None) is None


# -------------------------------------------------------------------------------------------------------- the commands


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASSAY_INDEX_KEY", raising=False)
    write_rows(tmp_path / "evals.jsonl", list(ITEMS))
    write_rows(tmp_path / "dirty.jsonl", [*distinct_rows(30), chat(f"Well: {QUESTION_TEXT}", SOLUTION)])
    write_rows(tmp_path / "clean.jsonl", distinct_rows(30))
    write_rows(tmp_path / "empty.jsonl", [])
    return tmp_path


BUILD = ["index", "build", "--kind", "contamination", "--quiet"]


def test_query_is_1_for_a_hit_0_for_none_and_4_for_nothing_scanned(folder, capsys):
    assert assay.run([*BUILD, "evals.jsonl", "--out", "i", "--keyed", "--key-file", "k"]) == ExitCode.PASS
    query = ["index", "query", "i", "--key-file", "k", "--format", "json"]
    capsys.readouterr()
    assert assay.run([*query, "dirty.jsonl"]) == ExitCode.FAIL
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["code"], finding["line"], finding["evidence"]["twin"]["path"]) == ("LEK401", 31, "evals.jsonl")
    assert assay.run([*query, "clean.jsonl"]) == ExitCode.PASS
    assert assay.run([*query, "empty.jsonl"]) == ExitCode.INCONCLUSIVE
    (folder / "broken.jsonl").write_bytes((folder / "clean.jsonl").read_bytes() + b"{]\n")
    assert assay.run([*query, "broken.jsonl"]) == ExitCode.INCONCLUSIVE
    assert "1 rows cannot be read" in capsys.readouterr().err
    assert assay.run([*query, "broken.jsonl", "dirty.jsonl"]) == ExitCode.FAIL
    assert assay.run(["index", "query", "i", "dirty.jsonl"]) == ExitCode.USAGE


def test_an_index_of_nothing_is_not_made(folder, capsys):
    write_rows(folder / "wordless.jsonl", [{"question": "?!", "answer": "7"}])
    for name in ("empty.jsonl", "wordless.jsonl"):
        command = [*BUILD, name, "--out", "i", "--keyed", "--key-file", "k"]
        assert assay.run(command) == ExitCode.INCONCLUSIVE
        assert "no eval item to look for" in capsys.readouterr().err
        assert not (folder / "i").exists()
        assert not (folder / "k").exists()


def test_keys_that_do_not_fit_the_command_are_refused(folder, capsys):
    cases = {
        "a keyed index needs a key": ["--keyed"],
        "would lie in the index": ["--keyed", "--key-file", "i/k"],
        "--keyed is not": ["--key-file", "k"],
        "is for indexes of the kind duplicates": ["--exact-only"],
    }
    for said, flags in cases.items():
        assert assay.run([*BUILD, "evals.jsonl", "--out", "i", *flags]) == ExitCode.USAGE
        assert said in capsys.readouterr().err
        assert not (folder / "i").exists()


def test_an_audit_and_a_curation_with_an_index_find_what_they_find_with_the_items(folder, capsys):
    assert assay.run([*BUILD, "evals.jsonl", "--out", "i", "--keyed", "--key-file", "k"]) == ExitCode.PASS
    capsys.readouterr()

    def found(*flags):
        assay.run(["audit", "dirty.jsonl", "--select", "contamination", "--format", "json", *flags])
        findings = json.loads(capsys.readouterr().out)["findings"]
        return [(finding["code"], finding["row"], finding["evidence"]["scores"]) for finding in findings]

    assert found("--index", "i", "--key-file", "k") == found("--against", "evals.jsonl")
    assert [code for code, *_ in found("--index", "i", "--key-file", "k")] == ["LEK401"]
    assert found("--index", "i", "--key-file", "k", "--against", "clean.jsonl")[0][0] == "LEK401", "both are looked for"

    rows = [*distinct_rows(40), chat(f"Well: {QUESTION_TEXT}", SOLUTION)]
    project = make_project(folder / "p", rows, data={"sources": ["rows.jsonl"], "index": ["../i"]})
    assert assay.run(["curate", str(project.path), "--quiet"]) == ExitCode.USAGE
    assert "no key was given" in capsys.readouterr().err
    assert assay.run(["curate", str(project.path), "--quiet", "--key-file", "k"]) == ExitCode.PASS
    manifest = capsys.readouterr().out.strip()
    ledger = json.loads((folder / manifest).with_name("ledger.json").read_bytes())
    assert ledger["by_rule"]["LEK401"] == 1
    assert ledger["rows_in"] == ledger["rows_kept"] + ledger["rows_dropped"] == 41
    steps = ["schema", "exact-duplicate"]
    assert assay.run(["curate", str(project.path), "--set", f"curate.steps={steps}", "--key-file", "k"]) == 2
    assert "no step looks for them" in capsys.readouterr().err


def test_the_data_gate_asks_the_index_too(folder, capsys):
    rows = [*distinct_rows(300), chat(f"Well: {QUESTION_TEXT}", SOLUTION)]
    build = [*BUILD, "evals.jsonl", "--out", "i"]
    assert assay.run(build) == ExitCode.PASS
    project = make_project(folder / "p", rows, data={"sources": ["rows.jsonl"], "index": ["../i"]})
    action = "curate.rules={contamination: {action: keep}}"
    assert assay.run(["curate", str(project.path), "--quiet", "--set", action]) == ExitCode.PASS
    dataset = capsys.readouterr().out.strip().splitlines()[-1]
    assert assay.run(["gate", "data", str(project.path), "--set", action, "--format", "json"]) == ExitCode.FAIL, dataset
    told = json.loads(capsys.readouterr().out)
    (check,) = [check for check in told["checks"] if check["name"] == "contamination"]
    assert (check["outcome"], check["measured"]["eval_rows_by_rule"]) == ("fail", {"LEK401": 1})
