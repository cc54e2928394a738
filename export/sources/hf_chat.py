"""The chat template of a tokeniser of transformers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from unittest.mock import patch

from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import chat_template_utils

from lager_onnx.models.chat import is_control


class HfChat:
    """See `Chat`."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, notes: tuple[str, ...] = ()):
        self._tokenizer = tokenizer
        self.notes = notes
        self.exists = bool(tokenizer.chat_template)
        self.several = tuple(tokenizer.chat_template) if isinstance(tokenizer.chat_template, dict) else ()
        plain = tokenizer("x", add_special_tokens=False)["input_ids"]
        whole = tokenizer("x")["input_ids"]
        start = next((at for at in range(len(whole)) if whole[at : at + len(plain)] == plain), 0)
        self.begin = "".join(tokenizer.convert_ids_to_tokens(whole[:start]))
        added = tokenizer.added_tokens_decoder.values()
        self.added = [token.content for token in added if is_control(token.content, special=token.special)]

    def render(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool) -> str:
        """See `Chat.render`."""
        # Qwen 3 and SmolLM 3 open a thinking block unless told not to; other templates ignore the name.
        return str(
            self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=add_generation_prompt, enable_thinking=False
            )
        )

    @contextmanager
    def another_day(self) -> Iterator[None]:
        """See `Chat.another_day`."""

        class Past(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> "Past":
                return cls(1999, 1, 2, 3, 4, 5, tzinfo=tz)

        with patch.object(chat_template_utils, "datetime", Past):
            yield
