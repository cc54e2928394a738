"""A judge's folder as transformers' and optimum's classifiers load it."""

from pathlib import Path

import onnxruntime
import pytest
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoTokenizer, pipeline

from lager_onnx import Judge
from lager_onnx.analysis.depth.cut import cut
from lager_onnx.export import export_judge

RECORDS = [{"instruction": "Name a prime.", "response": "good bad " * number} for number in (1, 7, 2)]


@pytest.mark.slow
def test_optimum_s_classifier_gives_the_judge_s_probabilities(tiny_checkpoint: Path, tmp_path: Path) -> None:
    export_judge(tiny_checkpoint, tmp_path / "judge", scale="bad=0,ok=1,good=2", verify_judge=False)
    cut(tmp_path / "judge", tmp_path / "shallow", depth=2)
    onnxruntime.set_default_logger_severity(3)  # it warns of every input of the KV cache that has a default
    for folder in (tmp_path / "judge", tmp_path / "shallow"):
        judge = Judge.load(folder, device="cpu")
        classify = pipeline(
            "text-classification",
            model=ORTModelForSequenceClassification.from_pretrained(folder),
            tokenizer=AutoTokenizer.from_pretrained(folder),
        )
        prompts = [judge.prompt(record) for record in RECORDS]
        got = classify(prompts, top_k=None, batch_size=3, add_special_tokens=False)
        for found, grade in zip(got, judge.score(RECORDS), strict=True):
            by_label = {each["label"]: each["score"] for each in found}
            assert by_label == pytest.approx(grade.probabilities, abs=1e-5)
            assert set(by_label) == {"bad", "ok", "good"}
