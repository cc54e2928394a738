"""Compare the scores of a contender with those of PyTorch.

A contender that grades with wrong weights is as fast as one that grades with the right ones. So the scores of each are
compared with those of PyTorch in float32, read from the checkpoint's own files and not from what was made for peers.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from lager_onnx.models.method import expected_score, lager_score, softmax
from lager_onnx.models.spec import JudgeSpec

Prompts = list[list[int]]
Scores = Mapping[str, Sequence[float]]  # "lager", "expectation": (prompts,)

# Mean difference over all prompts, as a share of the scale's width. Seen with SmolLM2-135M (BENCHMARKS.md, "differs
# by", over 4): 2e-4 in 32 bits, of llama.cpp, whose cache has 16; 1.6% where arithmetic is in 16 bits; 2.7% in 8; 5% in
# 4, and 8% of the eight long prompts alone.
TOLERANCES: Final = {"fp32": 5e-4, "bf16": 0.05, "int8": 0.05, "int4": 0.1}
_PRECISIONS: Final = {"f32": "fp32", "q8_0": "int8", "q4_0": "int4", "graph": "fp32", "procedure": "bf16"}
_CONSTANT: Final = 1e-5  # of the scale's width: scores that differ by less come from no weights


class WrongScoresError(Exception):
    """A contender does not grade with the checkpoint's weights."""


def precision_of(contender: str) -> str:
    """Return the precision in which a contender computes, from the last word of its name."""
    word = contender.rsplit(maxsplit=1)[-1].lower()
    found = _PRECISIONS.get(word, word)
    if found not in TOLERANCES:
        raise WrongScoresError(f"the precision of {contender} is not known: add it to benchmarks/agreement.py")
    return found


def write_reference(checkpoint: str, judge: Path, sets: Mapping[str, Prompts], file: Path) -> None:
    """Write PyTorch's scores in float32 for every set, by its title: LAGER's, and the last layer's expectation.

    Args:
        checkpoint: what the judge was exported from.
        judge: for scale, score tokens and layer weights.
        sets: prompts by title.
        file: JSON, written anew.
    """
    from lager_onnx.export.checkpoint import load_checkpoint  # noqa: PLC0415

    loaded, spec = load_checkpoint(checkpoint), JudgeSpec.load(judge)
    values, weights = np.array(spec.scale.values), np.array(spec.layer_weights)
    found = {}
    for title, prompts in sets.items():
        logits = loaded.layer_logits(prompts, spec)
        expectation = expected_score(softmax(logits[:, -1]), values)
        found[title] = {"lager": lager_score(weights, logits, values).tolist(), "expectation": expectation.tolist()}
    file.write_text(json.dumps({"width": spec.scale.width, "sets": found}))


def check(contender: str, sets: Mapping[str, Scores], reference: Path) -> None:
    """Compare a contender's scores with PyTorch's.

    Args:
        contender: its name.
        sets: its scores by title.
        reference: what `write_reference` wrote, of these titles and perhaps others.

    Raises:
        WrongScoresError: they differ by more than its precision explains, or are the same for all prompts.
    """
    content = json.loads(reference.read_text())
    limit = TOLERANCES[precision_of(contender)]
    for kind in ("lager", "expectation"):
        pairs = [(scores[kind], content["sets"][title][kind]) for title, scores in sets.items() if kind in scores]
        if not pairs:
            continue
        got, expected = (np.concatenate([pair[side] for pair in pairs]) / content["width"] for side in (0, 1))
        difference = np.abs(got - expected).mean()
        if not difference <= limit:  # so that NaN fails
            raise WrongScoresError(
                f"{contender} differs from PyTorch by {difference:.1%} of the scale ({kind}, mean of {len(got)} "
                f"prompts); its precision explains {limit:.2%}. It has other weights, or reads other prompts: "
                "delete the folder peers, in which what it loads is made, and look at how that is made"
            )
        if np.ptp(got) <= _CONSTANT < np.ptp(expected):
            raise WrongScoresError(f"{contender} gives all {len(got)} prompts the same score: it has no weights")
