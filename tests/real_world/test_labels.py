"""Groups and labels as people's files hold them: what is one group, and which number is the label."""

import json
import math
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from lager_onnx.analysis.labels.label import ratings_of
from lager_onnx.analysis.labels.read import as_labelled, read_labelled
from lager_onnx.models.errors import LabelError
from lager_onnx.models.scale import Scale

SCALE = Scale.parse("1-5")
NONE = (None, math.nan, np.float32("nan"), "", "  ")


def label_of(record: dict[str, Any], field: str) -> float:
    return fmean(ratings_of(record, field))


def groups(values: list[Any]) -> list[int]:
    """The groups of records of different responses, numbered in the order in which they first come."""
    records = [{"instruction": "q", "response": f"r{n}", "human_score": 3, "group": v} for n, v in enumerate(values)]
    names = [row.group for row in as_labelled(records, SCALE)]
    return [list(dict.fromkeys(names)).index(name) for name in names]


@pytest.mark.parametrize("zero", [0, 0.0, np.int64(0), False, "0"])
def test_zero_and_false_are_groups(zero: Any) -> None:
    assert groups([zero, zero, "a", zero]) == [0, 0, 1, 0]


@pytest.mark.parametrize("missing", NONE)
def test_a_missing_group_is_none(missing: Any) -> None:
    assert groups([missing, missing, "a", "a", missing]) == [0, 1, 2, 2, 3]


def test_records_without_a_group_belong_together_by_their_text() -> None:
    text = {"instruction": "q", "response": 0, "human_score": 3}
    found = as_labelled(
        [text | {"group": math.nan}, text, text | {"response": 1}, text | {"group": "q\0" + "0"}], SCALE
    )
    names = [row.group for row in found]
    assert names[0] == names[1]
    assert len(set(names)) == 3  # a name that somebody gave is no text


def test_a_whole_number_is_one_group_in_every_form() -> None:
    assert groups([1, 1.0, "1", np.float64(1), " 1 ", 2, "01", "1.0", 1.5, True]) == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]


