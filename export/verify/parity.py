"""Compares a written judge with PyTorch, layer by layer."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedModel

from lager_onnx.export.verify.oracle import oracle_layer_logits
from lager_onnx.models.errors import GradingError, VerificationError
from lager_onnx.models.method import aggregate, expected_score, softmax
from lager_onnx.models.precisions import PARITY
from lager_onnx.models.spec import GRAPH_FILE, JudgeSpec, Parity
from lager_onnx.runtime.prefill import Prefill, takes_past
from lager_onnx.runtime.session import open_session, run_graph

Array = npt.NDArray[np.float32]

_PADDING = 0
_CHUNK = 48  # tokens


def sample_batches(config: Any, context: int, texts: list[list[int]]) -> list[list[list[int]]]:
    """Batches of token ids to compare on: real prompts, and random ids of many lengths, mixed within batches.

    Lengths reach beyond a short sliding window, where there is one.
    """
    random = np.random.default_rng(0)
    window = getattr(config, "sliding_window", None) or 0
    longest = min(context, max(160, window + 7 if window <= 1024 else 0))

    def prompt(length: int) -> list[int]:
        return [int(id_) for id_ in random.integers(0, config.vocab_size, min(length, longest))]

    single, mixed = [[prompt(1)], [prompt(64)]], [prompt(5), prompt(longest), prompt(33), prompt(2)]
    return [*single, mixed, [prompt(17), prompt(18)], *([texts] if texts else [])]


def verify(folder: Path, spec: JudgeSpec, model: PreTrainedModel, batches: list[list[list[int]]]) -> Parity:
    """Runs the judge in `folder` on the CPU and compares all its outputs with PyTorch's.

    Raises:
        VerificationError: a difference over the limits of `PARITY`, or an output that is not finite.
    """
    session = open_session(folder / GRAPH_FILE, device="cpu").session
    pairs = []
    for batch in batches:
        ids = np.full((len(batch), max(map(len, batch))), _PADDING, dtype=np.int64)
        for row, tokens in zip(ids, batch, strict=True):
            row[: len(tokens)] = tokens
        expected = oracle_layer_logits(model, ids, [len(tokens) for tokens in batch], spec.score_token_ids, spec.lens)
        try:
            pairs.append((run_graph(session, batch), expected))
        except GradingError as error:
            raise VerificationError(f"the exported graph does not run: {error}. Nothing was kept") from error
        if takes_past(session):  # the same again in chunks, each behind the KV cache of those before
            prefill = Prefill(session, chunk_tokens=_CHUNK)
            pairs += [(prefill.grade(prompt), expected[[row]]) for row, prompt in enumerate(batch)]
    got = {name: np.concatenate([outputs[name] for outputs, _ in pairs]) for name in pairs[0][0]}
    expected = np.concatenate([layer_logits for _, layer_logits in pairs])
    parity = _compare(got, expected, spec, [len(tokens) for batch in batches for tokens in batch])
    _check(parity, spec)
    return parity


def _compare(got: dict[str, Array], expected: Array, spec: JudgeSpec, lengths: list[int]) -> Parity:
    logits = aggregate(np.asarray(spec.layer_weights), expected)
    probabilities = softmax(logits)
    score = expected_score(probabilities, np.asarray(spec.scale.values))
    by_layer = np.abs(got["layer_logits"] - expected).max(axis=(0, 2)) / np.abs(expected).max(axis=(0, 2))
    return Parity(
        layer_logits=float(by_layer.max()),
        worst_layer=int(by_layer.argmax()),
        logits=float(np.abs(got["logits"] - logits).max() / np.abs(logits).max()),
        probabilities=float(np.abs(got["probabilities"] - probabilities).max()),
        score=float(np.abs(got["score"] - score).max()),
        prompts=len(lengths),
        lengths=(min(lengths), max(lengths)),
    )


def _check(parity: Parity, spec: JudgeSpec) -> None:
    limits, width = PARITY[spec.arithmetic], spec.scale.width
    # Written so that a NaN fails.
    if not (parity.layer_logits <= limits.layer_logits and parity.score <= limits.score * width):
        raise VerificationError(
            f"the exported judge disagrees with PyTorch: layer logits by {parity.layer_logits:.2e} "
            f"(row {parity.worst_layer}; allowed {limits.layer_logits:.0e} of the layer's largest), score by "
            f"{parity.score:.2e} (allowed {limits.score * width:.0e}). Nothing was kept. "
            "The exporter may not know this architecture; --no-verify writes the judge all the same"
        )
