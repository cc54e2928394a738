"""The pre-tokeniser of GGUF files."""

from pathlib import Path

import gguf
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from lager_onnx.export.sources.gguf_tokenizer import mend_pre_tokenizer
from lager_onnx.models.errors import CheckpointError


def gguf_file(folder: Path, kind: str, rule: str | None) -> Path:
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_tokenizer_model(kind)
    if rule:
        writer.add_tokenizer_pre(rule)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "model.gguf"


def mend(path: Path, tokenizer: Tokenizer) -> None:
    mend_pre_tokenizer(gguf.GGUFReader(path), path, tokenizer)


def cut(tokenizer: Tokenizer, text: str) -> list[str]:
    return [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("rule", "pieces"),
    [
        ("smollm", ["a", "ĊĊ", "1", "2", "Ġ"]),
        ("llama-bpe", ["a", "ĊĊ", "12", "Ġ"]),
        ("qwen2", ["a", "ĊĊ", "1", "2", "Ġ"]),
        ("gpt-2", ["a", "Ċ", "Ċ", "12", "Ġ"]),
        (None, ["a", "Ċ", "Ċ", "12", "Ġ"]),
    ],
)
def test_each_rule_cuts_its_own_way(rule: str | None, pieces: list[str], tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    mend(gguf_file(tmp_path, "gpt2", rule), tokenizer)
    assert cut(tokenizer, "a\n\n12 ") == pieces


def test_an_unknown_rule_is_refused_and_sentencepiece_left_alone(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    with pytest.raises(CheckpointError, match="'tekken'"):
        mend(gguf_file(tmp_path, "gpt2", "tekken"), tokenizer)
    mend(gguf_file(tmp_path, "llama", None), tokenizer)
    assert tokenizer.pre_tokenizer is None


def test_smollm2_reads_a_numbered_list_as_it_was_trained_to(smollm2_judge: Path) -> None:
    tokenizer = Tokenizer.from_file(str(smollm2_judge / "tokenizer.json"))
    tokens = tokenizer.encode("Tips:\n\n12 eggs", add_special_tokens=False).tokens
    assert tokens == ["Tips", ":", "ĊĊ", "1", "2", "Ġeggs"]
