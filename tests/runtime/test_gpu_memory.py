"""How large batches on a GPU are by default; nothing here runs on one."""

import json
from pathlib import Path

import pytest

from lager_onnx.runtime import gpu_memory
from lager_onnx.runtime.batching import BATCH_TOKENS
from lager_onnx.runtime.gpu_memory import bytes_a_token, free_gpu_memory, gpu_batch_tokens

LLAMA_8B = {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32}
SMOLLM2 = {"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "head_dim": 64}


def test_what_is_counted_on_is_more_than_was_measured() -> None:
    assert 241_976 < bytes_a_token(LLAMA_8B) < 2 * 241_976
    assert 50_513 < bytes_a_token(SMOLLM2) < 2 * 50_513


@pytest.mark.parametrize(("free", "tokens"), [(2 * 10**9, 1743), (10**10, 8719), (60 * 10**9, 32768)])
def test_batches_fill_what_is_free(free: int, tokens: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_memory, "free_gpu_memory", lambda _: free)
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    assert gpu_batch_tokens(tmp_path / "model.onnx", 0) == tokens


@pytest.mark.parametrize("config", ["{}", "[", '{"hidden_size": 64}', None])
def test_a_judge_without_widths_has_the_cpu_s_batches(
    config: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_memory, "free_gpu_memory", lambda _: 10**10)
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    assert gpu_batch_tokens(tmp_path / "model.onnx", 0) == BATCH_TOKENS


def test_without_cuda_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_memory, "_RUNTIMES", ("libcudart-that-is-not-there.so",))
    assert free_gpu_memory(0) is None
