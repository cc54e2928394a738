"""The documented recipes: templates that load, and F1 by the formula."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lager_onnx.models.question import Question
from lager_onnx.models.scale import Scale
from lager_onnx.models.template import Template

RECIPES = Path(__file__).parent.parent / "docs" / "recipes"


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("emotions", {"dialogue": "Ann: Go.\nBob: No.", "character": "Bob", "emotion": "Anger"}),
        ("knowledge_boundary", {"question": "Who wins the next war?"}),
    ],
)
def test_templates_show_the_whole_record(name: str, record: dict[str, str]) -> None:
    scale = Scale.parse("1=0,2=5,3=10")
    text = Template.load(str(RECIPES / f"{name}.txt")).fill(record, question=Question(scale), answer_prefix="score: ")
    for part in (*record.values(), "1, 2, 3", "score:"):
        assert part in text
    assert "{" not in text


def test_f1_counts_questions_below_three_quarters_of_the_scale(tmp_path: Path) -> None:
    scores = tmp_path / "scores.jsonl"
    values = [(3.9, False), (2.0, False), (4.5, False), (1.0, True), (4.0, True)]  # found: two of three, one wrongly
    rows = [
        {"answerable": answerable, "score": score, "vanilla": 5, "expectation": 1}
        | {"probabilities": dict.fromkeys("12345", 0.2)}
        for score, answerable in values
    ]
    scores.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, str(RECIPES / "knowledge_boundary.py"), str(scores)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "F1 0.667, 3 of 5 below 4" in lines[0]
    assert "F1 0.000, 0 of 5" in lines[1]
    assert "F1 0.750, 5 of 5" in lines[2]
