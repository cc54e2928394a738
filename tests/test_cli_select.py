"""`lager select`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from lager_onnx import Judge
from lager_onnx.cli import main
from lager_onnx.models.criteria import CRITERIA, SELECTION_CRITERIA
from lager_onnx.models.errors import OutputError
from lager_onnx.runtime.jobs.select import Graded, best, how_many

NAMES = ("relevance", "fluency")


@pytest.fixture
def records(tmp_path: Path) -> Path:
    rows = [{"id": n, "instruction": "Count.", "response": "good bad " * n, "criterion": "x"} for n in range(1, 13)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "in.jsonl"


def select(judge: Path, records: Path, *more: object) -> Result:
    arguments = ["select", judge, records, "-o", records.with_name("out.jsonl"), "--criteria", ",".join(NAMES), *more]
    return CliRunner().invoke(main, [str(argument) for argument in [*arguments, "--device", "cpu"]])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_best_by_mean_score_are_kept_in_their_order(tiny_judge: Path, records: Path) -> None:
    result = select(tiny_judge, records, "--keep", "25%")
    assert result.exit_code == 0, result.output
    judge, rows = Judge.load(tiny_judge, device="cpu"), lines(records)
    means = np.mean([[g.score for g in judge.score([r | {"criterion": a} for r in rows])] for a in NAMES], axis=0)
    kept = lines(records.with_name("out.jsonl"))
    assert [row["id"] for row in kept] == sorted((np.argsort(-means, kind="stable")[:3] + 1).tolist())
    for row in kept:
        assert row["score"] == pytest.approx(means[row["id"] - 1], abs=1e-4)
        assert set(row["scores"]) == set(NAMES)
        assert row["criterion"] == "x"


def test_an_interrupted_run_goes_on(tiny_judge: Path, records: Path) -> None:
    output, grades = records.with_name("out.jsonl"), records.with_name("out.jsonl.grades.jsonl")
    assert select(tiny_judge, records).exit_code == 0
    whole, kept = lines(grades), output.read_text()
    grades.write_text("".join(json.dumps(line) + "\n" for line in whole[:7]) + '{"record": 3, "cri')
    output.unlink()
    assert "--resume" in select(tiny_judge, records).stderr
    assert select(tiny_judge, records, "--resume").exit_code == 0
    assert [(row["record"], row["criterion"]) for row in lines(grades)] == [
        (r["record"], r["criterion"]) for r in whole
    ]
    assert output.read_text() == kept
    assert "other records or criteria" in select(tiny_judge, records, "--resume", "--criteria", "coherence").stderr


def test_a_record_that_was_edited_is_not_given_the_grades_of_its_old_text(tiny_judge: Path, records: Path) -> None:
    grades, whole = records.with_name("out.jsonl.grades.jsonl"), lines(records)
    assert select(tiny_judge, records).exit_code == 0
    digests = [line["text"] for line in lines(grades)]
    assert digests[::2] == digests[1::2]  # of two criteria
    assert len(set(digests)) == 12
    assert all(len(bytes.fromhex(each)) == 8 for each in digests)
    done = grades.read_text()
    for number, field, text in ((0, "response", "bad"), (4, "instruction", "Sum."), (11, "context", "more")):
        rows = [row | ({field: text} if n == number else {}) for n, row in enumerate(whole)]
        records.write_text("".join(json.dumps(row) + "\n" for row in rows))
        refused = select(tiny_judge, records, "--resume")
        assert refused.exit_code == 2, refused.output
        assert f"holds grades of other records: {records}, line {number + 1} has changed" in refused.stderr
        assert "--overwrite" in refused.stderr
        assert grades.read_text() == done
    rows = [dict(reversed([*row.items()])) | {"criterion": "y"} for row in whole]
    records.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert select(tiny_judge, records, "--resume").exit_code == 0
    records.write_text("".join(json.dumps(row | {"answer": "good"}) + "\n" for row in whole))
    assert select(tiny_judge, records, "--overwrite").exit_code == 0
    assert "other records" in select(tiny_judge, records, "--resume", "--field", "response=answer").stderr


def test_grades_of_an_older_release_have_no_digests_and_are_gone_on_from(tiny_judge: Path, records: Path) -> None:
    grades = records.with_name("out.jsonl.grades.jsonl")
    assert select(tiny_judge, records).exit_code == 0
    older = [{name: line[name] for name in ("record", "criterion", "score")} for line in lines(grades)]
    grades.write_text("".join(json.dumps(line) + "\n" for line in older[:7]))
    assert select(tiny_judge, records, "--resume").exit_code == 0
    assert [(line["record"], line["criterion"]) for line in lines(grades)] == [
        (n, name) for n in range(12) for name in NAMES
    ]
    grades.write_text("".join(json.dumps(line | {"score": 6 - line["score"]}) + "\n" for line in older))
    assert "grades of another judge" in select(tiny_judge, records, "--resume").stderr


def test_records_without_a_grade_are_left_out_or_stop_the_run(tiny_judge: Path, records: Path) -> None:
    rows = lines(records)
    del rows[2]["response"]
    records.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    stopped = select(tiny_judge, records)
    assert stopped.exit_code == 2
    assert "line 3: field 'response' is missing" in stopped.stderr
    skipped = select(tiny_judge, records, "--on-error", "skip", "--keep", "11", "--overwrite")
    assert skipped.exit_code == 0, skipped.output
    assert "2 could not be graded" in skipped.stderr
    assert [row["id"] for row in lines(records.with_name("out.jsonl"))] == [n for n in range(1, 13) if n != 3]


def test_of_equals_the_first_are_kept() -> None:
    graded = [Graded({"id": n}, {"a": score}) for n, score in enumerate([3.0, 4.0, 3.0, 3.0])]
    assert [each.record["id"] for each in best(graded, 2)] == [0, 1]
    with pytest.raises(OutputError, match="only 1"):
        best([Graded({}, {}, "no"), Graded({}, {"a": 1.0})], 2)


@pytest.mark.parametrize(("keep", "number"), [("10%", 3), ("100%", 25), ("7", 7), ("0.5%", 1), ("8%", 2)])
def test_shares_are_rounded_up(keep: str, number: int) -> None:
    assert how_many(keep, 25) == number


@pytest.mark.parametrize("keep", ["0", "26", "101%", "some", "-1", "1.5"])
def test_what_cannot_be_kept_is_refused(keep: str) -> None:
    with pytest.raises(OutputError, match="cannot keep"):
        how_many(keep, 25)


def test_the_papers_criteria_are_built_in() -> None:
    assert len(SELECTION_CRITERIA) == 7
    assert set(SELECTION_CRITERIA) <= set(CRITERIA)
    assert all(CRITERIA[name].question.startswith("Is the ") for name in SELECTION_CRITERIA)  # read once
