"""A judge knows the records that it was tuned on, and evaluation reports them."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from lager_onnx import Judge
from lager_onnx.analysis import compare, cut, evaluate, overlap, tune
from lager_onnx.cli import main
from lager_onnx.models.errors import JudgeFolderError
from lager_onnx.models.learned_from import LearnedFrom, digest
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.models.template import Template
from support.labelled import labelled

RECORD = {"instruction": "Name a prime.", "response": "good"}


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def tuned_judge(tiny_judge: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned") / "judge"
    tuned = tune(Judge.load(tiny_judge, device="cpu"), labelled(20), recipe_name="regularised", calibrate=True)
    tuned.write(tiny_judge, folder)
    return folder


def test_records_that_a_judge_was_tuned_on_are_counted(
    tuned_judge: Path, tiny_judge: Path, caplog: pytest.LogCaptureFixture
) -> None:
    judge, untuned = (Judge.load(folder, device="cpu") for folder in (tuned_judge, tiny_judge))
    again = [row | {"criterion": name} for row in labelled(15) for name in ("fluency", "relevance")]
    fresh = [row | {"response": row["response"] + "ok"} for row in labelled(10)]
    found = overlap(judge, [*again, *fresh])
    assert (found.records, found.of_records, found.groups, found.of_groups) == (30, 40, 15, 25)
    assert overlap(judge, fresh).records == overlap(untuned, again).records == 0
    renamed = [{"answer" if name == "response" else name: value for name, value in row.items()} for row in again]
    assert overlap(judge, renamed, fields={"response": "answer"}).records == found.records
    caplog.clear()
    rows = {row.method: row for row in evaluate(judge, [*again, *fresh], resamples=5, by=())}
    assert rows["LAGER as stored"].seen == rows["LAGER calibrated"].seen == found
    assert rows["vanilla"].seen is None
    assert "30 of these 40 records (15 of 25 groups)" in caplog.text
    caplog.clear()
    several = compare([("untuned", untuned), ("tuned", judge)], [*again, *fresh], resamples=5)
    assert [row.seen and row.seen.records for row in several if row.part == "all"] == [None, 30]
    assert [row.seen.of_records for row in several if row.part == "criterion=fluency" and row.seen] == [15]
    assert "tuned was tuned or calibrated on 30 of these 40" in caplog.text
    caplog.clear()
    assert all(row.seen is None for row in evaluate(judge, fresh, resamples=5))
    assert not caplog.text


def test_every_output_warns_of_records_seen_before(tuned_judge: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in labelled(12)))
    files = {end: tmp_path / f"out.{end}" for end in ("json", "csv", "html")}
    options = [part for end, file in files.items() for part in (f"--{end}", str(file))]
    done = CliRunner().invoke(main, ["evaluate", str(tuned_judge), str(path), "--device", "cpu", *options])
    assert done.exit_code == 0, done.output
    for text in (done.stdout, files["html"].read_text()):
        assert "WARNING: LAGER as stored was tuned or calibrated on 12 of these 12 records (12 of 12 groups)" in text
    found = {row["method"]: (row["seen"], row["seen_groups"]) for row in json.loads(files["json"].read_text())}
    assert found["LAGER as stored"] == (12, 12)
    assert found["expectation"] == (0, 0)
    assert [line["seen"] for line in csv.DictReader(files["csv"].read_text().splitlines())][3] == "12"


def test_what_was_learned_from_goes_where_the_judge_goes(tuned_judge: Path, tiny_judge: Path, tmp_path: Path) -> None:
    spec = JudgeSpec.load(tuned_judge)
    assert spec.learned_from is not None
    expected = sorted(digest(row, spec.template) for row in labelled(20))
    assert (spec.learned_from.records, spec.learned_from.texts) == (20, "".join(expected))
    shallow = cut(tuned_judge, tmp_path / "cut", depth=2)
    assert shallow.learned_from == spec.learned_from
    assert Judge.load(tmp_path / "cut", device="cpu").spec.learned_from == spec.learned_from
    judge = Judge.load(tuned_judge, device="cpu")
    other = tune(judge, labelled(30)[20:], recipe_name="regularised")
    assert "as stored was tuned" not in other.describe()
    written = other.write(tuned_judge, tmp_path / "again")
    assert written.learned_from is not None
    assert written.learned_from.records == 10  # the later tune replaces what was there
    same = tune(judge, labelled(20), recipe_name="regularised")
    assert "as stored was tuned or calibrated on 20 of these 20" in same.describe()
    assert "learned_from" not in json.loads((tiny_judge / "judge.json").read_text())


@pytest.mark.parametrize("calibrate", [False, True])
def test_uniform_weights_that_labels_chose_were_learned_from_them(
    calibrate: bool, tiny_judge: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tuned = tune(Judge.load(tiny_judge, device="cpu"), labelled(8), calibrate=calibrate)
    assert tuned.learned.how == "uniform"
    assert tuned.learned_from.records == 8
    tuned.write(tiny_judge, tmp_path / "judge")
    rows = evaluate(Judge.load(tmp_path / "judge", device="cpu"), labelled(10), resamples=5)
    assert [row.seen and row.seen.records for row in rows if row.method == "LAGER as stored"][:1] == [8]
    assert "tuned or calibrated on 8 of these 10 records" in caplog.text


def test_a_digest_is_of_what_is_graded() -> None:
    brief, own = Template.load("brief"), Template("own", "{policy}\n\n{answer_text}\n\n{rubric}")
    one = digest(RECORD, brief)
    assert len(bytes.fromhex(one)) == 8
    assert one == digest(RECORD | {"criterion": "x", "human_score": 3, "context": math.nan}, brief)
    assert one == digest({"instruction": " Name a prime.\n", "response": "good ", "prompt": None}, own)
    others = [RECORD | {"response": "bad"}, {"instruction": "Name a prime.good"}, {"prompt": "good"}, {}]
    assert len({one, *(digest(other, brief) for other in others)}) == 5
    mine = {"policy": "p", "answer_text": "a", "criterion": "c"}
    assert digest(mine, own) == digest(mine | {"criterion": "d", "id": 7}, own) != digest(mine | {"policy": "q"}, own)


def test_digests_that_are_none_are_a_damaged_judge(tuned_judge: Path, tmp_path: Path) -> None:
    content = json.loads((tuned_judge / "judge.json").read_text())
    for wrong in ({"records": 2, "texts": "xyz"}, {"records": 0, "texts": "0" * 16}, {"texts": "0" * 16}, ["0" * 16]):
        (tmp_path / "judge.json").write_text(json.dumps(content | {"learned_from": wrong}))
        with pytest.raises(JudgeFolderError, match=r"learned_from|digests"):
            JudgeSpec.load(tmp_path)


def test_of_very_many_texts_some_digests_are_kept(monkeypatch: pytest.MonkeyPatch, tiny_judge: Path) -> None:
    monkeypatch.setattr("lager_onnx.models.learned_from.MOST", 5)
    judge = Judge.load(tiny_judge, device="cpu")
    known = LearnedFrom.of(digest(row, judge.spec.template) for row in labelled(20))
    assert (known.records, len(known.digests), known.complete) == (20, 5, False)
    judge.spec = replace(judge.spec, learned_from=known)
    assert "on at least 5 of these 20 records" in overlap(judge, labelled(20)).describe()
