"""Tokens and end tokens of GGUF files: those of the checkpoint's own folder."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import generate_merges

from lager_onnx import Judge
from lager_onnx.export import export_judge
from lager_onnx.export.chat import render_wrapper
from lager_onnx.export.checkpoint import load_checkpoint
from lager_onnx.export.rotary import rotary_tables
from lager_onnx.export.verify.raw_rope import raw_frequencies
from lager_onnx.models.errors import CheckpointError
from support.gguf_file import add_sentencepiece, write_gguf
from support.tiny import CHAT_TEMPLATE, VARIANTS, make_model, make_tokenizer

PLAIN = ("<think>", "</think>", "\n\n", "user")
TEXTS = (
    "Grade 12.",
    "<think>\n\n</think> user: assistants\n\n\nuser",
    "  two   spaces,    four\ttab\t\t\n \n\n\n x" + " " * 37 + "y",
    "naïve Ωμέγα 漢字 🌊 e\u0301 <|user|> <|end|>  <|user|> </s><s>",
    "the good grade is good; the bad one is bad",
    "<table><start_of_image>  <0x0A> ▁▁▁ ▁ [PAD] <unk>",
)


def same_tokens(folder: Path, file: Path) -> None:
    one, other = (load_checkpoint(str(path)) for path in (folder, file))
    wrappers = [render_wrapper(each.chat, "score: ") for each in (one, other)]
    assert wrappers[0] == wrappers[1]
    for text in TEXTS:
        for whole in (text, wrappers[0].wrap(text)):
            ids = [each.backend.encode(whole, add_special_tokens=False).ids for each in (one, other)]
            assert ids[0] == ids[1], whole
            texts = [each.backend.decode(ids[0], skip_special_tokens=False) for each in (one, other)]
            assert texts[0] == texts[1]
    added = [each.backend.get_added_tokens_decoder() for each in (one, other)]
    described = [{id_: (str(token), token.special) for id_, token in each.items()} for each in added]
    assert described[0] == described[1]


def byte_level() -> PreTrainedTokenizerFast:
    thinking = CHAT_TEMPLATE.replace("<|assistant|>\n{% endif", "<|assistant|>\n<think>\n\n</think>\n\n{% endif")
    tokenizer = make_tokenizer(chat_template=thinking)
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in PLAIN])
    return tokenizer


@pytest.mark.parametrize(
    ("architecture", "kind", "more"),
    [
        ("llama", "llama", {"tie_word_embeddings": False}),
        ("qwen2", "qwen2", {}),
        ("qwen3", "qwen3", {"head_dim": 16}),
        ("phi3", "phi3", {"sliding_window": None}),
    ],
)
def test_all_added_tokens_are_kept(architecture: str, kind: str, more: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = byte_level()
    model = make_model(kind, more, len(tokenizer))
    model.save_pretrained(tmp_path / "folder")
    tokenizer.save_pretrained(tmp_path / "folder")
    file = write_gguf(tmp_path / "m.gguf", model, tokenizer, architecture=architecture, keys=keys(model, architecture))
    same_tokens(tmp_path / "folder", file)


def keys(model: Any, architecture: str) -> dict[str, Any]:
    size = model.config.head_dim if hasattr(model.config, "head_dim") else 16
    return {f"{architecture}.attention.{name}_length": size for name in ("key", "value")}


SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def sentencepiece(
    special: list[str], plain: list[str], template: str, *, prefix: bool = False, rstrip: tuple[str, ...] = ()
) -> tuple[PreTrainedTokenizerFast, dict[str, float]]:
    """As transformers converts a SentencePiece model: merges by `generate_merges`; user-defined pieces score 0."""
    words = [
        "▁the",
        "▁good",
        "▁grade",
        "▁is",
        "▁bad",
        "one",
        "th",
        "go",
        "od",
        "▁g",
        "▁b",
        "ad",
        "gr",
        "ade",
        "is",
        "▁▁▁",
    ]
    starts = {word[:at] for word in words for at in range(1, len(word) + 1)}
    letters = ["▁", *map(chr, range(33, 127)), *"漢Ωé"]
    normal = list(dict.fromkeys([*sorted(starts - set(letters) - set(plain), key=len), *words, *letters]))
    normal = [word for word in normal if word not in plain]
    tokens = [*special, *plain, *(f"<0x{byte:02X}>" for byte in range(256)), *normal]
    scores = dict.fromkeys(tokens, 0.0) | {token: -float(number) for number, token in enumerate(normal)}
    merges = generate_merges({token: number for number, token in enumerate(tokens)}, scores)
    made = Tokenizer(
        models.BPE(
            {token: number for number, token in enumerate(tokens)},
            merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prepended = [normalizers.Prepend("▁")] if prefix else []
    made.normalizer = normalizers.Sequence([*prepended, normalizers.Replace(" ", "▁")])
    stripped = [decoders.Strip(" ", 1, 0)] if prefix else []
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *stripped])
    made.add_tokens([AddedToken(token, special=True, normalized=False, rstrip=token in rstrip) for token in special])
    made.add_tokens([AddedToken(token, special=False, normalized=False) for token in plain])
    begin, end = ("<bos>", "<eos>") if "<bos>" in special else ("<s>", "</s>")
    fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=begin, eos_token=end, unk_token="<unk>")
    fast.chat_template = template
    return fast, scores


def gemma() -> tuple[PreTrainedTokenizerFast, dict[str, float]]:
    runs = [letter * count for letter in "\n▁" for count in range(2, 32)]
    return sentencepiece(SPECIAL, ["\n", "\t\t", *runs, "<table>"], GEMMA_TEMPLATE)


GEMMA3: dict[str, Any] = {"head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 256, "num_hidden_layers": 7}
GEMMAS: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma2": ("gemma2", {**VARIANTS["gemma2"][1], "query_pre_attn_scalar": 256}),
    "gemma3": ("gemma3_text", GEMMA3),
    "gemma3, linear": ("gemma3_text", GEMMA3 | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
}


@pytest.mark.parametrize("name", GEMMAS)
def test_a_gemma_file_is_the_judge_of_its_folder(name: str, tmp_path: Path) -> None:
    kind, more = GEMMAS[name]
    tokenizer, scores = gemma()
    model = make_model(kind, {**more, "bos_token_id": 2}, len(tokenizer))
    model.get_input_embeddings().weight.data *= 0.1
    model.save_pretrained(tmp_path / "folder")
    tokenizer.save_pretrained(tmp_path / "folder")
    architecture = name.split(",", maxsplit=1)[0]
    said = keys(model, architecture) | {f"{architecture}.attention.sliding_window": 8}
    if "linear" in name:
        said |= {"gemma3.rope.scaling.type": "linear", "gemma3.rope.scaling.factor": 8.0}
    if kind == "gemma2":
        said |= {"gemma2.attn_logit_softcapping": 5.0, "gemma2.final_logit_softcapping": 3.0}
    add = partial(add_sentencepiece, scores=scores)
    file = write_gguf(tmp_path / "m.gguf", model, tokenizer, architecture=architecture, keys=said, add=add)
    same_tokens(tmp_path / "folder", file)
    records = [{"instruction": "Name a prime.", "response": text} for text in ("Seven.", "the good\n\none  is bad" * 4)]
    found = []
    for source in (tmp_path / "folder", file):
        spec = export_judge(source, tmp_path / f"judge-{source.name}", template="brief", verify_judge=source == file)
        assert (spec.parity is not None) == (source == file)
        found.append([grade.layer_logits for grade in Judge.load(tmp_path / f"judge-{source.name}").score(records)])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prefix", [True, False])
def test_phi_3_swallows_white_space_after_its_tokens(prefix: bool, tmp_path: Path) -> None:
    """As its published tokenizer.json does: all special tokens but three."""
    swallowing = ("</s>", "<|user|>", "<|end|>", "<|assistant|>", "<|placeholder1|>")
    special = ["<unk>", "<s>", "<|endoftext|>", *swallowing]
    tokenizer, scores = sentencepiece(special, ["user"], CHAT_TEMPLATE, prefix=prefix, rstrip=swallowing)
    model = make_model("phi3", {"sliding_window": None}, len(tokenizer))
    model.save_pretrained(tmp_path / "folder")
    tokenizer.save_pretrained(tmp_path / "folder")
    add = partial(add_sentencepiece, scores=scores)
    file = write_gguf(tmp_path / "m.gguf", model, tokenizer, architecture="phi3", keys=keys(model, "phi3"), add=add)
    same_tokens(tmp_path / "folder", file)


def test_the_header_s_end_tokens_are_all_read(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    model = make_model(*VARIANTS["llama"], len(tokenizer))
    said = {"tokenizer.ggml.eot_token_id": 4, "tokenizer.ggml.eom_token_id": 7}
    found = load_checkpoint(str(write_gguf(tmp_path / "m.gguf", model, tokenizer, keys=said)))
    assert found.end_tokens() == (1, 4, 7)  # and not 2, which is LlamaConfig's own
    assert (found.tokenizer.bos_token, found.tokenizer.eos_token) == ("<s>", "</s>")
    broken = write_gguf(tmp_path / "b.gguf", model, tokenizer, keys={"tokenizer.ggml.eot_token_id": 90_000})
    with pytest.raises(
        CheckpointError, match=r"end token 90000 of the header \(eos, eot, eom\) is none of the embedding's 370"
    ):
        load_checkpoint(str(broken)).end_tokens()


def test_a_named_token_that_is_not_there_is_refused(tmp_path: Path) -> None:
    tokenizer, scores = sentencepiece(["<unk>", "<s>", "</s>"], ["▁▁"], CHAT_TEMPLATE)

    def beyond(writer: Any, given: PreTrainedTokenizerFast) -> None:
        add_sentencepiece(writer, given, scores)
        writer.kv_data[0]["tokenizer.ggml.unknown_token_id"].value = 70_000

    model = make_model(*VARIANTS["llama"], len(tokenizer))
    with pytest.raises(CheckpointError, match=r"says tokenizer\.ggml\.unknown_token_id = 70000, but has \d+ tokens"):
        load_checkpoint(str(write_gguf(tmp_path / "m.gguf", model, tokenizer, add=beyond)))


def test_a_token_twice_is_refused(tmp_path: Path) -> None:
    tokenizer, scores = sentencepiece(["<unk>", "<s>", "</s>"], ["▁▁"], CHAT_TEMPLATE)

    def twice(writer: Any, given: PreTrainedTokenizerFast) -> None:
        add_sentencepiece(writer, given, scores)
        field = writer.kv_data[0]["tokenizer.ggml.tokens"].value
        field[300] = field[301]

    model = make_model(*VARIANTS["llama"], len(tokenizer))
    with pytest.raises(CheckpointError, match=r"has the token .* twice \(300 and 301\)"):
        load_checkpoint(str(write_gguf(tmp_path / "m.gguf", model, tokenizer, add=twice)))


def test_the_base_of_local_attention_is_the_header_s(tmp_path: Path) -> None:
    tokenizer, scores = gemma()
    model = make_model("gemma3_text", {**GEMMA3, "bos_token_id": 2, "rope_local_base_freq": 2e4}, len(tokenizer))
    said = keys(model, "gemma3") | {"gemma3.attention.sliding_window": 8, "gemma3.rope.freq_base_swa": 2e4}
    add = partial(add_sentencepiece, scores=scores)
    same_angles(write_gguf(tmp_path / "m.gguf", model, tokenizer, architecture="gemma3", keys=said, add=add), model)


def same_angles(file: Path, model: Any) -> None:
    """The file's angles are those of the model that it was made of, and those that its header leads to."""
    found = load_checkpoint(str(file))
    expected = rotary_tables(model, 40)
    angles = raw_frequencies(found.facts, 40) or {}
    assert expected.keys() == angles.keys()
    for kind, (cos, sin) in found.rotary_tables(40).items():
        np.testing.assert_allclose((cos, sin), expected[kind], atol=1e-5)
        np.testing.assert_allclose(cos, np.cos(np.outer(np.arange(40), angles[kind][0])), atol=1e-5)


