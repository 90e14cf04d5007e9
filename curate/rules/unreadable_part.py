"""SCH132 unreadable-part."""

from __future__ import annotations

from typing import Any, ClassVar

from curate.rules.base import Example, FaultRule
from schemas.finding import Severity


def _parts(*parts: dict[str, Any]) -> Example:
    return Example(({"messages": [{"role": "user", "content": list(parts)}, {"role": "assistant", "content": "b"}]},))


class UnreadablePart(FaultRule):
    """Content with a part that is no text.

    ## What it does
    Reports content parts of another type than text (images, sound, files, refusals) and text parts without a text.

    ## Why
    A model of text never sees the part: the row asks about a picture that is not there. OpenAI takes images for its
    models that see, and refuses types that it does not know.

    ## Known problems
    For a model that takes images such rows are right, and the other rules see the text of the row only.

    ## Source
    OpenAI's API reference, content parts; Hugging Face's templates for text models.
    """

    code: ClassVar[str] = "SCH132"
    name: ClassVar[str] = "unreadable-part"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "remove the row, or put what the part says into words"
    sentence: ClassVar[str] = "the content holds what is no text: {found}"
    fires: ClassVar[tuple[Example, ...]] = (
        _parts({"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:,"}}),
        _parts({"type": "text"}),
        _parts({"type": "text", "text": 5}),
        _parts({"type": 5, "text": "a"}),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _parts({"type": "text", "text": "a"}, {"type": "text", "text": "b"}),
        _parts({"text": "a"}),
        Example.chat("image_url", "b"),
    )
