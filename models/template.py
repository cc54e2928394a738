"""Prompt templates: text files with named fields.

A template is plain text in paragraphs. `{name}` is a field that a record must have; `{name?}` one that it may
have: a paragraph with an optional field that is missing or empty is left out whole. Any field of a record can
be named. These are made for it: `{rubric}` (criterion and score descriptions), `{scale}` (all labels),
`{lowest}`, `{highest}`, `{answers}` (labels with what they stand for, a line each) and `{answer}` (the answer prefix
without its trailing space).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from lager_onnx.models.errors import RecordError, TemplateError
from lager_onnx.models.question import Question
from lager_onnx.models.rubric import Rubric, read_rubric
from lager_onnx.models.values import is_missing, text_field

_FIELD = re.compile(r"\{([A-Za-z_]\w*)(\?)?\}")
_FOLDER = files("lager_onnx.models") / "templates"
# Fields that are made for a template, not read from the record as they are.
MADE: Final = frozenset({"rubric", "scale", "lowest", "highest", "answers", "answer"})
# Fields of records that mean something by themselves; any other is a template's own.
KNOWN: Final = frozenset({
    "instruction", "response", "criterion", "rubric", "reference", "context", "feedback", "question", "text", "choices",
    "levels", "prompt", "messages", "input", "output",
})  # fmt: skip


def built_in_templates() -> list[str]:
    """Names of the templates that come with lager-onnx."""
    return sorted(entry.name[:-4] for entry in _FOLDER.iterdir() if entry.name.endswith(".txt"))


@dataclass(frozen=True)
class Template:
    """A prompt template. `name` is a built-in's name or the file that it was read from."""

    name: str
    text: str

    @classmethod
    def load(cls, name_or_file: str) -> "Template":
        """A built-in template by its name, or a user's by its path.

        Raises:
            TemplateError: neither exists, the file is not UTF-8, or it names no field.
        """
        if name_or_file in built_in_templates():
            text = (_FOLDER / f"{name_or_file}.txt").read_text(encoding="utf-8")
        else:
            try:
                text = Path(name_or_file).read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                raise TemplateError(
                    f"no template {name_or_file!r}: choose from {', '.join(built_in_templates())}, "
                    f"or give a UTF-8 text file ({error})"
                ) from error
        template = cls(name_or_file, text.strip().replace("\r\n", "\n"))
        if not template.fields - (MADE - {"rubric"}):
            raise TemplateError(f"template {name_or_file!r} names no field of a record, such as {{response}}")
        return template

    @property
    def fields(self) -> frozenset[str]:
        """Names of all fields in the text."""
        return frozenset(match[1] for match in _FIELD.finditer(self.text))

    @property
    def needed(self) -> frozenset[str]:
        """Names of the fields that a record must have, or be able to make."""
        return frozenset(name for name, optional in _FIELD.findall(self.text) if not optional)

    def fill(self, record: Mapping[str, Any], *, question: Question, answer_prefix: str) -> str:
        """The user's turn for a record: its own `prompt` where the template does not name that, else this filled.

        Values are put in as they are: braces in a response are never read as fields.

        Raises:
            RecordError: a needed field is missing or empty, or not text; or the rubric cannot be read.
        """
        finished = not is_missing(record.get("prompt")) or ("prompt" in record and "response" not in record)
        if finished and "prompt" not in self.fields:
            return text_field(record, "prompt")
        scale = question.scale
        made = {
            "rubric": _rubric(record, question) if "rubric" in self.fields else "",
            "scale": ", ".join(scale.labels),
            "lowest": scale.lowest,
            "highest": scale.highest,
            "answers": question.lines,
            "answer": answer_prefix.rstrip(),
        }
        paragraphs = []
        for paragraph in self.text.split("\n\n"):
            values: dict[str, str] = {}
            for name, optional in _FIELD.findall(paragraph):
                value = made[name] if name in made else text_field(record, name, optional=bool(optional))
                if not value and not optional:
                    raise RecordError(f"no {name}: template {self.name!r} needs a 'criterion' or a 'rubric'")
                values[name] = value
            if all(values.values()):
                paragraphs.append(_FIELD.sub(lambda match, values=values: values[match[1]], paragraph))  # type: ignore[misc]
        return "\n\n".join(paragraphs)


def _rubric(record: Mapping[str, Any], question: Question) -> str:
    rubric = read_rubric(record, question.scale)
    if question.texts:
        rubric = replace(rubric or Rubric(), descriptions=dict(zip(question.scale.labels, question.texts, strict=True)))
    return rubric.render(question.scale) if rubric else ""
