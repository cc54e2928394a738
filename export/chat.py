"""Renders the checkpoint's chat template once, round a sentinel."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from lager_onnx.export.sources.source import Chat
from lager_onnx.models.chat import ChatWrapper, Strip
from lager_onnx.models.errors import CheckpointError

_SENTINEL: Final = "LAGER-USER-TURN"
_ANSWER: Final = "LAGER-ASSISTANT-TURN"
_PROBE: Final = "Two lines,\n\nand {braces}: 1, 2."
_SIDES: Final[dict[tuple[bool, bool], Strip]] = {
    (False, False): "none", (True, False): "left", (False, True): "right", (True, True): "both"
}  # fmt: skip
_OPEN_THOUGHT: Final = re.compile(r"(<think>|<thinking>|<thought>|<reasoning>|<analysis>|◁think▷)\s*$", re.IGNORECASE)
# How Qwen 3's and SmolLM 3's own no-thinking mode ends an empty thought; others that open <think> learned from it.
_CLOSED_THOUGHT: Final = "<think>\n\n</think>\n\n"


def render_wrapper(chat: Chat, answer_prefix: str) -> ChatWrapper:
    """The text before and after the user's turn, generation prompt included.

    A base model without a chat template is asked in plain text: what the tokeniser begins with, turn, blank line.

    What a user of the judge should know stands in its `notes`: markers of turns that are plain text, which a response
    can hold too; an opening, a begin token or a thought's end that had to be mended; a date that is frozen.

    Raises:
        CheckpointError: the template cannot be rendered; drops, repeats or changes the user's turn; or leaves a thought
            open that cannot be closed.
    """
    if not chat.exists:
        note = "the checkpoint has no chat template: prompts are plain text, and nothing but text ends a response"
        return ChatWrapper(chat.begin, "\n\n", answer_prefix, notes=(note, *chat.notes))
    render = _Template(chat)
    rendered = render(_SENTINEL)
    if rendered.count(_SENTINEL) != 1:
        raise CheckpointError(
            f"the chat template shows the user's turn {rendered.count(_SENTINEL)} times; once is needed"
        )
    before, after = rendered.split(_SENTINEL)
    padded = render(f"\t{_SENTINEL}\t")  # a tabulator: templates put blanks and line ends there themselves
    sides = _SIDES[f"\t{_SENTINEL}" not in padded, f"{_SENTINEL}\t" not in padded]
    wrapper = ChatWrapper(before, after, answer_prefix, sides)
    for turn in (_PROBE, f"\n {_PROBE} \n"):
        if wrapper.wrap(turn) != render(turn) + answer_prefix:
            raise CheckpointError(
                "the chat template changes the text of the user's turn, so it cannot be rendered once"
            )
    wrapper = _closed_thought(_opened(wrapper, render))
    return replace(wrapper, notes=(*wrapper.notes, *_notes(chat, wrapper, render, rendered)))


def turn_end(chat: Chat) -> str | None:
    """Return the added token with which the template ends an assistant's turn; None where text or nothing ends it."""
    if not chat.exists:
        return None
    try:
        conversation = _Template(chat)(_SENTINEL, _ANSWER)
    except CheckpointError:  # a template for single turns
        return None
    following = conversation.rpartition(_ANSWER)[2].lstrip()
    return max((token for token in chat.added if following.startswith(token)), key=len, default=None)


class _Template:
    """The checkpoint's template as a function of the user's turn, and perhaps of the assistant's."""

    def __init__(self, chat: Chat):
        self._chat = chat
        self._in_parts = False
        try:
            shown = _SENTINEL in self(_SENTINEL)
        except CheckpointError as error:
            failed: CheckpointError | None = error
        else:
            failed = None
        if failed is None and shown:
            return
        self._in_parts = True  # templates of models that also see images want a list of parts
        try:
            shown = _SENTINEL in self(_SENTINEL)
        except CheckpointError:
            shown = False
        if not shown:
            self._in_parts = False
            if failed is not None:
                raise failed

    def __call__(self, turn: str, answer: str | None = None) -> str:
        messages = [{"role": "user", "content": self._content(turn)}]
        if answer is not None:
            messages.append({"role": "assistant", "content": self._content(answer)})
        try:
            return self._chat.render(messages, add_generation_prompt=answer is None)
        except Exception as error:  # a template is a program of the checkpoint's, and may fail like any
            several = f" (it has several: {', '.join(self._chat.several)})" if self._chat.several else ""
            raise CheckpointError(
                f"the chat template{several} cannot be rendered round one user's turn: {error}. Mend chat_template in "
                "the checkpoint's folder (chat_template.jinja or tokenizer_config.json)"
            ) from error

    def _content(self, text: str) -> Any:
        return [{"type": "text", "text": text}] if self._in_parts else text


def _opened(wrapper: ChatWrapper, render: _Template) -> ChatWrapper:
    """With the assistant's turn opened, as it is in a conversation, where the generation prompt does not open it."""
    try:
        conversation = render(_SENTINEL, _ANSWER)
    except CheckpointError:  # a template for single turns
        return wrapper
    start, end = len(wrapper.before) + len(_SENTINEL), conversation.find(_ANSWER)
    if not conversation.startswith(f"{wrapper.before}{_SENTINEL}") or end < start:
        return wrapper
    opening = conversation[start:end]
    if opening.rstrip() == wrapper.after.rstrip() or not opening.startswith(wrapper.after.rstrip()):
        return wrapper
    note = (
        "the chat template opens no assistant's turn when asked to: "
        f"{opening[len(wrapper.after.rstrip()) :]!r} is taken from how it renders a conversation"
    )
    return replace(wrapper, after=opening, notes=(*wrapper.notes, note))


def _closed_thought(wrapper: ChatWrapper) -> ChatWrapper:
    """With an empty thought where the template leaves one open."""
    found = _OPEN_THOUGHT.search(wrapper.after)
    if found is None:
        return wrapper
    if found[1] != "<think>":
        raise CheckpointError(
            f"the chat template opens a thought ({found[1]}) that it cannot be told to leave out: the judge would "
            "grade in the middle of it. Change chat_template so that the thought is closed"
        )
    note = "the chat template opens a thought (<think>); it is closed at once, empty, as in no-thinking mode"
    return replace(wrapper, after=wrapper.after[: found.start()] + _CLOSED_THOUGHT, notes=(*wrapper.notes, note))


def _notes(chat: Chat, wrapper: ChatWrapper, render: _Template, rendered: str) -> Iterator[str]:
    yield from chat.notes
    if not any(token in wrapper.after for token in chat.added):
        yield (
            f"the markers of turns are plain text ({wrapper.after.strip()!r}): a response can hold them too, and so "
            "pretend to end its turn. Grade text that you do not trust with another judge"
        )
    if chat.begin and not wrapper.before.startswith(chat.begin):
        yield f"the tokeniser begins a text with {chat.begin!r}, the chat template does not: prompts begin without it"
    with chat.another_day():
        if render(_SENTINEL) != rendered:
            yield "the chat template writes the date into every prompt: it is frozen at the day of the export"
