"""A record as it is handed through the runtime: parsed once, with what its user has named on purpose."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lager_onnx.models.errors import RecordError
from lager_onnx.models.values import is_missing, names, plain


@dataclass(frozen=True)
class Record(Mapping[str, Any]):
    """The fields that the judge may read, in plain Python. A column that is read under another name is not among them.

    Attributes:
        fields: by name.
        asked: names that the user gave on purpose, by `--field` or `fields=`.
        original: all fields of the record under their own names, for what is no judging: labels, groups, identities.
        layout: where instruction and response were found: `prompt` for a finished one, `response`, `messages` or
            `output`; "" until somebody has looked.
    """

    fields: Mapping[str, Any]
    asked: frozenset[str] = frozenset()
    original: Mapping[str, Any] = field(default_factory=dict, repr=False)
    layout: str = ""

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def everything(self) -> dict[str, Any]:
        """All fields, those under the judge's names first: what labels, groups and parts are read from."""
        return {**self.original, **self.fields}

    def has(self, name: str) -> bool:
        """Return whether a field is there and not missing."""
        return not is_missing(self.fields.get(name))

    def with_fields(self, **fields: Any) -> "Record":
        """Return the record with other values of some fields."""
        return replace(self, fields={**self.fields, **fields})

    def without(self, *lost: str) -> "Record":
        """Return the record without some fields."""
        return replace(self, fields={name: value for name, value in self.fields.items() if name not in lost})


def as_record(record: Mapping[str, Any], fields: Mapping[str, str] | None = None) -> Record:
    """Return a record under the judge's names; one that is a `Record` already stays untouched.

    Args:
        record: as a file, a table or a program gives it.
        fields: which of its fields holds what the judge reads: {"response": "answer"}. They win over fields of those
            names, and a field that is named so is read as nothing else; name it twice to read it as both.

    Raises:
        RecordError: it is no mapping, a named field is not there, or one is nested beyond reason.
    """
    if isinstance(record, Record):
        return record
    if not isinstance(record, Mapping):
        raise RecordError(f"a record must be an object with fields, not {type(record).__name__}")
    try:
        original = {name: plain(value) for name, value in record.items()}
    except RecursionError as error:
        raise RecordError("a field is nested too deeply: take it out, or flatten it") from error
    if not fields:
        return Record(original, original=original)
    if lost := [theirs for theirs in fields.values() if theirs not in original]:
        raise RecordError(f"field {names(lost)} is missing; the record has {names(original)}")
    own = {name: value for name, value in original.items() if name not in fields.values()}
    found = {**own, **{ours: original[theirs] for ours, theirs in fields.items()}}
    return Record(found, frozenset(fields), original)


def record_or_error(record: Mapping[str, Any], fields: Mapping[str, str] | None) -> Record | RecordError:
    """Return what `as_record` does, or the error that it raises."""
    try:
        return as_record(record, fields)
    except RecordError as error:
        return error


def with_criterion(record: Mapping[str, Any], criterion: str | None) -> Record:
    """Return the record as the judge sees it: graded under `criterion` where it names none itself."""
    found = as_record(record)
    if criterion and not found.has("criterion") and not found.has("rubric"):
        return found.with_fields(criterion=criterion)
    return found
