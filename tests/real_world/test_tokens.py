"""Tokens: added ones keep their ids, what marks turns is text in a record, and end tokens come from every file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lager_onnx.export.calibrate.sample_prompts import built_in_records, sample_prompts
from lager_onnx.export.chat import render_wrapper
from lager_onnx.export.checkpoint import load_checkpoint
from lager_onnx.export.end_tokens import declared_ends
from lager_onnx.export.exporter import export_judge
from lager_onnx.export.score_tokens import find_score_tokens
from lager_onnx.export.sources.mend_tokenizer import mend_tokenizer
from lager_onnx.export.sources.onnx_model import OnnxModel, open_onnx
from lager_onnx.export.sources.splitting import LLAMA3
from lager_onnx.models.chat import ChatWrapper
from lager_onnx.models.errors import CheckpointError, ScaleError
from lager_onnx.models.scale import Scale
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.models.template import Template
from support.tiny import CHAT_TEMPLATE, VARIANTS, make_checkpoint, make_model, make_tokenizer

TEXT = "Grade camelCase 1234 isn't\n\n/\nNaïve ΩΜέγα"


def edit(file: Path, *, drop: tuple[str, ...] = (), **changes: Any) -> None:
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in content.items() if key not in drop}))


def open_minimal_onnx(folder: Path) -> OnnxModel:
    """The files of `folder` beside a graph that is just enough to be opened."""
    cast = onnx.helper.make_node("Cast", ["input_ids"], ["logits"], to=1)
    shape = ["batch", "sequence"]
    graph = onnx.helper.make_graph(
        [cast],
        "decoder",
        [onnx.helper.make_tensor_value_info("input_ids", 7, shape)],
        [onnx.helper.make_tensor_value_info("logits", 1, shape)],
    )
    onnx.save(onnx.helper.make_model(graph), folder / "model.onnx")
    return open_onnx(str(folder / "model.onnx"))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "checkpoint", *VARIANTS["llama"])


def opened(folder: Path) -> tuple[Any, OnnxModel]:
    return load_checkpoint(str(folder)), open_minimal_onnx(folder)


@pytest.mark.parametrize(
    "setting",
    [
        {"truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}},
        {
            "padding": {
                "strategy": {"Fixed": 64}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 1,
                "pad_type_id": 0, "pad_token": "</s>",
            }
        },
    ],
)  # fmt: skip
def test_padding_and_truncation_are_switched_off(setting: dict[str, Any], checkpoint: Path) -> None:
    expected = Tokenizer.from_file(str(checkpoint / "tokenizer.json")).encode(TEXT).ids
    edit(checkpoint / "tokenizer.json", **setting)
    for source in opened(checkpoint):
        wrapper = render_wrapper(source.chat, "score: ")
        assert source.backend.encode(TEXT, add_special_tokens=False).ids == expected
        assert find_score_tokens(source.backend, wrapper, Scale.parse("1-5"))[1] == ("1", "2", "3", "4", "5")
        assert json.loads(source.backend.to_str())["padding"] is None
        assert json.loads(source.backend.to_str())["truncation"] is None


def test_why_a_label_is_no_score_is_said() -> None:
    vocabulary = {letter: number for number, letter in enumerate("score: 12345x\n")}
    merged = models.BPE({**vocabulary, ": ": 20, ": 3": 21}, [(":", " "), (": ", "3")])
    wrapper = ChatWrapper("x", "\n", "score: ")
    with pytest.raises(
        ScaleError, match=r"'3' is not a single .* changes the tokens before it: \[': '\] becomes \[': 3'"
    ):
        find_score_tokens(Tokenizer(merged), wrapper, Scale.parse("1-5"))
    words = Tokenizer(models.WordLevel({"?": 0, "score": 1, ":": 2}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ScaleError, match=r"'1' is not a single token of its own: .* it is \['\?'\], as '2' is"):
        find_score_tokens(words, wrapper, Scale.parse("1-2"))
    with pytest.raises(ScaleError, match=r"'10' is not a single token of its own: .* it is \['1', '0'\]"):
        find_score_tokens(make_tokenizer().backend_tokenizer, wrapper, Scale.parse("1-10"))


WRONG = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    ],
}


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a vocabulary as large as Mistral's, and the splitting rule that was published by mistake."""
    folder = tmp_path_factory.mktemp("mistral")
    content = json.loads(make_tokenizer().backend_tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    for number in range(len(vocabulary), 100_500):
        vocabulary[f"<filler{number}>"] = number
    made = Tokenizer.from_str(json.dumps(content | {"pre_tokenizer": WRONG}))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = CHAT_TEMPLATE
    small = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
    make_model("mistral", {**small, "head_dim": 8, "sliding_window": None}, len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    edit(folder / "config.json", transformers_version="4.50.0")
    return folder


def test_mistrals_wrong_splitting_rule_is_mended_and_said(mistral: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(mistral, fix_mistral_regex=True).backend_tokenizer
    expected = theirs.pre_tokenizer.pre_tokenize_str(TEXT)
    wrong = Tokenizer.from_file(str(mistral / "tokenizer.json"))
    assert wrong.pre_tokenizer.pre_tokenize_str(TEXT) != expected
    for source in opened(mistral):
        assert source.backend.pre_tokenizer.pre_tokenize_str(TEXT) == expected
        assert source.backend.encode(TEXT).ids == theirs.encode(TEXT).ids
        assert "splitting rule" in render_wrapper(source.chat, "score: ").notes[0]


@pytest.mark.parametrize(
    ("config", "note"),
    [
        ({"model_type": "mistral3", "text_config": {"model_type": "mistral"}}, "used instead"),
        ({"model_type": "llava", "text_config": {"model_type": "mistral"}}, "used instead"),
        ({"model_type": "mistral", "transformers_version": "4.57.6"}, "used instead"),
        ({"model_type": "mistral", "transformers_version": "5.1.0"}, ""),
        ({"model_type": "llama", "transformers_version": "4.50.0"}, ""),
    ],
)
def test_which_tokenisers_have_the_wrong_rule(config: dict[str, Any], note: str, mistral: Path) -> None:
    tokenizer = Tokenizer.from_file(str(mistral / "tokenizer.json"))
    notes = mend_tokenizer(tokenizer, config)
    assert [note in each for each in notes] == [True] * bool(note)
    assert mend_tokenizer(tokenizer, config) == (notes if not note else ())  # once mended, nothing is left to say


def test_an_unknown_rule_of_mistrals_is_said(mistral: Path) -> None:
    tokenizer = Tokenizer.from_file(str(mistral / "tokenizer.json"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert "splitting rule that is neither" in mend_tokenizer(tokenizer, {"model_type": "mistral"})[0]


def test_end_tokens_are_those_of_all_files(checkpoint: Path) -> None:
    (checkpoint / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 6]}))
    edit(checkpoint / "config.json", eos_token_id=7)
    for source in opened(checkpoint):
        assert source.end_tokens() == (5, 6, 7, 1, 4)  # </s> of the tokeniser, <|end|> of the template
    edit(checkpoint / "config.json", drop=("eos_token_id",))
    (checkpoint / "generation_config.json").unlink()
    for source in opened(checkpoint):
        assert source.end_tokens() == (1, 4)  # not 2, which is LlamaConfig's own


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("</s>", r"'</s>' of generation_config.json \(eos_token_id\) is no id"),
        ([1, 2.0], r"2\.0 of generation_config"),
        ([True], "True of generation_config"),
        (370, r"370 of generation_config.json .* is none of the embedding's 370 tokens"),
        (-1, "-1 of generation_config"),
    ],
)
def test_what_is_no_end_token_is_refused_by_name(value: Any, message: str, checkpoint: Path) -> None:
    (checkpoint / "generation_config.json").write_text(json.dumps({"eos_token_id": value}))
    for source in opened(checkpoint):
        with pytest.raises(CheckpointError, match=message):
            source.end_tokens()


