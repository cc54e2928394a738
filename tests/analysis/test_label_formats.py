"""Labelled data as it is published: small files in those forms."""

import json
from pathlib import Path
from typing import Any

import pytest

from lager_onnx.analysis.labels.read import LabelledRecord, LabelledRecords, as_labelled, read_labelled
from lager_onnx.models.errors import LabelError
from lager_onnx.models.question import Question
from lager_onnx.models.scale import Scale
from lager_onnx.models.template import Template

SCALE = Scale.parse("1-5")
PROMETHEUS = """###Task Description:
An instruction, a response to evaluate and a score rubric are given.

###The instruction to evaluate:
Name a prime.
### Think first

###Response to evaluate:
Seven.

###Reference Answer (Score 5):
7 is a prime.

###Score Rubrics:
[Is the answer right?]
Score 1: It is wrong.
Score 2: Mostly wrong.
Score 3: Half right.
Score 4: Mostly right.
Score 5: It is right.

###Feedback:
"""
BIGGEN = {
    "id": "planning_1",
    "capability": "planning",
    "input": "Plan a day.",
    "response": "Sleep.",
    "reference_answer": "Work, then sleep.",
    "score_rubric": {"criteria": "Is it a plan?"}
    | {f"score{score}_description": f"level {score}" for score in range(1, 6)},
    "human_score": 2,
}


def read(path: Path, rows: list[Any], data: Any) -> LabelledRecords:
    path.write_text(json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows))
    return read_labelled(str(path), SCALE, data=data)


def prompt(row: LabelledRecord) -> str:
    return Template.load("direct").fill(row.record, question=Question(SCALE), answer_prefix="score: ")


@pytest.mark.parametrize(("label", "expected"), [({"human_score": [4, 5, 3]}, 4), ({"gpt4_score": 2}, 2)])
def test_prometheus(tmp_path: Path, label: dict[str, Any], expected: float) -> None:
    (row,) = read(tmp_path / "flask_eval.json", [{"idx": 0, "instruction": PROMETHEUS, **label}], "prometheus")
    assert row.label == expected
    text = prompt(row)
    for part in (
        "Name a prime.\n### Think first",
        "Seven.",
        "7 is a prime.",
        "Is the answer right?",
        "4: Mostly right.",
    ):
        assert part in text
    assert text.count("Is the answer right?") == 1
    assert "Task Description" not in text
    assert "Score Rubrics" not in text


def test_helpsteer_has_a_record_an_attribute(tmp_path: Path) -> None:
    row = {"prompt": "Name a prime.", "response": "7", "helpfulness": 4, "correctness": 4, "coherence": 3}
    rows = read(tmp_path / "helpsteer.jsonl", [row | {"complexity": 0, "verbosity": 1}], "helpsteer")
    assert [(each.record["criterion"], each.label) for each in rows] == [
        ("helpfulness", 5), ("correctness", 5), ("coherence", 4), ("complexity", 1), ("verbosity", 2),
    ]  # fmt: skip
    assert len({each.group for each in rows}) == 1
    assert "verbosity: How much detail" in prompt(rows.rows[-1])


def test_biggen(tmp_path: Path) -> None:
    (row,) = read(tmp_path / "biggen.jsonl", [BIGGEN], "biggen")
    assert (row.label, row.group, row.record["capability"]) == (2, "planning_1", "planning")
    text = prompt(row)
    for part in ("Plan a day.", "Sleep.", "Work, then sleep.", "Is it a plan?", "3: level 3"):
        assert part in text


def test_a_label_may_be_a_list_or_a_number_as_text(tmp_path: Path) -> None:
    record = {"instruction": "Name a prime.", "response": "Seven.", "criterion": "correctness"}
    rows = read(tmp_path / "in.jsonl", [record | {"human_score": given} for given in ([3, 4], "2.5", 4)], "plain")
    assert [row.label for row in rows] == [3.5, 2.5, 4]


@pytest.mark.parametrize(
    ("records", "groups"),
    [
        ([{"instruction": "a", "response": "b"}, {"instruction": "a", "response": "b"}], 1),
        ([{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}], 2),
        ([{"question": "a"}, {"question": "b"}], 2),  # of a user's own template
        ([{"question": "a", "group": "x"}, {"question": "b", "group": "x"}], 1),
    ],
)
def test_records_of_one_response_belong_together(records: list[dict[str, Any]], groups: int) -> None:
    found = as_labelled([{**record, "human_score": 1} for record in records], Scale.parse("1-5"))
    assert len({row.group for row in found}) == groups


def test_the_reference_repositorys_lines(tmp_path: Path) -> None:
    (row,) = read(tmp_path / "own.jsonl", [{"user_prompt": "Grade this: 7", "score": 4.5}], "reference")
    assert row.label == 4.5
    assert prompt(row) == "Grade this: 7"


@pytest.mark.parametrize(
    ("row", "data", "message"),
    [
        ({"instruction": "no sections", "human_score": [3]}, "prometheus", "no section"),
        ({"instruction": PROMETHEUS, "human_score": []}, "prometheus", "no label"),
        ({"instruction": PROMETHEUS, "human_score": [3, "x"]}, "prometheus", "not a number"),
        ({"prompt": "a", "response": "b", "helpfulness": 4}, "helpsteer", "'correctness'"),
        (
            {"prompt": "a", "response": "b"} | dict.fromkeys(("helpfulness",), 5),
            "helpsteer",
            "out of the judge's scale",
        ),
        (BIGGEN | {"score_rubric": None}, "biggen", "score_rubric"),
        ({"user_prompt": "", "score": 3}, "reference", "user_prompt"),
        ({"user_prompt": "x", "score": True}, "reference", "not a number"),
    ],
)
def test_what_is_not_of_the_form_is_named_with_its_line(
    tmp_path: Path, row: dict[str, Any], data: str, message: str
) -> None:
    with pytest.raises(LabelError, match=message) as caught:
        read(tmp_path / "in.jsonl", [row], data)
    assert "line 1" in str(caught.value)
