"""Types of a GGUF file's tokens: markers of turns that would be read letter by letter are refused."""

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from lager_onnx.export.checkpoint import load_checkpoint
from lager_onnx.models.errors import CheckpointError
from support.gguf_file import add_tokenizer, write_gguf
from support.tiny import CHAT_TEMPLATE, VARIANTS, make_model, make_tokenizer


def typed(change: Any) -> Any:
    """A writer of the byte-level tokeniser whose types of tokens are changed; by None, left out."""

    def add(writer: Any, given: PreTrainedTokenizerFast) -> None:
        add_tokenizer(writer, given)
        name = "tokenizer.ggml.token_type"
        if change is None:
            del writer.kv_data[0][name]
        else:
            types = writer.kv_data[0][name].value
            types[:] = [change.get(id_, change.get("all", type_)) for id_, type_ in enumerate(types)]

    return add


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (None, "which tokens are control tokens"),
        ({"all": 1}, r"'<s>' \(0\), '</s>' \(1\), .*are ordinary text"),
        ({4: 1}, r"'<\|end\|>' \(4\) is ordinary text"),
        ({1: 5}, r"'</s>' \(1\) is ordinary text"),
    ],
)
def test_markers_that_would_be_read_letter_by_letter_are_refused(change: Any, named: str, tmp_path: Path) -> None:
    template = CHAT_TEMPLATE.replace("<|{{ message['role'] }}|>", "<|user|>")
    tokenizer = make_tokenizer(chat_template=template)
    model = make_model(*VARIANTS["llama"], len(tokenizer))
    file = write_gguf(tmp_path / "m.gguf", model, tokenizer, add=typed(change))
    with pytest.raises(CheckpointError, match=rf"(?s)(?=.*tokenizer\.ggml\.token_type)(?=.*convert it again).*{named}"):
        load_checkpoint(str(file))


def test_user_defined_markers_are_read(tmp_path: Path) -> None:
    """And names of tokens that merges make of letters, such as a tag in a template, are text."""
    tokenizer = make_tokenizer()
    model = make_model(*VARIANTS["llama"], len(tokenizer))
    file = write_gguf(tmp_path / "m.gguf", model, tokenizer, add=typed(dict.fromkeys(range(5), 4)))
    assert load_checkpoint(str(file)).backend.encode("<|end|>", add_special_tokens=False).ids == [4]