def test_end_tokens_of_vision_models_and_beside_a_subfolder(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "config.json").write_text('{"eos_token_id": [1], "text_config": {"eos_token_id": 2}}')
    (tmp_path / "onnx" / "genai_config.json").write_text('{"model": {"eos_token_id": [3, 4]}}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 5}')
    found = declared_ends(tmp_path / "onnx", tmp_path)
    assert list(found.values()) == [5, [1], 2, [3, 4]]
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"generation_config\.json cannot be read"):
        declared_ends(tmp_path)


NEW_SPELLINGS: dict[str, dict[str, Any]] = {
    "class": {"tokenizer_class": "TokenizersBackend", "backend": "tokenizers", "is_local": True},
    "list": {"extra_special_tokens": ["<|user|>", "<|end|>"]},
    "both": {"tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["<|user|>", {"content": "<|end|>"}]},
    "by name": {"tokenizer_class": "NewTokenizer", "model_specific_special_tokens": {"end_token": "<|end|>"}},
    "without Fast": {"tokenizer_class": "Qwen2Tokenizer"},
}


@pytest.mark.parametrize("name", NEW_SPELLINGS)
def test_tokenisers_as_transformers_5_writes_them(name: str, checkpoint: Path) -> None:
    before = load_checkpoint(str(checkpoint))
    dropped = ("additional_special_tokens", "added_tokens_decoder")
    edit(checkpoint / "tokenizer_config.json", drop=dropped, **NEW_SPELLINGS[name])
    (checkpoint / "special_tokens_map.json").unlink(missing_ok=True)
    after = load_checkpoint(str(checkpoint))
    text = "<s><|user|>\n1234 isn't</s>" + TEXT
    assert after.backend.encode(text).ids == before.backend.encode(text).ids
    assert render_wrapper(after.chat, "score: ") == render_wrapper(before.chat, "score: ")
    added = [
        {id_: str(token) for id_, token in each.backend.get_added_tokens_decoder().items()} for each in (before, after)
    ]
    assert added[0].items() <= added[1].items()


def test_a_new_tokeniser_without_tokenizer_json_is_refused(checkpoint: Path) -> None:
    edit(checkpoint / "tokenizer_config.json", tokenizer_class="TokenizersBackend")
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"holds no tokenizer\.json"):
        load_checkpoint(str(checkpoint))