def test_csv_and_json_give_the_same_groups(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("instruction,response,human_score,group\nq,r0,1,0\nq,r1,2,0\nq,r2,3,\nq,r3,4,\n")
    rows = [
        {"instruction": "q", "response": f"r{n}", "human_score": n + 1, "group": [0, 0, None, None][n]}
        for n in range(4)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    csv, lines = ([row.group for row in read_labelled(str(tmp_path / f"a.{end}"), SCALE)] for end in ("csv", "jsonl"))
    assert csv == lines
    assert len(set(csv)) == 3


def test_biggen_s_identifier_0_is_a_group(tmp_path: Path) -> None:
    rubric = {"criteria": "Is it?"} | {f"score{n}_description": f"level {n}" for n in range(1, 6)}
    row = {"input": "Plan.", "response": "Yes.", "score_rubric": rubric, "human_score": 2, "reference_answer": 0}
    lines = [
        row | {"id": 0},
        row | {"id": 0, "input": "Sleep."},
        row | {"id": None},
        row | {"id": None, "input": "Sleep."},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read_labelled(str(tmp_path / "a.jsonl"), SCALE, data="biggen")
    assert len({each.group for each in found}) == 3
    assert found.rows[0].record["reference"] == 0


PEOPLE = {"annotator_1": 4, "annotator_2": 5, "annotator_3": None}


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (PEOPLE, 4.5),
        (json.dumps(PEOPLE), 4.5),
        ({"Rater 1": 4, "rater-2": 2}, 3),
        ({"annotator_a": 4, "annotatorB": 2, "human": 3, "expert.2": 3}, 3),
        ({"A": 5, "b": 2}, 3.5),
        ({"r1": 4, "R2": 5, "p10": 3}, 4),
        ({"17": 4, "23": 5}, 4.5),
        ({"A1B2C3": 4, "A2XJMS2J2FMVXK": 1}, 2.5),
        ({"5f3ac09e1b7d": 4, "0B9E7C1A-0000-4000-8000-00000000000f": 1}, 2.5),
        ({"anna@lab.org": 4, "b.c@x.example.com": 1}, 2.5),
        ([4, "5", None], 4.5),
        ("[4, 5]", 4.5),
        (np.array([4, 5]), 4.5),
        (" 4.5 ", 4.5),
        ([0.1, 0.2, 0.3, 0.1, 0.2, 0.3], 0.2),
        ({"coherence": 5, "fluency": 1, "relevance": 3}, 1),  # the record's own
        ({"Coherence": 5, "Fluency ": [1, 2]}, 1.5),
    ],
)
def test_labels_that_are_read(label: Any, expected: float) -> None:
    assert label_of({"human_score": label, "criterion": "fluency"}, "human_score") == pytest.approx(expected, rel=1e-15)


def test_the_criterion_may_be_a_rubric_s() -> None:
    record = {"human_score": {"house style": 5, "wit": 1}, "rubric": {"name": "House-style", "question": "Is it?"}}
    assert label_of(record, "human_score") == 5


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"mean": 5.0, "std": 0.8, "count": 3}, r"mean, std, count.*something else than people.*'human_score\.mean'"),
        ('{"mean": 5.0, "std": 0.8}', r"'human_score\.mean'"),
        ({"avg_rating": 4, "n": 3}, "something else than people"),
        ({"m": 4, "n": 3}, "something else than people"),
        ({"p50": 4, "p90": 5}, "something else than people"),
        ({"meanScore": 4, "raterCount": 3}, "something else than people"),
        ({"coherence": 5, "relevance": 1}, "something else than people, and there is none for .* criterion, fluency"),
        ({"humor": 5, "bite": 1}, "something else than people"),
        ({"Stil": 5, "Witz": 1}, "something else than people"),
        ({"ROUGE1": 5, "GPT4": 1}, "something else than people"),
        ({"rater1": 5, "rater2": 4, "gold": 1}, "something else than people"),
        ({"rater1": 5, "raters": 3}, "something else than people"),
        ({"alice": 4, "bob": 5}, r'person.s label: take the mean of all with label="human_score\.\*", or give a list'),
        ({"label": 5, "annotator_id": 1}, r"'human_score\.label'"),
        ({"score": 4}, r"'human_score\.score'"),
        ({"1": 0, "2": 3, "5": 7}, "counts of scores or people"),
        ({"0": 0, "10": 3}, "counts of scores or people"),
        ([{"annotator": "a", "score": 4}, {"annotator": "b", "score": 5}], r"list of objects.*'human_score\.score'"),
        ({"rater1": {"helpful": 4}}, "not a number"),
        (True, "not a number"),
        ([4, True], "not a number"),
        (np.bool_(True), "not a number"),
        ("4/5", "not a number"),
        ("N/A", "not a number"),
        ([4, "N/A"], "not a number"),
        ("4,5", "not a number"),
        ("1_0", "not a number"),
        (b"4", "not a number"),
        ([[4, 5], [3]], "not a number"),
        ("inf", "not a number"),
        ({}, "no label"),
        ({"annotator_1": None}, "no label"),
    ],
)
def test_labels_that_are_refused(label: Any, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        label_of({"human_score": label, "criterion": "fluency"}, "human_score")


@pytest.mark.parametrize(
    ("record", "field", "expected"),
    [
        ({"human_score": {"mean": 5.0, "std": 0.8}}, "human_score.mean", 5),
        ({"human_score": '{"mean": 5.0, "std": 0.8}'}, "human_score.mean", 5),
        ({"human_score": [{"annotator": "a", "score": 4}, {"annotator": "b", "score": 5}]}, "human_score.score", 4.5),
        ({"a": {"b": {"c": 3}}}, "a.b.c", 3),
        ({"a.b": 2, "a": {"b": 3}}, "a.b", 2),
        ({"human_score": {"alice": 4, "bob": 5, "eve": None}}, "human_score.*", 4.5),
        ({"human_score": '{"alice": 4, "bob": "5"}', "criterion": "alice"}, "human_score.*", 4.5),
        ({"a": {"people": {"alice": {"score": 4}, "bob": {"score": 2}}}}, "a.people.*.score", 3),
        ({"a": {"alice": [4, 2]}}, "a.alice", 3),
        ({"a": [4, 2]}, "a.*", 3),
    ],
)
def test_a_dotted_name_goes_into_objects(record: dict[str, Any], field: str, expected: float) -> None:
    assert label_of(record, field) == expected
    with pytest.raises(LabelError, match="no label in field"):
        label_of(record, field + "x")


def test_all_values_are_only_taken_where_they_are_labels() -> None:
    for label, message in (({"alice": 4, "note": "x"}, "not a number"), (4, "no label"), ({}, "no label")):
        with pytest.raises(LabelError, match=message):
            label_of({"human_score": label}, "human_score.*")
    with pytest.raises(LabelError) as refused:
        label_of({"human_score": {"alice": 4, "bob": 5}}, "human_score")
    assert "--label 'human_score.*'" in refused.value.told("command")


@pytest.mark.parametrize("label", [[7, 1], {"annotator_1": 7, "annotator_2": 1}, 7, "0.5"])
def test_every_person_s_label_must_be_on_the_scale(label: Any) -> None:
    with pytest.raises(LabelError, match=r"record 0: the label .* is out of the judge's scale 1 to 5"):
        as_labelled([{"instruction": "q", "response": "r", "human_score": label}], SCALE)


def test_a_named_label_is_read_of_published_forms(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"user_prompt": "Grade this.", "score": 1, "people": {"mean": 4.5, "std": 1}}) + "\n")
    assert read_labelled(str(path), SCALE, data="reference", field="people.mean").rows[0].label == 4.5
    assert read_labelled(str(path), SCALE, data="reference").rows[0].label == 1
    path.write_text(json.dumps({"prompt": "a", "response": "b", "helpfulness": 4}) + "\n")
    with pytest.raises(LabelError, match="line 1: field 'mine' cannot be the label of helpsteer"):
        read_labelled(str(path), SCALE, data="helpsteer", field="mine")


def test_what_was_left_out_is_told_with_the_cure_of_each_interface(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    rows = [{"instruction": "q", "response": "r", "human_score": 3}, {"instruction": "q", "response": "r"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_labelled(str(file), SCALE, on_error="skip")
    assert (len(found), len(found.left_out)) == (1, 1)
    assert "line 2: no label in field 'human_score'" in found.describe()
    assert "label=" in found.describe()
    assert "--label" not in found.describe()
    assert "--label" in found.describe("command")
    file.write_text(json.dumps(rows[1]) + "\n")
    with pytest.raises(LabelError, match=r"no labelled records: 1 left out:\n.* by label=") as none:
        read_labelled(str(file), SCALE, on_error="skip")
    assert "--label" in none.value.told("command")
