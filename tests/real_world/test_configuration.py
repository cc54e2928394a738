"""Positions in config.json: both forms are read alike, and the angles are compared with the raw file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from lager_onnx import Judge
from lager_onnx.export import export_judge
from lager_onnx.export.checkpoint import load_checkpoint
from lager_onnx.export.sources import hf_model
from lager_onnx.export.sources.hf_config import understood
from lager_onnx.export.sources.hf_model import described
from lager_onnx.export.verify.raw_rope import raw_frequencies
from lager_onnx.models.errors import CheckpointError, VerificationError
from support.gguf_file import write_gguf
from support.tiny import HEAD, VARIANTS, make_checkpoint, make_internlm3, make_model, make_tokenizer

FUSED = Path(__file__).parents[1] / "fixtures" / "fused"
RECORDS = [{"instruction": "Name a prime.", "response": text} for text in ("Seven.", "Nine, I think.", "5")]
SIZES = {
    "hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 1,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
YARN_MORE = {"beta_fast": 16.0, "beta_slow": 2.0, "mscale": 1.0, "mscale_all_dim": 0.5, "truncate": False}
LONG = {"rope_type": "longrope", "short_factor": [1.0, 1.5] * 4, "long_factor": [2.0, 4.0] * 4}
GEMMA3 = {"head_dim": 16, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
PARTIAL = {"partial_rotary_factor": 0.5, "rope_theta": 1e5}
Facts = dict[str, Any]

# model type; as older files say it; as those of transformers 5 do.
FORMS: dict[str, tuple[str, Facts, Facts]] = {
    "theta": ("llama", {"rope_theta": 5e5}, {"rope_type": "default", "rope_theta": 5e5}),
    "llama3": ("llama", {"rope_theta": 5e5, "rope_scaling": LLAMA3}, LLAMA3 | {"rope_theta": 5e5}),
    "linear": (
        "mistral",
        {"rope_theta": 1e5, "rope_scaling": {"type": "linear", "factor": 4.0}},
        {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e5},
    ),
    "linear, OLMo 2": (
        "olmo2",
        {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4.0}},
        {"rope_type": "linear", "factor": 4, "rope_theta": 5e5},
    ),
    "dynamic": (
        "qwen2",
        {"rope_theta": 1e6, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
        {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e6},
    ),
    "yarn": ("qwen3", {"rope_theta": 1e6, "head_dim": 16, "rope_scaling": YARN}, YARN | {"rope_theta": 1e6}),
    "yarn, all": (
        "llama",
        {"rope_scaling": YARN | YARN_MORE},
        YARN | YARN_MORE,
    ),
    "yarn, attention": ("qwen2", {"rope_scaling": YARN | {"attention_factor": 1.5}}, YARN | {"attention_factor": 1.5}),
    "longrope": (
        "phi3",
        {"rope_scaling": {"type": "longrope", **{n: LONG[n] for n in ("short_factor", "long_factor")}}}
        | {"original_max_position_embeddings": 256},
        LONG | {"original_max_position_embeddings": 256, "rope_theta": 10000.0},
    ),
    "partial": ("phi3", PARTIAL, PARTIAL),
    "by layer type": (
        "gemma3_text",
        {"rope_theta": 1e6, "rope_local_base_freq": 2e4, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
        | GEMMA3,
        {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
        },
    ),
}  # fmt: skip
INSIDE = ("rope_theta", "rope_scaling", "partial_rotary_factor", "rope_local_base_freq")


def raw(name: str) -> tuple[Facts, Facts]:
    """Both files, which say the same."""
    kind, old, new = FORMS[name]
    rest = {key: value for key, value in old.items() if key not in INSIDE}
    if name == "longrope":
        rest.pop("original_max_position_embeddings")
    older = SIZES | {"model_type": kind} | old
    return older, SIZES | {"model_type": kind, "rope_parameters": new} | rest


def modules(content: Facts) -> Any:
    """The decoder of transformers, without any of our reading."""
    config = CONFIG_MAPPING[content["model_type"]](**json.loads(json.dumps(content)))
    return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config).model


@pytest.mark.parametrize("name", FORMS)
def test_both_forms_lead_to_the_angles_of_transformers(name: str) -> None:
    older, newer = raw(name)
    decoder = modules(older)
    count = 256 if name == "longrope" else 512
    for content in (older, newer):
        ours = MODEL_FOR_CAUSAL_LM_MAPPING[type(config := described(content).config)](config).model
        for kind, module in (("global", "rotary_emb"), ("local", "rotary_emb_local")):
            if not hasattr(decoder, module):
                continue
            ids = torch.arange(count)[None]
            expected = getattr(decoder, module)(torch.zeros(1), ids)
            torch.testing.assert_close(getattr(ours, module)(torch.zeros(1), ids), expected)
            frequencies, factor = (raw_frequencies(content, count) or {})[kind]
            angles = np.arange(count)[:, None] * frequencies
            for table, function in zip(expected, (np.cos, np.sin), strict=True):
                half = table[0, :, : angles.shape[1]].numpy()
                np.testing.assert_allclose(factor * function(angles), half, atol=3e-4)
    assert config.max_position_embeddings == 512
    assert getattr(config, "original_max_position_embeddings", None) == getattr(
        CONFIG_MAPPING[older["model_type"]](**older), "original_max_position_embeddings", None
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"rope_parameters": {"rope_type": "mrope", "mrope_section": [2, 3, 3]}}, "rope_parameters of type 'mrope'"),
        ({"rope_parameters": {"mrope_section": [2, 3]}}, r"rope_parameters\.mrope_section = \[2, 3\]"),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}}, "rope_scaling of type 'mrope'"),
        ({"rope_scaling": {"type": "default", "mrope_section": [2, 3, 3]}}, r"rope_scaling\.mrope_section"),
        ({"rope_parameters": YARN | {"llama_4_scaling_beta": 0.1}}, r"rope_parameters\.llama_4_scaling_beta = 0\.1"),
        ({"rope_parameters": {"rope_type": "linear"}}, "of type 'linear' without factor"),
        ({"rope_parameters": {"rope_theta": "1e6"}}, "rope_theta = '1e6'"),
        ({"rope_parameters": [1]}, r"rope_parameters = \[1\]"),
        ({"rope_parameters": LLAMA3 | {"factor": "8"}}, r"rope_parameters\.factor = '8'"),
        ({"rope_theta": 1e4, "rope_parameters": {"rope_theta": 5e5}}, "rope_theta = 10000.0 and, in .*, 500000"),
        ({"rope_scaling": YARN, "rope_parameters": LLAMA3}, "rope_scaling = .*'yarn'.* and, in .*'llama3'"),
        ({"rope_scaling": YARN, "rope_parameters": {"rope_theta": 1e4}}, "'yarn'.* in rope_parameters no rope type"),
        ({"rope_scaling": YARN | {"type": "linear"}}, "rope_type = 'yarn' and .type = 'linear'"),
        (
            {"rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}},
            "llama has one for all",
        ),
    ],
)  # fmt: skip
def test_facts_of_positions_that_are_not_known_are_refused_by_name(more: Facts, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        described(SIZES | {"model_type": "llama"} | more)


def test_both_forms_that_agree_are_read() -> None:
    content = SIZES | {"model_type": "llama", "rope_theta": 5e5, "rope_scaling": LLAMA3}
    assert understood(content | {"rope_parameters": LLAMA3 | {"rope_theta": 5e5}}) == content


def edit(folder: Path, drop: tuple[str, ...] = (), **changes: Any) -> Path:
    content = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({key: value for key, value in content.items() if key not in drop}))
    return folder


def scores(judge: Path) -> list[float]:
    return [grade.score for grade in Judge.load(judge, device="cpu").score(RECORDS)]


@pytest.fixture(scope="module")
def llama3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with Llama 3's scaling, as transformers 5 writes it."""
    at = make_checkpoint(tmp_path_factory.mktemp("llama3") / "new", *VARIANTS["llama-rope-scaling"], head=HEAD)
    return edit(at, ("rope_theta", "rope_scaling"), rope_parameters=LLAMA3 | {"rope_theta": 10000.0})


