"""Instruction and response in the layouts that people have, as the fields that the judge reads.

messages    [{"role": "user", "content": ...}, ..., {"role": "assistant", "content": ...}]
the last assistant's turn is the response, what stands before it the instruction
Alpaca      instruction, input (may be empty), output
any other   fields={"response": "answer"}: the field `answer` is read as the response
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lager_onnx.models.errors import RecordError
from lager_onnx.models.values import as_text, is_missing, names, text_field, visible

Record = Mapping[str, Any]


def as_judged(record: Record, fields: Mapping[str, str] | None = None) -> Record:
    """A record with the fields that the judge reads; its own stay as they are.

    Args:
        record: in one of the layouts above, or with `instruction` and `response` already.
        fields: which field holds what the judge reads.

    Raises:
        RecordError: a named field is not there, or the messages end with no assistant's turn.
    """
    if fields:
        if lost := [theirs for theirs in fields.values() if theirs not in record]:
            raise RecordError(f"field {names(lost)} is missing; the record has {names(record)}")
        record = {**record, **{ours: record[theirs] for ours, theirs in fields.items()}}
    if not is_missing(record.get("response")) or not is_missing(record.get("prompt")):
        return record
    messages = record.get("messages")
    if isinstance(messages, Sequence) and not isinstance(messages, str) and messages:
        return {**record, **_of_messages(messages)}
    if not is_missing(record.get("output")) and not is_missing(record.get("instruction")):
        task = [text_field(record, "instruction"), text_field(record, "input", optional=True)]
        return {**record, "instruction": "\n\n".join(filter(None, task)), "response": record["output"]}
    return record


def _of_messages(messages: Sequence[Any]) -> dict[str, str]:
    turns = [_turn(message, number) for number, message in enumerate(messages)]
    *before, (role, response) = turns
    if role != "assistant" or not before:
        raise RecordError(
            f"field 'messages' ends with a turn of {visible(role)} behind {len(before)} others: the last turn must be "
            "the assistant's, which is graded, behind at least one"
        )
    if len(before) == 1:
        return {"instruction": before[0][1], "response": response}
    return {"instruction": "\n\n".join(f"{role}: {text}" for role, text in before), "response": response}


def _turn(message: Any, number: int) -> tuple[str, str]:
    """Role and text of a message, whose content may be a list of parts."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise RecordError(f"message {number} of field 'messages' is no object with role and content")
    content = message.get("content")
    if isinstance(content, list | tuple):
        texts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        content = "\n\n".join(as_text(text, f"messages[{number}].content") for text in texts if not is_missing(text))
    return message["role"], "" if is_missing(content) else as_text(content, f"messages[{number}].content")
