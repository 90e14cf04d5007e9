"""What an audit found and does not count: known from a baseline, waived for a reason, or ignored in its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Notice:
    """Something about the baseline or a waiver that a person should know."""

    text: str
    """One sentence, without anything that rows hold."""
    path: str = ""
    line: int | None = None

    @property
    def where(self) -> str:
        """`file:line`, the file alone, or nothing."""
        return f"{self.path}:{self.line}" if self.line is not None else self.path


@dataclass(frozen=True)
class SetAside:
    """How many findings do not count, and why."""

    baseline: str | None = None
    """The file, as the user named it."""
    covered: int = 0
    """Findings that the baseline knows."""
    gone: int = 0
    """Entries of the baseline that no longer occur; 0 where only a part of its files or rules was looked at."""
    written: int | None = None
    """Entries that were written to the baseline; null if it was only read."""
    waived: int = 0
    ignored: int = 0
    """Findings in files for which their rule is ignored."""
    notices: tuple[Notice, ...] = ()

    @property
    def total(self) -> int:
        """Findings that do not count."""
        return self.covered + self.waived + self.ignored

    def as_json(self) -> dict[str, Any]:
        """What `stats` of the JSON format says of it."""
        baseline = None
        if self.baseline is not None:
            baseline = {"path": self.baseline, "covered": self.covered, "gone": self.gone}
        notices = [{"text": notice.text, "path": notice.path, "line": notice.line} for notice in self.notices]
        return {"baseline": baseline, "waived": self.waived, "ignored": self.ignored, "notices": notices}


NOTHING = SetAside()
"""Every finding counts."""
