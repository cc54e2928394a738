"""The tokeniser of GGUF files."""

from pathlib import Path
from typing import Any

import gguf
import pytest
from tokenizers import Tokenizer

from lager_onnx.export.sources.gguf_tokenizer import read_tokenizer
from lager_onnx.models.errors import CheckpointError
from support.gguf_file import add_tokenizer
from support.tiny import make_tokenizer


def read(folder: Path, write: Any) -> Tokenizer:
    """The tokeniser of a file whose header `write` writes."""
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    write(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return read_tokenizer(gguf.GGUFReader(folder / "model.gguf"), folder / "model.gguf").backend_tokenizer


def words(folder: Path, rule: str | None, kind: str = "gpt2") -> Tokenizer:
    return read(folder, lambda writer: add_tokenizer(writer, make_tokenizer(), rule=rule, kind=kind))


def pieces(folder: Path, tokens: list[str], prefix: bool | None = None) -> Tokenizer:
    """SentencePiece's, with bytes in its vocabulary."""

    def write(writer: gguf.GGUFWriter) -> None:
        everything = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *tokens]
        writer.add_tokenizer_model("llama")
        writer.add_token_list(everything)
        writer.add_token_scores([0.0] * 257 + [-float(number) for number in range(len(tokens))])
        writer.add_token_types([2, *[6] * 256, *[1] * len(tokens)])
        writer.add_unk_token_id(0)
        if prefix is not None:
            writer.add_add_space_prefix(prefix)

    return read(folder, write)


@pytest.mark.parametrize(
    ("rules", "pieces"),
    [
        (("smollm",), "a|ĊĊ|1|2|3|4|Ġ/|Ċ|ĠBeCo|'t"),
        (("llama-bpe", "llama3", "dbrx"), "a|ĊĊ|123|4|Ġ/Ċ|ĠBeCo|'t"),
        (("qwen2", "deepseek-r1-qwen"), "a|ĊĊ|1|2|3|4|Ġ/Ċ|ĠBeCo|'t"),
        (("gpt-2", "gpt2"), "a|Ċ|Ċ|1234|Ġ/|Ċ|ĠBeCo|'t"),
        (("tekken",), "a|ĊĊ|1|2|3|4|Ġ/Ċ|ĠBe|Co|'t"),
        (("gpt-4o",), "a|ĊĊ|123|4|Ġ/Ċ|ĠBe|Co't"),
        (("deepseek-coder",), "a|Ċ|Ċ|1|2|3|4|Ġ/|Ċ|ĠBeCo|'|t"),
        (("deepseek-v3",), "a|ĊĊ|123|4|Ġ/Ċ|ĠBeCo|'t"),
    ],
)
def test_each_rule_cuts_its_own_way(rules: tuple[str, ...], pieces: str, tmp_path: Path) -> None:
    for rule in rules:
        tokenizer = words(tmp_path, rule)
        found = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str("a\n\n1234 /\n BeCo't")]
        assert "|".join(found) == pieces
        assert tokenizer.model.ignore_merges == rule.startswith(("llama", "tekken"))


@pytest.mark.parametrize("rule", [None, "default", "viking"])
def test_an_unknown_rule_is_refused_by_name(rule: str | None, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"the rule '?{rule}'?, which is not known; .*tekken"):
        words(tmp_path, rule)


def test_an_unknown_kind_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'rwkv', which is not known"):
        words(tmp_path, "qwen2", kind="rwkv")


@pytest.mark.parametrize(("prefix", "first"), [(None, ["▁i", "n"]), (True, ["▁i", "n"]), (False, ["i", "n"])])
def test_sentencepiece_keeps_spaces_and_line_breaks(prefix: bool | None, first: list[str], tmp_path: Path) -> None:
    tokenizer = pieces(tmp_path, ["▁i", "▁is", *"▁Yinsr"], prefix)
    assert tokenizer.encode("in\n is").tokens == [*first, "<0x0A>", "▁is"]


def test_a_tokeniser_that_loses_text_is_refused(tmp_path: Path) -> None:
    def write(writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_list(["a", "b", "ab"])
        writer.add_token_types([1, 1, 1])
        writer.add_token_merges(["a b"])

    with pytest.raises(CheckpointError, match="loses text"):
        read(tmp_path, write)


def test_smollm2_reads_a_numbered_list_as_it_was_trained_to(smollm2_judge: Path) -> None:
    tokenizer = Tokenizer.from_file(str(smollm2_judge / "tokenizer.json"))
    tokens = tokenizer.encode("Tips:\n\n12 eggs", add_special_tokens=False).tokens
    assert tokens == ["Tips", ":", "ĊĊ", "1", "2", "Ġeggs"]
