"""The committed tiny judges say today what they said when they were made."""

import json
from pathlib import Path

import numpy as np
import pytest

from lager_onnx import Judge

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "golden.json").read_text())
# Of the scale; processors round otherwise, and in few bits a hair decides between two steps.
ALLOWED = {"fp32": 1e-4, "int8": 5e-3, "int4": 3e-2}


@pytest.mark.parametrize("precision", ALLOWED)
def test_scores_are_the_golden_ones(precision: str, tiny_judges: dict[str, Path]) -> None:
    grades = Judge.load(tiny_judges[precision], device="cpu").score(GOLDEN["records"])
    expected = np.array([row["score"] for row in GOLDEN[precision]])
    assert np.ptp(expected) > 0.35  # they differ between records, or anything would agree
    np.testing.assert_allclose([grade.score for grade in grades], expected, atol=4 * ALLOWED[precision])
    if precision == "fp32":
        for grade, row in zip(grades, GOLDEN[precision], strict=True):
            np.testing.assert_allclose(grade.layer_logits, row["layer_logits"], atol=1e-4)


def test_few_bits_are_near_float32() -> None:
    scores = {name: np.array([row["score"] for row in GOLDEN[name]]) for name in ALLOWED}
    assert 0 < np.abs(scores["int8"] - scores["fp32"]).max() < 0.1
    assert 0 < np.abs(scores["int4"] - scores["fp32"]).mean() < 0.3