def test_a_judge_of_the_new_form_is_the_one_of_the_old(llama3: Path, tmp_path: Path) -> None:
    old = edit(
        Path(shutil.copytree(llama3, tmp_path / "old")), ("rope_parameters",), rope_theta=1e4, rope_scaling=LLAMA3
    )
    first = export_judge(llama3, tmp_path / "one", template="brief")
    second = export_judge(old, tmp_path / "other", template="brief")
    assert scores(tmp_path / "one") == scores(tmp_path / "other")
    assert first.context_length == second.context_length == 512
    assert json.loads((tmp_path / "one" / "config.json").read_text())["rope_scaling"]["rope_type"] == "llama3"


def without(key: str) -> Callable[[Facts], Facts]:
    return lambda content: {name: value for name, value in understood(content).items() if name != key}


@pytest.mark.parametrize("fault", [without("rope_scaling"), lambda content: understood(content) | {"rope_theta": 1e5}])
def test_an_export_that_reads_positions_wrongly_fails(
    fault: Callable[[Facts], Facts], llama3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch computes with the same wrong configuration, so that comparing with it finds nothing."""
    monkeypatch.setattr(hf_model, "understood", fault)
    with pytest.raises(VerificationError, match=r"rotary embedding .* is another than its files say, from position"):
        export_judge(llama3, tmp_path / "judge", template="brief", verify_judge=False)
    assert not (tmp_path / "judge").exists()


def test_the_context_of_longrope_is_the_original_one(tmp_path: Path) -> None:
    at = make_checkpoint(tmp_path / "checkpoint", *VARIANTS["phi3-longrope"])
    parameters = LONG | {"original_max_position_embeddings": 128, "rope_theta": 10000.0, "partial_rotary_factor": 1.0}
    edit(at, ("rope_theta", "rope_scaling", "original_max_position_embeddings"), rope_parameters=parameters)
    assert export_judge(at, tmp_path / "judge", template="brief").context_length == 128


def test_a_gguf_file_whose_base_is_lost_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = make_tokenizer()
    path = write_gguf(tmp_path / "model.gguf", make_model(*VARIANTS["llama"], len(tokenizer)), tokenizer)
    read = AutoConfig.from_pretrained

    def losing(*names: Any, **where: Any) -> Any:
        config = read(*names, **where)
        config.rope_theta = 5e5
        return config

    monkeypatch.setattr(AutoConfig, "from_pretrained", losing)
    with pytest.raises(VerificationError, match=r"rotary embedding .* is another than its files say, from position"):
        export_judge(path, tmp_path / "judge", template="brief", verify_judge=False)


def test_the_raw_facts_of_a_checkpoint_are_its_own_words(llama3: Path) -> None:
    assert load_checkpoint(str(llama3)).facts["rope_parameters"] == LLAMA3 | {"rope_theta": 10000.0}


def test_an_onnx_decoder_is_compared_with_the_file_beside_it(tmp_path: Path) -> None:
    """Whose attention reads tables that its maker computed."""
    at = Path(shutil.copytree(FUSED / "qwen3", tmp_path / "decoder"))
    theta = json.loads((at / "config.json").read_text())["rope_theta"]
    new = edit(at, ("rope_theta", "rope_scaling"), rope_parameters={"rope_type": "default", "rope_theta": theta})
    assert export_judge(new / "model.onnx", tmp_path / "judge", template="brief").parity is not None
    edit(at, rope_parameters={"rope_type": "default", "rope_theta": 10 * theta})
    with pytest.raises(VerificationError, match=r"rotary embedding .* is another than its files say, from position 1"):
        export_judge(at / "model.onnx", tmp_path / "other", template="brief", verify_judge=False)


def test_code_that_ships_with_a_checkpoint_must_read_the_positions_too(tmp_path: Path) -> None:
    """An older class beside a file of transformers 5 passes its facts over."""
    at, _ = make_internlm3(tmp_path / "checkpoint", qkv_bias=True, bias=False)
    edit(at, ("rope_theta", "rope_scaling"), rope_parameters={"rope_type": "default", "rope_theta": 5e5})
    with pytest.raises(VerificationError, match=r"rotary embedding .* is another than its files say"):
        export_judge(at, tmp_path / "judge", template="brief", trust_remote_code=True)
