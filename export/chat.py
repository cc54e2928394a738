"""Renders the checkpoint's chat template once, round a sentinel."""

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from lager_onnx.models.chat import ChatWrapper
from lager_onnx.models.errors import CheckpointError

_SENTINEL = "LAGER-USER-TURN"
_PROBE = "Two lines,\n\nand {braces}: 1, 2."


def render_wrapper(tokenizer: PreTrainedTokenizerBase, answer_prefix: str) -> ChatWrapper:
    """The text before and after the user's turn, generation prompt included.

    A base model without a chat template is asked in plain text: begin token, turn, blank line.

    Raises:
        CheckpointError: the template drops, repeats or changes the user's turn.
    """
    if not tokenizer.chat_template:
        begin = tokenizer.bos_token if tokenizer("")["input_ids"] == [tokenizer.bos_token_id] else ""
        return ChatWrapper(before=begin or "", after="\n\n", answer_prefix=answer_prefix)
    rendered = _render(tokenizer, _SENTINEL)
    if rendered.count(_SENTINEL) != 1:
        raise CheckpointError(
            f"the chat template shows the user's turn {rendered.count(_SENTINEL)} times; once is needed"
        )
    before, after = rendered.split(_SENTINEL)
    strip = f" {_SENTINEL}\n" not in _render(tokenizer, f" {_SENTINEL}\n")
    wrapper = ChatWrapper(before, after, answer_prefix, strip)
    if wrapper.wrap(_PROBE) != _render(tokenizer, _PROBE) + answer_prefix:
        raise CheckpointError("the chat template changes the text of the user's turn, so it cannot be rendered once")
    return wrapper


def _render(tokenizer: PreTrainedTokenizerBase, turn: str) -> str:
    # Qwen 3 and SmolLM 3 open a thinking block unless told not to; other templates ignore the name.
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": turn}], tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    return str(rendered)
