"""Every family: exported from a tiny random checkpoint and compared with PyTorch, layer by layer."""

from pathlib import Path

import numpy as np
import pytest
from onnxruntime import InferenceSession
from transformers import AutoModelForCausalLM, PreTrainedModel

from lager_onnx.analysis.depth.cut import cut
from lager_onnx.export import export_judge
from lager_onnx.models.errors import CheckpointError
from lager_onnx.models.families import family_of
from lager_onnx.models.graph import BLOCK_TOKENS
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.packed_batch import pack_batch
from lager_onnx.runtime.prefill import Prefill, takes_past
from lager_onnx.runtime.session import open_session, run_batch, run_graph
from support.cuda import packed_session
from support.formulas import layer_logits
from support.tiny import PHI, VARIANTS, make_checkpoint, make_internlm3

TOLERANCE = 1e-4  # relative to the layer's largest logit; the exporter itself allows 1e-3
LENGTHS = ([1], [7], [40], [3, 40, 17, 1, 23], [12, 12])


@pytest.mark.parametrize("variant", VARIANTS)
def test_layer_logits_are_pytorch_s(variant: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS[variant])
    spec = export_judge(checkpoint, tmp_path / "judge")
    model = AutoModelForCausalLM.from_pretrained(checkpoint, attn_implementation="eager").eval()
    assert family_of(type(model).__name__) is not None
    compare(tmp_path / "judge", spec, model)
    compare_packed(packed_session(tmp_path / "judge", tmp_path / "packed"), spec, model)
    cut(tmp_path / "judge", tmp_path / "cut", depth=2)  # which compares the two


def compare(judge: Path, spec: JudgeSpec, model: PreTrainedModel) -> None:
    session = open_session(judge / "model.onnx", device="cpu").session
    random = np.random.default_rng(3)
    for lengths in LENGTHS:
        prompts = [random.integers(0, model.config.vocab_size, length).tolist() for length in lengths]
        got = run_graph(session, prompts)
        expected = np.stack([layer_logits(model, prompt, list(spec.score_token_ids)) for prompt in prompts])
        largest = np.abs(expected).max(axis=(0, 2), keepdims=True)
        assert np.abs((got["layer_logits"] - expected) / largest).max() < TOLERANCE
        logits = expected[:, [*range(spec.num_layers), -1]].mean(axis=1)
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(got["logits"], logits, atol=1e-4)
        np.testing.assert_allclose(got["probabilities"], probabilities, atol=1e-4)
        np.testing.assert_allclose(got["score"], probabilities @ np.arange(1, 6), atol=1e-3)
    if takes_past(session):
        reader, text = Prefill(session, chunk_tokens=5), random.integers(0, model.config.vocab_size, 40).tolist()
        for prompt in (text, text[:21], text[:21] + text[:9], text[:3], text):  # each from where it departs
            expected = layer_logits(model, prompt, list(spec.score_token_ids))
            largest = np.abs(expected).max(axis=1, keepdims=True)
            got_once = reader.grade(prompt)["layer_logits"][0]
            assert np.abs((got_once - expected) / largest).max() < TOLERANCE


def compare_packed(session: InferenceSession, spec: JudgeSpec, model: PreTrainedModel) -> None:
    """As a judge for CUDA reads them: no padding, shared tokens once, a prefix longer than a block of the KV cache."""
    text = np.random.default_rng(4).integers(0, model.config.vocab_size, BLOCK_TOKENS + 30).tolist()
    text = text[: spec.context_length - 1]
    prompts = [text[: BLOCK_TOKENS + 9], [*text[: BLOCK_TOKENS + 9], 5], text[:40], [*text[:40], 7, 8], [3], text]
    got = run_batch(session, pack_batch(prompts))["layer_logits"]
    expected = np.stack([layer_logits(model, prompt, list(spec.score_token_ids)) for prompt in prompts])
    largest = np.abs(expected).max(axis=(0, 2), keepdims=True)
    assert np.abs((got - expected) / largest).max() < TOLERANCE


def test_an_unknown_architecture_that_agrees_is_allowed_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = export_judge(make_checkpoint(tmp_path / "checkpoint", *PHI), tmp_path / "judge")
    assert "not one of the tested families" in caplog.text
    assert spec.parity is not None
    assert spec.parity.layer_logits < TOLERANCE


@pytest.mark.parametrize("bias", [False, True])
def test_internlm3_is_read_as_the_llama_that_it_is(bias: bool, tmp_path: Path) -> None:
    checkpoint, model = make_internlm3(tmp_path / "checkpoint", qkv_bias=bias, bias=bias)
    spec = export_judge(checkpoint, tmp_path / "judge")
    compare(tmp_path / "judge", spec, model)


def test_internlm3_with_its_own_code_needs_leave_to_run_it(tmp_path: Path) -> None:
    checkpoint, model = make_internlm3(tmp_path / "checkpoint", qkv_bias=True, bias=False)
    with pytest.raises(CheckpointError, match="trust_remote_code=True"):
        export_judge(checkpoint, tmp_path / "judge")
    spec = export_judge(checkpoint, tmp_path / "judge", trust_remote_code=True)
    compare(tmp_path / "judge", spec, model)


def test_internlm3_without_a_fast_tokeniser_is_told_what_to_do(tmp_path: Path) -> None:
    checkpoint, _ = make_internlm3(tmp_path / "checkpoint", qkv_bias=False, bias=False)
    (checkpoint / "tokenizer.json").unlink()
    (checkpoint / "tokenizer.model").write_bytes(b"a SentencePiece model")
    with pytest.raises(CheckpointError, match=r"save the tokenizer\.json"):
        export_judge(checkpoint, tmp_path / "judge")


def test_code_in_a_checkpoint_is_never_run_unasked(tmp_path: Path) -> None:
    checkpoint, _ = make_internlm3(tmp_path / "checkpoint", qkv_bias=False, bias=False)
    config = checkpoint / "config.json"
    config.write_text(config.read_text().replace('"model_type": "internlm3"', '"model_type": "internlm9"'))
    with pytest.raises(CheckpointError, match="trust_remote_code=True"):
        export_judge(checkpoint, tmp_path / "judge")
    assert not (tmp_path / "judge").exists()
