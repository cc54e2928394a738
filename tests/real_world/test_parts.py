"""The parts that an evaluation splits records into, as people name them."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lager_onnx import Judge
from lager_onnx.analysis import compare, cut, evaluate
from lager_onnx.cli import main
from support.labelled import labelled

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    languages = ({"lang": "de"}, {"lang": "en"}, '{"lang": "de"}')
    names = ("fluency", "relevance")
    return [
        row | {"meta": languages[number % 3], "criterion": names[number % 2]} for number, row in enumerate(labelled(12))
    ]


def test_one_name_is_a_list_of_one(judge: Judge, rows: list[dict[str, Any]], caplog: pytest.LogCaptureFixture) -> None:
    alone, listed = (evaluate(judge, rows, by=by, resamples=2) for by in ("criterion", ["criterion"]))
    assert [(row.part, row.records) for row in alone] == [(row.part, row.records) for row in listed]
    assert {row.part for row in alone} == {"all", "criterion=fluency", "criterion=relevance"}
    several = compare([("one", judge)], rows, by="criterion", resamples=2)
    assert {row.part for row in several} == {row.part for row in alone}
    assert not caplog.text


def test_a_dotted_name_goes_into_objects(
    judge: Judge, rows: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    right = {"all": 12, "meta.lang=de": 8, "meta.lang=en": 4}
    assert {row.part: row.records for row in evaluate(judge, rows, by="meta.lang", resamples=2)} == right
    assert {row.part: row.records for row in compare([("one", judge)], rows, by=["meta.lang"], resamples=2)} == right
    assert not caplog.text
    named = [row | {"meta.lang": "fr" if number else "it"} for number, row in enumerate(rows)]
    found = {row.part: row.records for row in evaluate(judge, named, by="meta.lang", resamples=2)}
    assert found == {"all": 12, "meta.lang=fr": 11, "meta.lang=it": 1}  # the field of that very name comes first
    evaluate(judge, rows, by="meta.tongue", resamples=2)
    assert "no record has the field 'meta.tongue'" in caplog.text


def test_a_dotted_name_on_the_command_line(tiny_judge: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = ["evaluate", str(tiny_judge), str(path), "--by", "meta.lang", "--resamples", "2", "--device", "cpu"]
    done = CliRunner().invoke(main, line)
    assert done.exit_code == 0, done.output
    assert "meta.lang=de, 8 records" in done.stdout


def test_cut_takes_folders_as_text(tiny_judge: Path, tmp_path: Path) -> None:
    spec = cut(str(tiny_judge), str(tmp_path / "cut"), depth=2)
    assert spec.num_layers == 2
    assert Judge.load(tmp_path / "cut", device="cpu").spec == spec
