"""What a column of a record may hold, by its name: for messages only, since nothing is read on a guess."""

import re
from collections.abc import Mapping
from typing import Any, Final

# Columns about a record, or about its grade: nobody expects the judge to read them.
_ABOUT: Final = re.compile(
    r"((reference|gold|correct|expected|ideal).*|prompt"
    r"|(.*[_ -])?(context|rubric|criterion|criteria|feedback|ids?|idx|index|uuid|key|name|group|labels?|score|rating"
    r"|rank|grade|source|split|subset|dataset|category|type|kind|model|judge|annotator|author|user|languages?|lang|locale"
    r"|task|domain|topic|tags?|url|link|path|file|date|time|timestamp|version|hash|status|error|difficulty|levels?"
    r"|licen[cs]e|metadata|tokens|choices|score_descriptions|aspect))?",
    re.IGNORECASE,
)
# The likeliest names first.
_ASKED: Final = ("prompt", "question", "query", "user_input", "input", "task", "request")
_ANSWERED: Final = (
    "answer", "response", "output", "completion", "generation", "generated_text", "reply", "prediction", "candidate",
    "solution", "summary", "translation", "hypothesis", "text", "content",
)  # fmt: skip
_LIKELY: Final[Mapping[str, tuple[str, ...]]] = {"instruction": _ASKED, "response": _ANSWERED}


def is_about(name: str) -> bool:
    """Return whether a column's name says that it is about the record, such as an identity, a label or a reference."""
    return _ABOUT.fullmatch(name.strip()) is not None


def likely_column(field: str, columns: Mapping[str, Any]) -> str | None:
    """Return the column that most likely holds a field which is missing; None where none may.

    Args:
        field: that is missing.
        columns: of the record that are not read yet, with their cells.
    """
    texts = [name for name, value in columns.items() if isinstance(value, str) and value.strip() and name != field]
    for likely in _LIKELY.get(field, ()):
        for fits in (str.__eq__, str.endswith):
            for name in texts:
                if fits(name.strip().lower(), likely) and not name.lower().startswith(("reference", "gold", "correct")):
                    return name
    others = {each for known, likely in _LIKELY.items() if known != field for each in (known, *likely)}
    return next((name for name in texts if not is_about(name) and name.strip().lower() not in others), None)
