"""Instruction and response in the layouts that people have, as the fields that the judge reads.

prompt      the whole user's turn, ready made: nothing else is read
messages    [{"role": "user", "content": ...}, ..., {"role": "assistant", "content": ...}]
            the last assistant's turn is the response, the turns before it the instruction
Alpaca      instruction, input (may be empty), output
any other   fields={"response": "answer"}: the field `answer` is read as the response

What the user names on purpose wins. Without that, a record in two layouts with different texts is refused: nobody
can tell which of them is to be graded.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import RecordError
from lager_onnx.models.values import names, text_field
from lager_onnx.runtime.records.chat import instruction_and_response, with_messages
from lager_onnx.runtime.records.finished import is_finished
from lager_onnx.runtime.records.record import Record, as_record

_TURNS: Final = frozenset(("instruction", "response"))


def as_judged(
    record: Mapping[str, Any], fields: Mapping[str, str] | None = None, *, reads: Collection[str] = _TURNS
) -> Record:
    """Return a record with the fields that the judge reads; one that came out of this before stays untouched.

    Args:
        record: in one of the layouts above, or with `instruction` and `response` already.
        fields: which field holds what the judge reads.
        reads: names of the fields in the judge's template; a `prompt` or `output` that it names is no layout.

    Raises:
        RecordError: a named field is not there, the record is in several layouts, or the messages end with no
            assistant's turn.
    """
    found = as_record(record, fields)
    if found.layout:
        return found
    names_read = frozenset(reads)
    if is_finished(found, names_read):
        return replace(found, layout="prompt")
    if "prompt" not in names_read and found.has("prompt"):
        found = found.without("prompt")
    return _with_turns(found, names_read)


def as_shown(record: Mapping[str, Any]) -> Record:
    """Return what `as_judged` does under a template of instruction and response; a record that it refuses, as it is.

    For pages and groups: whether such a record can be graded depends on the judge's own template.
    """
    found = as_record(record)
    try:
        return as_judged(found)
    except RecordError:
        return found


def _with_turns(record: Record, reads: frozenset[str]) -> Record:
    """Return the record with an instruction and a response, wherever they are; as it is where it has none."""
    if reads & _TURNS and "messages" not in reads and not record.asked & {"response", "instruction", "output"}:
        record = with_messages(record)
    layouts = _layouts(record, reads) if reads & _TURNS else []
    beside = record.has("instruction") and not record.asked & {"messages"} and "instruction" in reads
    if len(layouts) > 1 or (layouts == ["messages"] and beside):
        layouts = _told_apart(record, layouts)
    if layouts == ["messages"]:
        instruction, response = instruction_and_response(record["messages"])
        return replace(record.with_fields(instruction=instruction, response=response), layout="messages")
    if layouts == ["output"]:
        instruction = record["instruction"] if "input" in reads else _with_input(record)
        return replace(record.with_fields(instruction=instruction, response=record["output"]), layout="output")
    return replace(record, layout="response")


def _layouts(record: Record, reads: frozenset[str]) -> list[str]:
    """Return which fields hold a response: `response`, `messages`, `output`; only those named on purpose, if any."""
    found = {
        "response": record.has("response"),
        "messages": "messages" not in reads and isinstance(record.get("messages"), list) and bool(record["messages"]),
        "output": "output" not in reads and record.has("output") and record.has("instruction"),
    }
    asked = [name for name in found if name in record.asked]
    if "instruction" in record.asked:
        found["messages"] = "messages" in asked
    if len(asked) > 1 or ("messages" in asked and "instruction" in record.asked):
        raise RecordError(f"{names(sorted(record.asked))} are named, and each gives what is graded: name one layout")
    return [name for name, there in found.items() if there and (name in asked or not asked)]


def _told_apart(record: Record, layouts: list[str]) -> list[str]:
    """Return the one layout of several that say the same.

    Raises:
        RecordError: they do not.
    """
    turns = {}
    for name in layouts:
        try:
            turns[name] = _turns(record, name)
        except RecordError:  # messages without an answer: the other layout has one, so the two do not say the same
            if layouts == [name]:
                raise
            turns[name] = ("", "")
    if layouts == ["messages"]:
        turns["instruction"] = text_field(record, "instruction"), turns["messages"][1]
    fullest = max(layouts, key=lambda name: len(turns[name][0]))
    instruction, response = turns[fullest]
    same = all(said.strip() == response.strip() and _is_part(asked, instruction) for asked, said in turns.values())
    if same and (response or layouts == ["messages"]):  # an empty response is refused where it is read
        return [fullest]
    raise RecordError(
        f"the record has {' and '.join(map(repr, turns))}, which say different things",
        Cure(
            command="add " + " or ".join(f"--field {name}={name}" for name in layouts),
            python="give " + " or ".join(f'fields={{"{name}": "{name}"}}' for name in layouts),
            http="send one of them, and the other under another name",
        ),
    )


def _is_part(asked: str, instruction: str) -> bool:
    """Return whether a text is the whole of an instruction, or whole turns or paragraphs of it."""
    rest = f"\n\n{instruction.strip()}\n\n"
    return not asked.strip() or any(f"{before}{asked.strip()}\n\n" in rest for before in ("\n\n", ": "))


def _turns(record: Record, layout: str) -> tuple[str, str]:
    if layout == "messages":
        return instruction_and_response(record["messages"])
    if layout == "output":
        return _with_input(record), text_field(record, "output")
    return text_field(record, "instruction", optional=True), text_field(record, "response")


def _with_input(record: Record) -> str:
    task = [text_field(record, "instruction"), text_field(record, "input", optional=True)]
    return "\n\n".join(filter(None, task))
