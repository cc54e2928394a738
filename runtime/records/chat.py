"""Instruction and response of a chat's messages."""

from collections.abc import Mapping, Sequence
from typing import Any

from lager_onnx.models.errors import RecordError
from lager_onnx.models.values import as_text, is_missing, visible


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