OWN_FIELDS = (
    "Keep to this policy: {policy}\n\nTone: {tone?}\n\nSee {reference?}\n\n{response}\n\n"
    "Grade from {lowest} to {highest}."
)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_template_with_fields_of_its_own_is_exported(precision: Any, tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "template.txt").write_text(OWN_FIELDS)
    spec = export_judge(
        tiny_checkpoint, tmp_path / "judge", template=str(tmp_path / "template.txt"), precision=precision
    )
    assert spec.parity is not None
    tokenizer = Tokenizer.from_file(str(tmp_path / "judge" / "tokenizer.json"))
    record = built_in_records("calibration")[0]
    (ids,) = sample_prompts(spec, tokenizer, [record])
    text = tokenizer.decode(ids, skip_special_tokens=False)
    assert record["response"] in text
    assert "Keep to this policy: Be polite" in text
    assert "Tone: Be polite" in text
    assert "See" not in text  # lager-onnx's own, and optional


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Policy {policy}\n\n{answer}", "Policy {whole}"),
        ("{rubric}\n\n{response} of {author}", "How much does the response help"),
        ("{criterion}: {response}", "helpfulness: "),
        ("{prompt}", "{whole}"),
    ],
)
def test_any_template_is_filled_whole(text: str, seen: str, tiny_judge: Path, tmp_path: Path) -> None:
    (tmp_path / "template.txt").write_text(text)
    spec = replace(JudgeSpec.load(tiny_judge), template=Template.load(str(tmp_path / "template.txt")))
    tokenizer = Tokenizer.from_file(str(tiny_judge / "tokenizer.json"))
    record = {"instruction": "Name a prime.", "response": "Seven."}
    (ids,) = sample_prompts(spec, tokenizer, [record])
    assert seen.replace("{whole}", "Name a prime.\n\nSeven.") in tokenizer.decode(ids, skip_special_tokens=False)
