"""The command line, the pages and the scripts as people use them."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from lager_onnx import Judge

ROOT = Path(__file__).parents[2]
LAGER = str(Path(sys.executable).with_name("lager"))


@pytest.fixture(scope="module")
def judge(tiny_judge: Path) -> Judge:
    return Judge.load(tiny_judge, device="cpu")


def rows_of(count: int) -> list[dict[str, Any]]:
    return [{"id": n, "instruction": "Count.", "response": "good bad " * (n + 1)} for n in range(count)]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("order", ["filtered", "sorted", "twice"])
def test_pandas_frames_keep_their_rows_whatever_their_index(order: str, judge: Judge) -> None:
    pandas = pytest.importorskip("pandas")
    with_grades = runpy.run_path(str(ROOT / "docs" / "integrations" / "with_pandas.py"))["with_grades"]
    whole = pandas.DataFrame(rows_of(6))
    frame = {
        "filtered": whole[whole.id % 2 == 1],
        "sorted": whole.sort_values("id", ascending=False),
        "twice": pandas.concat([whole[:2], whole[1:3]]),
    }[order]
    found = with_grades(judge, frame)
    right = judge.score(frame.to_dict("records"))
    assert found.index.tolist() == frame.index.tolist()
    assert found.id.tolist() == frame.id.tolist()
    assert found.score.tolist() == pytest.approx([grade.score for grade in right])
    for label in judge.spec.scale.labels:
        assert found[f"p_{label}"].tolist() == pytest.approx([grade.probabilities[label] for grade in right])


def test_the_pandas_script_changes_no_text(
    tiny_judge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas")
    rows = [{"instruction": "A number?", "response": text, "date": "2024-01-31"} for text in ("007", "1e3", "true")]
    main = runpy.run_path(str(ROOT / "docs" / "integrations" / "with_pandas.py"))["main"]
    main(str(tiny_judge), str(written(tmp_path / "in.jsonl", rows)))
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    right = Judge.load(tiny_judge, device="cpu").score(rows)
    assert [row["score"] for row in found] == pytest.approx([grade.score for grade in right])
