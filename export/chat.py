"""Renders the checkpoint's chat template once, round a sentinel."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from unittest.mock import patch

from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import chat_template_utils

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


def render_wrapper(tokenizer: PreTrainedTokenizerBase, answer_prefix: str) -> ChatWrapper:
    """The text before and after the user's turn, generation prompt included.

    A base model without a chat template is asked in plain text: what the tokeniser begins with, turn, blank line.

    What a user of the judge should know stands in its `notes`: markers of turns that are plain text, which a response
    can hold too; an opening, a begin token or a thought's end that had to be mended; a date that is frozen.

    Raises:
        CheckpointError: the template cannot be rendered; drops, repeats or changes the user's turn; or leaves a thought
            open that cannot be closed.
    """
    if not tokenizer.chat_template:
        note = "the checkpoint has no chat template: prompts are plain text, and nothing but text ends a response"
        return ChatWrapper(_begin(tokenizer), "\n\n", answer_prefix, notes=(note,))
    render = _Template(tokenizer)
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
    return replace(wrapper, notes=(*wrapper.notes, *_notes(tokenizer, wrapper, render, rendered)))


class _Template:
    """The checkpoint's template as a function of the user's turn, and perhaps of the assistant's."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self._tokenizer = tokenizer
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
            # Qwen 3 and SmolLM 3 open a thinking block unless told not to; other templates ignore the name.
            return str(
                self._tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=answer is None, enable_thinking=False
                )
            )
        except Exception as error:  # a template is a program of the checkpoint's, and may fail like any
            names = self._tokenizer.chat_template
            several = f" (it has several: {', '.join(names)})" if isinstance(names, dict) else ""
            raise CheckpointError(
                f"the chat template{several} cannot be rendered round one user's turn: {error}. Mend chat_template in "
                "the checkpoint's folder (chat_template.jinja or tokenizer_config.json)"
            ) from error

    def _content(self, text: str) -> Any:
        return [{"type": "text", "text": text}] if self._in_parts else text


def _begin(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the tokeniser puts before a text, such as a begin token, as text."""
    plain = tokenizer("x", add_special_tokens=False)["input_ids"]
    whole = tokenizer("x")["input_ids"]
    start = next((at for at in range(len(whole)) if whole[at : at + len(plain)] == plain), 0)
    return "".join(tokenizer.convert_ids_to_tokens(whole[:start]))


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


def _notes(tokenizer: PreTrainedTokenizerBase, wrapper: ChatWrapper, render: _Template, rendered: str) -> Iterator[str]:
    added = [token.content for token in tokenizer.added_tokens_decoder.values()]
    if not any(token in wrapper.after for token in added):
        yield (
            f"the markers of turns are plain text ({wrapper.after.strip()!r}): a response can hold them too, and so "
            "pretend to end its turn. Grade text that you do not trust with another judge"
        )
    begin = _begin(tokenizer)
    if begin and not wrapper.before.startswith(begin):
        yield f"the tokeniser begins a text with {begin!r}, the chat template does not: prompts begin without it"
    with _another_day():
        if render(_SENTINEL) != rendered:
            yield "the chat template writes the date into every prompt: it is frozen at the day of the export"


@contextmanager
def _another_day() -> Iterator[None]:
    """Lets templates believe that it is another day, month and year."""

    class Past(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Past":
            return cls(1999, 1, 2, 3, 4, 5, tzinfo=tz)

    with patch.object(chat_template_utils, "datetime", Past):
        yield
