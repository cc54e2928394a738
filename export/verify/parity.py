"""Compares a written judge with PyTorch, layer by layer."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from lager_onnx.export.calibrate.sweep import Sweep
from lager_onnx.export.sources.source import Source
from lager_onnx.export.verify.cures import UNKNOWN_ARCHITECTURE
from lager_onnx.export.verify.emulate import feeds, load_for_cpu
from lager_onnx.models.errors import GradingError, VerificationError
from lager_onnx.models.graph import OUTPUTS
from lager_onnx.models.method import aggregate, expected_score, softmax
from lager_onnx.models.precisions import PARITY
from lager_onnx.models.spec import GRAPH_FILE, JudgeSpec, Parity
from lager_onnx.runtime.prefill import Prefill, takes_past
from lager_onnx.runtime.session import open_session, run_graph

Array = npt.NDArray[np.float32]

logger = logging.getLogger(__name__)

_CHUNK: Final = 48  # tokens at least
_LONG: Final = 256  # tokens; longer prompts are a batch of their own


def random_prompts(config: Any, context: int) -> list[list[int]]:
    """Random token ids of many lengths, which reach beyond a short sliding window, where there is one."""
    random = np.random.default_rng(0)
    window = getattr(config, "sliding_window", None) or 0
    longest = min(context, max(160, window + 7 if window <= 1024 else 0))
    lengths = [min(length, longest) for length in (1, 64, 5, longest, 33, 2, 17, 18)]
    return [[int(id_) for id_ in random.integers(0, config.vocab_size, length)] for length in lengths]


def padded_batches(prompts: Sequence[list[int]]) -> list[list[int]]:
    """Indices of the prompts, those apart that would pad the others to many times their length."""
    short = [index for index, prompt in enumerate(prompts) if len(prompt) <= _LONG]
    long = [index for index, prompt in enumerate(prompts) if len(prompt) > _LONG]
    return [batch for batch in (short, long) if batch]


def check_parity(got: dict[str, Array], expected: Array, spec: JudgeSpec, lengths: list[int], source: Source) -> Parity:
    """Holds what a judge says of some prompts against the layer logits of PyTorch, or of another oracle.

    Args:
        got: the graph's outputs.
        expected: (prompts, 2 (L + 1), K).
        spec: what the judge is.
        lengths: of the prompts, in tokens.
        source: what gave them.

    Raises:
        VerificationError: a difference over the limits of `PARITY`, or an output that is not finite.
    """
    if not np.isfinite(expected).all():
        row = spec.rows[int((~np.isfinite(expected)).any(axis=(0, 2)).argmax())]
        raise VerificationError(
            f"{source.oracle} itself gives layer logits that are not finite, first in {row}: a weight of {source.name} "
            "holds infinite numbers, or the checkpoint overflows. Nothing was kept"
        )
    _check_numbers(got, expected, spec, source)
    parity = _compare(got, expected, spec, lengths)
    _check(parity, spec, source)
    logger.info(
        "    largest differences over %d prompts of %d to %d tokens: layer_logits %.1e (%s, relative), "
        "logits %.1e (relative), probabilities %.1e, score %.1e",
        parity.prompts, *parity.lengths, parity.layer_logits, parity.worst_row, parity.logits,
        parity.probabilities, parity.score,
    )  # fmt: skip
    return parity


def _check_numbers(got: dict[str, Array], expected: Array, spec: JudgeSpec, source: Source) -> None:
    """Refuse layer logits that nothing can be relative to, and outputs that overflow."""
    zero = ~expected.any(axis=(0, 2))
    if zero.any():
        raise VerificationError(
            f"{source.oracle} itself gives layer logits that are all zero, first in {spec.rows[int(zero.argmax())]}: "
            f"weights of {source.name} are zero, as of a checkpoint that was not saved whole. Nothing was kept"
        )
    for name, array in got.items():
        if not np.isfinite(array).all():
            raise VerificationError(
                f"the judge's {name} are not finite where those of {source.oracle} are: numbers of {source.name} are "
                "so large that they overflow. Nothing was kept"
            )


def grade_file(folder: Path, spec: JudgeSpec, prompts: list[list[int]]) -> tuple[dict[str, Array], list[int]]:
    """Runs the judge in `folder` as it was written, on the CPU: prompts in one padded batch, and some in chunks.

    Weights stay in the mapped file, which is read as often as the judge runs: once for the batch, and a few times for
    the chunks, each behind the KV cache of those before. A judge for CUDA is emulated, with all prompts in one packed
    batch.

    Returns:
        The graph's outputs, and which prompt each row of them is of.

    Raises:
        VerificationError: onnxruntime cannot run it.
    """
    if spec.arithmetic != "fp32":
        model = load_for_cpu(folder, spec)
        sweep = Sweep(model, feeds(model, prompts, together=True), precision=spec.precision)
        return sweep.run_all("run"), list(range(len(prompts)))
    session = open_session(folder / GRAPH_FILE, device="cpu", precision=spec.precision).session
    batches = padded_batches(prompts)
    runs = [(batch, partial(run_graph, session, [prompts[index] for index in batch])) for batch in batches]
    if takes_past(session):
        by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        prefill = Prefill(session, chunk_tokens=max(_CHUNK, len(prompts[by_length[-1]]) // 2 + 1))
        alone = dict.fromkeys([by_length[-1], by_length[len(by_length) // 2], by_length[0]])
        runs += [([index], partial(prefill.grade, prompts[index])) for index in alone]
    bar = tqdm(runs, desc="    run", unit=" runs", disable=None, leave=False)
    try:
        got = [grade() for _, grade in bar]
    except GradingError as error:
        raise VerificationError(f"the exported graph does not run: {error}. Nothing was kept") from error
    rows = [index for batch, _ in runs for index in batch]
    return {name: np.concatenate([outputs[name] for outputs in got]) for name in OUTPUTS}, rows


def _compare(got: dict[str, Array], expected: Array, spec: JudgeSpec, lengths: list[int]) -> Parity:
    logits = aggregate(np.asarray(spec.layer_weights), expected)
    probabilities = softmax(logits)
    score = expected_score(probabilities, np.asarray(spec.scale.values))
    by_layer = np.abs(got["layer_logits"] - expected).max(axis=(0, 2)) / np.abs(expected).max(axis=(0, 2))
    return Parity(
        layer_logits=float(by_layer.max()),
        worst_row=str(spec.rows[int(by_layer.argmax())]),
        logits=float(np.abs(got["logits"] - logits).max() / np.abs(logits).max()),
        probabilities=float(np.abs(got["probabilities"] - probabilities).max()),
        score=float(np.abs(got["score"] - score).max()),
        prompts=len(lengths),
        lengths=(min(lengths), max(lengths)),
    )


def _check(parity: Parity, spec: JudgeSpec, source: Source) -> None:
    limits, width = PARITY[spec.arithmetic], spec.scale.width
    # Written so that a NaN fails.
    if not (parity.layer_logits <= limits.layer_logits and parity.score <= limits.score * width):
        raise VerificationError(
            f"the exported judge disagrees with {source.oracle}: layer logits by {parity.layer_logits:.2e} "
            f"({parity.worst_row}; allowed {limits.layer_logits:.0e} of the layer's largest), score by "
            f"{parity.score:.2e} (allowed {limits.score * width:.0e}). Nothing was kept",
            UNKNOWN_ARCHITECTURE,
        )
