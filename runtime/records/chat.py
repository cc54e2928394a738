"""Instruction and response of a chat's messages."""

from collections.abc import Mapping, Sequence
from typing import Any

from lager_onnx.models.errors import RecordError
from lager_onnx.models.values import as_text, is_missing, visible
from lager_onnx.runtime.records.json_text import loads, names_twice
from lager_onnx.runtime.records.record import Record


def with_messages(record: Record) -> Record:
    """Return the record with its `messages` as a list, also where a cell holds them as JSON text.

    Raises:
        RecordError: they are neither, or hold an object that has a field twice.
    """
    messages = record.get("messages")
    if is_missing(messages) or isinstance(messages, list):
        return record
    if not isinstance(messages, str):
        raise RecordError(f"field 'messages' is {type(messages).__name__}, not a list of messages")
    try:
        found = loads(messages)
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"field 'messages' is text that is no JSON list ({error}): write it as JSON, such as "
            '[{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]'
        ) from error
    if (twice := names_twice(found)) is not None:
        raise twice.at("field 'messages'")
    if found is not None and not isinstance(found, list):
        raise RecordError(f"field 'messages' is text that is no JSON list but {type(found).__name__}")
    return record.with_fields(messages=found)


def instruction_and_response(messages: Sequence[Any]) -> tuple[str, str]:
    """Return the turns before the last one as text, and the last one, which is the assistant's.

    A turn without text, such as one that only calls tools, has nothing to read and is passed over.

    Raises:
        RecordError: a message has another form, or the last one is not the assistant's.
    """
    turns = [_turn(message, number) for number, message in enumerate(messages)]
    *before, (role, response) = turns
    if role != "assistant" or not before:
        raise RecordError(
            f"field 'messages' ends with a turn of {visible(role)} after {len(before)} others: the last turn must be "
            "the assistant's, which is graded, after at least one"
        )
    before = [(role, text) for role, text in before if text] or before
    if len(before) == 1:
        return before[0][1], response
    return "\n\n".join(f"{role}: {text}" for role, text in before), response


def _turn(message: Any, number: int) -> tuple[str, str]:
    """Return role and text of a message, whose content may be null, or a list of parts."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise RecordError(f"message {number} of field 'messages' is no object with role and content")
    content = message.get("content")
    if isinstance(content, list | tuple):
        texts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        content = "\n\n".join(as_text(text, f"messages[{number}].content") for text in texts if not is_missing(text))
    return message["role"], "" if is_missing(content) else as_text(content, f"messages[{number}].content")
