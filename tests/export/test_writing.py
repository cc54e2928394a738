"""Judges that write: token for token what transformers generates greedily, and the same grades as without."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from transformers import AutoModelForCausalLM

from lager_onnx import Judge
from lager_onnx.analysis.depth.cut import cut
from lager_onnx.export import export_judge
from lager_onnx.models.errors import ExportError, GradingError
from lager_onnx.models.precisions import Precision
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.decode import Decoder
from lager_onnx.runtime.feedback import Reasoning
from lager_onnx.runtime.prefill import Prefill
from lager_onnx.runtime.session import open_session
from support.greedy import write_as_transformers
from support.tiny import HEAD, PHI, VARIANTS, make_checkpoint

TOKENS = 24
RECORDS = [{"instruction": "Count.", "response": "good " * number} for number in (1, 4, 30)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_writes_what_transformers_writes(variant: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS[variant])
    spec = export_judge(checkpoint, tmp_path / "judge", reasoning=True)
    assert spec.parity is not None
    model = AutoModelForCausalLM.from_pretrained(checkpoint, attn_implementation="eager").eval()
    session = open_session(tmp_path / "judge" / "model.onnx", device="cpu").session
    random = np.random.default_rng(0)
    prompts = [random.integers(0, model.config.vocab_size, length).tolist() for length in (1, 7, 90)]
    decoder = Decoder(session, slots=2, tokens=90 + TOKENS, chunk_tokens=64)
    results, ties = write_as_transformers(decoder, model, prompts, TOKENS)
    for prompt, result in zip(prompts, results, strict=True):
        graded = Prefill(session, chunk_tokens=64).grade(prompt)["layer_logits"][0]  # of the text, nothing is left
        np.testing.assert_array_equal(result.outputs["layer_logits"], graded)
    assert ties <= 1


@pytest.mark.parametrize(
    ("variant", "precision"),
    [
        *(("llama-tied-biases", each) for each in ("fp32", "fp16", "bf16", "int8", "int4")),
        ("llama", "fp32"),
        ("llama", "int8"),
    ],
)
def test_its_grades_are_those_of_a_judge_that_cannot_write(variant: str, precision: Precision, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS[variant], head=HEAD)
    for name, reasoning in (("writes", True), ("grades", False)):
        export_judge(checkpoint, tmp_path / name, precision=precision, reasoning=reasoning, verify_judge=False)
    one, other = (Judge.load(tmp_path / name).score(RECORDS) for name in ("writes", "grades"))
    for got, expected in zip(one, other, strict=True):
        np.testing.assert_array_equal(got.layer_logits, expected.layer_logits)
        assert got.score == expected.score
    sizes = [(tmp_path / name / "model.onnx_data").stat().st_size for name in ("writes", "grades")]
    tied = variant != "llama"
    assert (sizes[0] == sizes[1]) == tied  # a tied unembedding is stored once


def test_unasked_it_computes_no_next_token(tiny_checkpoint: Path, tmp_path: Path) -> None:
    export_judge(tiny_checkpoint, tmp_path / "judge", reasoning=True, verify_judge=False)
    session = onnxruntime.InferenceSession(tmp_path / "judge" / "model.onnx")
    fed = {"input_ids": np.ones((3, 4), np.int64), "attention_mask": np.ones((3, 4), np.int64)}
    shapes = [
        session.run(["next_token_logits"], {**fed, "writers": np.asarray([writers])})[0].shape for writers in (0, 2, 3)
    ]
    assert shapes == [(0, 370), (2, 370), (3, 370)]
    assert session.run(["next_token_logits"], fed)[0].shape == (0, 370)


def test_the_grade_is_that_of_the_same_feedback_from_elsewhere(writing_judge: Path) -> None:
    judge = Judge.load(writing_judge, threads=2)
    written = judge.score(RECORDS, reasoning=Reasoning(max_tokens=20))
    for record, grade in zip(RECORDS, written, strict=True):
        (feedback,) = grade.feedback
        assert (feedback.ended, feedback.tokens) in {("limit", 20), ("end", feedback.tokens)}
        again = judge.score([{**record, "feedback": feedback.text}], fields={"feedback": "feedback"})[0]
        np.testing.assert_allclose(grade.layer_logits, again.layer_logits, rtol=1e-4, atol=1e-5)
    assert [grade.feedback for grade in judge.score(RECORDS)] == [()] * 3


def test_samples_are_drawn_by_seed_whatever_is_beside_them(writing_judge: Path) -> None:
    judge = Judge.load(writing_judge, threads=2)
    drawn = Reasoning(max_tokens=12, samples=3, temperature=1.0, seed=5)
    together, alone = judge.score(RECORDS, reasoning=drawn), judge.score(RECORDS[1:2], reasoning=drawn)[0]
    assert [each.text for each in together[1].feedback] == [each.text for each in alone.feedback]
    assert len({each.text for each in alone.feedback}) == 3
    said = {"feedback": "feedback"}
    apart = [judge.score([{**RECORDS[1], "feedback": each.text}], fields=said)[0].score for each in alone.feedback]
    assert alone.score == pytest.approx(np.mean(apart), abs=1e-4)
    other = judge.score(RECORDS[1:2], reasoning=replace(drawn, seed=6))[0]
    assert [each.text for each in other.feedback] != [each.text for each in alone.feedback]
    with pytest.raises(ValueError, match="need a temperature"):
        Reasoning(samples=2)


def test_what_cannot_be_written_is_an_error_of_its_record(writing_judge: Path, tiny_judge: Path) -> None:
    judge = Judge.load(writing_judge)
    records: list[dict[str, Any]] = [{**RECORDS[0], "feedback": "Fine."}, {**RECORDS[1], "feedback": None}]
    first, second = judge.score(
        records, reasoning=Reasoning(max_tokens=4), on_error="skip", fields={"feedback": "feedback"}
    )
    assert "has feedback already" in str(first)
    assert not isinstance(second, Exception)
    (dropped,) = judge.score(RECORDS[:1], reasoning=Reasoning(max_tokens=4, drop=True), on_error="skip")
    assert "named no grade in 4 tokens" in str(dropped)
    with pytest.raises(GradingError, match="export it with reasoning=True"):
        Judge.load(tiny_judge).score(RECORDS, reasoning=True)


def test_a_judge_that_is_cut_writes_no_more(writing_judge: Path, tmp_path: Path) -> None:
    spec = cut(writing_judge, tmp_path / "cut", depth=2)
    assert spec.writing is None
    assert JudgeSpec.load(writing_judge).writing is not None
    graph = ir.load(tmp_path / "cut" / "model.onnx").graph
    assert "next_token_logits" not in {value.name for value in graph.outputs}


def test_cuda_and_unfused_attention_cannot_write(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="reasoning is for the CPU"):
        export_judge(tiny_checkpoint, tmp_path / "judge", reasoning=True, target="cuda")
    with pytest.raises(ExportError, match="keeps nothing of what it has read"):
        export_judge(make_checkpoint(tmp_path / "checkpoint", *PHI), tmp_path / "judge", reasoning=True)