@pytest.mark.parametrize("turned", [8, 16])
def test_a_part_of_a_head_is_turned(turned: int, tmp_path: Path) -> None:
    tokenizer = byte_level()
    model = make_model("phi3", {"sliding_window": None, "partial_rotary_factor": turned / 16}, len(tokenizer))
    said = keys(model, "phi3") | {"phi3.rope.dimension_count": turned}
    same_angles(write_gguf(tmp_path / "m.gguf", model, tokenizer, architecture="phi3", keys=said), model)


def test_a_part_of_a_head_that_an_architecture_cannot_turn_is_refused(tmp_path: Path) -> None:
    tokenizer = byte_level()
    model = make_model("qwen2", {}, len(tokenizer))
    said = keys(model, "qwen2") | {"qwen2.rope.dimension_count": 8}
    file = write_gguf(tmp_path / "m.gguf", model, tokenizer, architecture="qwen2", keys=said)
    with pytest.raises(CheckpointError, match=r"says qwen2\.rope\.dimension_count = 8, which is not read"):
        load_checkpoint(str(file))


def test_white_space_tokens_after_which_a_space_may_follow_are_refused(tmp_path: Path) -> None:
    tokenizer, scores = sentencepiece(["<unk>", "<s>", "</s>"], ["\n\n"], CHAT_TEMPLATE, prefix=True)
    model = make_model(*VARIANTS["llama"], len(tokenizer))
    file = write_gguf(tmp_path / "m.gguf", model, tokenizer, add=partial(add_sentencepiece, scores=scores))
    with pytest.raises(CheckpointError, match=r"\(tokenizer\.ggml\.add_space_prefix\) and has .*tokens .*'\\n\\n'"):
        load_checkpoint(str(file))
