"""The tokeniser of GGUF files."""

from pathlib import Path

import gguf
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models

from lager_onnx.export.sources.gguf_tokenizer import mend_tokenizer
from lager_onnx.models.errors import CheckpointError
from support.tiny import make_tokenizer


def mend(folder: Path, tokenizer: Tokenizer, kind: str, *, rule: str | None = None, prefix: bool | None = None) -> None:
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_tokenizer_model(kind)
    if rule:
        writer.add_tokenizer_pre(rule)
    if prefix is not None:
        writer.add_add_space_prefix(prefix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    mend_tokenizer(gguf.GGUFReader(folder / "model.gguf"), folder / "model.gguf", tokenizer)


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
        tokenizer = make_tokenizer().backend_tokenizer
        mend(tmp_path, tokenizer, "gpt2", rule=rule)
        found = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str("a\n\n1234 /\n BeCo't")]
        assert "|".join(found) == pieces
        assert tokenizer.model.ignore_merges == rule.startswith(("llama", "tekken"))


@pytest.mark.parametrize("rule", [None, "default", "viking"])
def test_an_unknown_rule_is_refused_by_name(rule: str | None, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"the rule '?{rule}'?, which is not known; .*tekken"):
        mend(tmp_path, make_tokenizer().backend_tokenizer, "gpt2", rule=rule)


def test_an_unknown_kind_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'rwkv', which is not known"):
        mend(tmp_path, make_tokenizer().backend_tokenizer, "rwkv")


def sentencepiece() -> Tokenizer:
    """As transformers rebuilds Phi 3's: with bytes in its vocabulary, and no way to them."""
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁Yinsr", "▁i", "▁is"]
    merges = [("▁", "i"), ("▁i", "s")]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges, unk_token="<unk>"))
    tokenizer.add_special_tokens([AddedToken("<unk>", special=True)])
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Replace("▁", " ")])
    return tokenizer


@pytest.mark.parametrize(("prefix", "first"), [(None, ["▁i", "n"]), (True, ["▁i", "n"]), (False, ["i", "n"])])
def test_sentencepiece_keeps_spaces_and_line_breaks(prefix: bool | None, first: list[str], tmp_path: Path) -> None:
    tokenizer = sentencepiece()
    assert tokenizer.encode("in\n is").tokens == ["i", "n", "<unk>", "<unk>", "i", "s"]  # what it was mended for
    mend(tmp_path, tokenizer, "llama", prefix=prefix)
    assert tokenizer.encode("in\n is").tokens == [*first, "<0x0A>", "▁is"]


def test_a_tokeniser_that_loses_text_is_refused(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    with pytest.raises(CheckpointError, match="loses text"):
        mend(tmp_path, tokenizer, "gpt2", rule="qwen2")


def test_smollm2_reads_a_numbered_list_as_it_was_trained_to(smollm2_judge: Path) -> None:
    tokenizer = Tokenizer.from_file(str(smollm2_judge / "tokenizer.json"))
    tokens = tokenizer.encode("Tips:\n\n12 eggs", add_special_tokens=False).tokens
    assert tokens == ["Tips", ":", "ĊĊ", "1", "2", "Ġeggs"]
