"""How many tokens of a batch a GPU has room for."""

import ctypes
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lager_onnx.models.spec import CONFIG_FILE
from lager_onnx.runtime.batching import BATCH_TOKENS

logger = logging.getLogger(__name__)

# CUDA's runtime, which onnxruntime has loaded by then.
_RUNTIMES: Final = ("libcudart.so.13", "libcudart.so.12", "cudart64_13.dll", "cudart64_12.dll")
_SHARE: Final = 0.8  # of free memory: kernels and what CUDA's libraries take come on top
_IN_FLIGHT: Final = 2  # batches at once; see `BatchEngine`
_WIDTHS: Final = ("hidden_size", "intermediate_size", "num_attention_heads")
_MOST: Final = 32768  # tokens; larger batches are no faster


def bytes_a_token(config: Mapping[str, Any]) -> int:
    """Upper bound of the GPU memory that a token of a batch takes beside the weights.

    Fitted to what onnxruntime allocates for SmolLM2-135M, for a judge of Llama 3.1 8B's widths and for tiny ones of all
    families (`make check-cuda-placement`, which fails where a judge takes more). The number of layers does not matter:
    of what a layer has computed, the next one keeps the residual stream.

    Args:
        config: the checkpoint's config.json.

    Raises:
        ValueError: it says nothing of the judge's widths.
    """
    try:
        hidden, inner, heads = (int(config[f"{name}"]) for name in _WIDTHS)
        size = int(config.get("head_dim") or hidden // heads)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"no widths in config.json: {error}") from error
    return 40 * hidden + 16 * heads * size + 16 * inner


def gpu_batch_tokens(model: Path, gpu: int) -> int:
    """The most tokens of a batch by default, for a judge that has been opened on a GPU."""
    free = free_gpu_memory(gpu)
    try:
        needed = bytes_a_token(json.loads(model.with_name(CONFIG_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError):  # a judge without it grades all the same
        needed = None
    if free is None or needed is None:
        logger.info("batches of %d tokens: how much memory the GPU has, or the judge needs, is not known", BATCH_TOKENS)
        return BATCH_TOKENS
    return max(1, min(_MOST, int(_SHARE * free) // (_IN_FLIGHT * needed)))


def free_gpu_memory(gpu: int) -> int | None:
    """Bytes that are free on a GPU; None where CUDA's runtime is not found or does not tell."""
    for name in _RUNTIMES:
        try:
            runtime = ctypes.CDLL(name)
        except OSError:
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        failed = runtime.cudaSetDevice(gpu) or runtime.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
        return None if failed else free.value
    return None
