"""config.json: keys that a class takes and its model leaves unused, other libraries' words, and forms of LongRoPE."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from lager_onnx import Judge
from lager_onnx.export import export_judge
from lager_onnx.export.checkpoint import load_checkpoint
from lager_onnx.export.classifier import _pad_token
from lager_onnx.export.describe import _context_length
from lager_onnx.export.sources.hf_model import described
from lager_onnx.export.sources.refuse import refuse_config
from lager_onnx.export.verify.parity import check_parity
from lager_onnx.export.verify.raw_rope import raw_frequencies
from lager_onnx.models.errors import CheckpointError, ExportError, GradingError, VerificationError
from lager_onnx.models.families import family_of
from support.tiny import make_checkpoint, make_tokenizer

SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 1,
}  # fmt: skip
LLAMA = SIZES | {"model_type": "llama", "hidden_act": "silu", "architectures": ["LlamaForCausalLM"]}
MIXED = ["full_attention", "sliding_attention"]
MISTRAL = SIZES | {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 8}
GEMMA3 = SIZES | {"model_type": "gemma3_text", "head_dim": 16, "sliding_window": 8, "layer_types": MIXED}
LONG = {"rope_type": "longrope", "short_factor": [1.0, 1.5] * 4, "long_factor": [2.0, 4.0] * 4}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
ORIGINAL = "original_max_position_embeddings"


@pytest.mark.parametrize("more", [{"attn_logit_softcapping": 50.0}, {"use_bidirectional_attention": True}])
def test_what_gemma_3_takes_and_cannot_do_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=f"{next(iter(more))} = .*Gemma3ForCausalLM"):
        described(GEMMA3 | more)
    with pytest.raises(CheckpointError, match=next(iter(more))):
        described({"model_type": "gemma3", "text_config": GEMMA3 | more})
    described(GEMMA3 | {"attn_logit_softcapping": None, "use_bidirectional_attention": False})


def test_gemma_3_is_never_capped() -> None:
    config = described(GEMMA3).config
    config.attn_logit_softcapping = 50.0
    family = family_of("Gemma3ForCausalLM")
    assert family is not None
    assert family.attention(config, 0).softcap == 0


def test_a_mistral_with_windows_in_some_layers_is_read_as_autoconfig_reads_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(MISTRAL | {"layer_types": MIXED}))
    found = described(MISTRAL | {"layer_types": MIXED})
    assert type(found.config) is type(AutoConfig.from_pretrained(tmp_path))
    assert found.model is MODEL_FOR_CAUSAL_LM_MAPPING[type(found.config)]
    family = family_of(found.model.__name__)
    assert family is not None
    assert [family.attention(found.config, layer).window for layer in (0, 1)] == [0, 8]
    for alike in ({"layer_types": ["sliding_attention"] * 2}, {"layer_types": None}):
        assert described(MISTRAL | alike).model.__name__ == "MistralForCausalLM"


def test_a_judge_of_mixed_windows_agrees_with_pytorch(tmp_path: Path) -> None:
    differences = {"sliding_window": 8, "layer_types": MIXED * 2, "head_dim": 16}
    at = make_checkpoint(tmp_path / "checkpoint", "ministral", differences)
    text = (at / "config.json").read_text().replace('"ministral"', '"mistral"').replace("MinistralFor", "MistralFor")
    (at / "config.json").write_text(text)
    spec = export_judge(at, tmp_path / "judge", template="brief")
    assert spec.parity is not None
    assert spec.source.architecture == "MinistralForCausalLM"


def test_a_negative_pad_token_is_none() -> None:
    tokenizer = make_tokenizer().backend_tokenizer
    assert _pad_token({"pad_token_id": -1, "eos_token_id": 1}, tokenizer) == tokenizer.id_to_token(1)
    assert described(LLAMA | {"pad_token_id": -1}).config.pad_token_id is None


@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral"])
@pytest.mark.parametrize(
    ("scaling", "beside", "factor"),
    [
        (LONG | {"factor": 4.0}, {ORIGINAL: 128}, math.sqrt(1 + math.log(4) / math.log(128))),
        (LONG | {"factor": 4.0, ORIGINAL: 128}, {}, math.sqrt(1 + math.log(4) / math.log(128))),
        (LONG | {"factor": 4.0}, {}, math.sqrt(1 + math.log(4) / math.log(512))),
        (LONG | {"attention_factor": 1.25}, {}, 1.25),
    ],
)
def test_longrope_outside_phi_3(kind: str, scaling: Any, beside: dict[str, Any], factor: float) -> None:
    """The attention factor is sqrt(1 + ln s / ln original), as in `modeling_rope_utils.py`."""
    content = SIZES | {"model_type": kind, "rope_scaling": scaling} | beside
    found = described(content)
    rotary = found.model(found.config).model.rotary_emb
    assert rotary.attention_scaling == pytest.approx(factor)
    expected = 10000.0 ** -(np.arange(0, 16, 2) / 16) / np.array([1.0, 1.5] * 4)
    np.testing.assert_allclose(rotary.inv_freq, expected, rtol=1e-5)
    frequencies, said = (raw_frequencies(content, 128) or {})["global"]
    np.testing.assert_allclose(frequencies, expected, rtol=1e-5)
    assert said == pytest.approx(factor)
    source: Any = SimpleNamespace(config=found.config)
    assert _context_length(source) == (128 if ORIGINAL in {**scaling, **beside} else 512)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"rope_scaling": LONG}, "longrope with neither factor nor original_max_position_embeddings"),
    ({"rope_scaling": LONG | {"factor": 2.0, "short_factor": [1.0] * 7}}, r"7 numbers in rope_scaling\.short_factor"),
    ({"rope_scaling": LONG | {"factor": 2.0, "long_factor": [1.0] * 16}}, r"long_factor; it must be 8"),
    ({ORIGINAL: 128, "rope_scaling": YARN}, ORIGINAL),
    ({"hidden_act": None}, "hidden_act = None; it must be an activation"),
    ({"model_type": ["llama"]}, r"model_type = \['llama'\]; it must be a name"),
    ({"rope_scaling": {"rope_type": ["default"]}}, r"rope_scaling\.rope_type = \['default'\]; it must be a name"),
    ({"rope_parameters": {"type": {"a": 1}}}, r"rope_parameters\.type"),
    ({"model_type": "Llama"}, "model_type = 'Llama'.*: write 'llama'"),
    ({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_theta": 1e4}}, "means no scaling"),
    ({"rope_theta": 1e4, "rope_scaling": YARN | {"rope_theta": 5e5}}, r"rope_scaling\.rope_theta = 500000"),
    ({"activation": "relu"}, "activation = 'relu'"),
    ({"rope_scaling": YARN | {"attn_factor": "1"}}, r"rope_scaling\.attn_factor = '1'"),
    ({"model_type": "phi3", "hidden_size": 72, "partial_rotary_factor": 0.75}, r"partial_rotary_factor = 0\.75 is 13"),
    (
        {"model_type": "qwen2", "layer_types": MIXED, "use_sliding_window": False, "sliding_window": 8},
        "layer_types with 'sliding_attention', and no window",
    ),
]


@pytest.mark.parametrize(("more", "message"), REFUSED)
def test_what_cannot_be_is_refused_by_name(more: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        described({name: value for name, value in (LLAMA | more).items() if name != "architectures"})


def test_code_is_advised_only_where_there_is_some() -> None:
    for more, advised in (({}, False), ({"auto_map": {"AutoConfig": "configuration_x.X"}}, True)):
        with pytest.raises(CheckpointError, match="does not know") as caught:
            described(SIZES | {"model_type": "another"} | more)
        assert ("trust_remote_code" in str(caught.value)) == advised


def test_a_model_type_that_is_no_name_is_refused_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": ["llama"], "vision_config": {"hidden_size": 8}}')
    with pytest.raises(CheckpointError, match=r"model_type = \['llama'\]; it must be a name"):
        refuse_config(tmp_path)


@pytest.mark.parametrize(
    "more",
    [
        {"use_flash_attention_2": True}, {"use_flash_attn": True}, {"pad_token": "<pad>"}, {"eos_token": "</s>"},
        {"bos_token": "<s>"}, {"summary_type": "cls_index"}, {"summary_use_proj": True}, {"zero_stage": 3},
        {"merged_models": ["a", "b"]}, {"activation": "swiglu"}, {"activation": "silu"}, {"dtype": "fp16"},
        {"torch_dtype": "torch.bfloat16"}, {"dtype": "half"}, {"torch_dtype": 16},
        {"rope_theta": 5e5, "rope_scaling": YARN | {"rope_theta": 5e5}},
    ],
)  # fmt: skip
def test_keys_that_change_nothing_pass(more: dict[str, Any]) -> None:
    found, plain = described(LLAMA | more).config, described(LLAMA).config
    for name in ("hidden_act", "num_hidden_layers", "max_position_embeddings"):
        assert getattr(found, name) == getattr(plain, name)


def test_yarns_attn_factor_is_passed_over_as_transformers_does(caplog: pytest.LogCaptureFixture) -> None:
    """As in DeepSeek-R1-0528-Qwen3-8B; the factor is 0.1 ln 4 + 1, of YaRN (arXiv 2309.00071, eq. 22)."""
    content = LLAMA | {"rope_scaling": YARN | {"attn_factor": 0.8782488562869419}}
    found = described(content)
    assert found.model(found.config).model.rotary_emb.attention_scaling == pytest.approx(0.1 * math.log(4) + 1)
    assert (raw_frequencies(content, 128) or {})["global"][1] == pytest.approx(0.1 * math.log(4) + 1)
    assert "attn_factor" in caplog.text


@pytest.mark.parametrize("kind", ["mistral3", "llava", "gemma3"])
def test_a_language_model_alone_may_name_what_its_eyes_were(kind: str) -> None:
    left = {
        "image_token_index": 10, "vision_feature_layer": -1, "spatial_merge_size": 2, "projector_hidden_act": "gelu",
        "multimodal_projector_bias": False, "mm_tokens_per_image": 256,
    }  # fmt: skip
    found = described(SIZES | {"model_type": kind, "head_dim": 16} | left)
    assert found.config.num_hidden_layers == 2
    with pytest.raises(CheckpointError, match="image_token_index"):
        described(LLAMA | left)


def test_granite_with_the_multipliers_of_its_class(tmp_path: Path) -> None:
    at = make_checkpoint(tmp_path / "checkpoint", "granite", {"attention_multiplier": 0.25})
    assert load_checkpoint(str(at)).config.embedding_multiplier == 1
    assert export_judge(at, tmp_path / "judge", template="brief").parity is not None


@pytest.mark.parametrize("more", [{"precision": "int3"}, {"lens": "x"}, {"target": "gpu"}])
def test_arguments_that_are_no_choice_are_refused(more: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"; it must be .*(fp32|raw|cpu)"):
        export_judge(tmp_path, tmp_path / "judge", **more)


def test_on_error_is_raise_or_skip(judge: Judge) -> None:
    wrong: Any = "foo"
    with pytest.raises(GradingError, match="on_error = 'foo'; it must be 'raise' or 'skip'"):
        judge.score([], on_error=wrong)


def test_numbers_of_the_checkpoint_that_cannot_be_compared_are_named(judge: Judge) -> None:
    spec = judge.spec
    shape = (2, len(spec.rows), len(spec.scale.values))
    source: Any = SimpleNamespace(oracle="PyTorch", name="tiny")
    ones = np.ones(shape, np.float32)
    with pytest.raises(VerificationError, match="all zero, first in raw 0"):
        check_parity({}, np.zeros(shape, np.float32), spec, [1, 2], source)
    with pytest.raises(VerificationError, match="PyTorch itself gives layer logits that are not finite"):
        check_parity({}, ones * np.inf, spec, [1, 2], source)
    with pytest.raises(VerificationError, match="judge's layer_logits are not finite"):
        check_parity({"layer_logits": ones * np.nan}, ones, spec, [1, 2], source)


def test_a_part_of_a_head_that_the_kernel_does_not_turn_is_exported_unfused(tmp_path: Path) -> None:
    """Three quarters of 32 are 12 pairs; GroupQueryAttention takes multiples of 8."""
    differences = {"hidden_size": 64, "num_attention_heads": 2, "partial_rotary_factor": 0.75}
    at = make_checkpoint(tmp_path / "checkpoint", "phi3", differences)
    assert export_judge(at, tmp_path / "judge", template="brief").parity is not None
