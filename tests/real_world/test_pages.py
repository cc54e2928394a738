"""The page of layers and the demo's table."""

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lager_onnx import Judge
from lager_onnx.cli import main
from support.json_lines import read, written

ROOT = Path(__file__).parents[2]
LAGER = str(Path(sys.executable).with_name("lager"))


def inspected(judge: Path, folder: Path, *records: dict[str, Any]) -> str:
    page = folder / "page.html"
    source = written(folder / "in.jsonl", list(records))
    options = ["--html", str(page), "--device", "cpu"]
    result = CliRunner().invoke(main, ["inspect", str(judge), str(source), *options])
    assert result.exit_code == 0, result.output
    return page.read_text()


def test_a_page_of_layers_shows_the_texts(tiny_judge: Path, tmp_path: Path) -> None:
    page = inspected(
        tiny_judge,
        tmp_path,
        {"instruction": "Name a <i>prime</i>.", "response": "Seven.", "criterion": "correctness", "reference": "7"},
        {"messages": [{"role": "user", "content": "Asked in a chat."}, {"role": "assistant", "content": "Seven & 7."}]},
        {"text": "My $5, not $3.", "question": "Angry?", "choices": ["no $1 and $2", "yes <b>"]},
        {"prompt": "A finished prompt."},
    )
    for said in ("Name a &lt;i&gt;prime&lt;/i&gt;.", "<dt>reference</dt>", "Asked in a chat.", "Seven &amp; 7.",
                 "Angry?", "My $5, not $3.", "yes &lt;b&gt;", "A finished prompt."):  # fmt: skip
        assert said in page
    assert "<i>prime" not in page
    assert "<b>" not in page


def test_long_texts_are_cut_and_the_whole_is_behind_a_click(judge: Judge) -> None:
    from lager_onnx.analysis.pages.layers import inspect_page

    record, long = {"instruction": "Name a prime.", "response": "Seven."}, "nine " * 400 + "the very end"
    page = inspect_page(judge.spec, ["a"], [record | {"response": long}], judge.score([record]))
    (whole,) = re.findall(r"<details><summary>(.*?)</summary><pre>(.*?)</pre></details>", page, re.DOTALL)
    assert whole == (f"all {len(long)} characters", long)
    before = page[: page.index("<details>")]
    assert "the very end" not in before
    assert before.count("nine ") > 100


def test_a_legend_is_below_its_axes(tiny_judge: Path, judge: Judge) -> None:
    from lager_onnx.analysis.pages.layers import _layers

    records: list[dict[str, Any]] = [
        {"instruction": "Name a prime.", "response": "Seven."},
        {"instruction": "Name a prime.", "response": "Seven.", "levels": 3},
        {"text": "x", "question": "Which?", "choices": ["a", "b"]},
    ]
    for record, grade in zip(records, judge.score(records), strict=True):
        figure = _layers(judge.spec, grade)
        figure.draw_without_rendering()
        line = figure.axes[2]
        assert line.get_legend().get_window_extent().y1 < line.get_window_extent().y0
        *_, so_far = line.get_lines()
        told = grade.score if not grade.choices else grade.probabilities[str(grade.choice)]
        assert so_far.get_xdata()[-1] == pytest.approx(told, abs=1e-4), record  # the sum over all layers is the grade
        assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == list(grade.probabilities)


def table_of(path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    runpy.run_path(str(ROOT / "samples" / "table.py"))["main"](str(path))
    return capsys.readouterr().out.splitlines()


def results(path: Path, *pairs: tuple[str, float, float]) -> Path:
    samples = read(ROOT / "samples" / "responses.jsonl")[:1]
    return written(
        path,
        [
            samples[0] | {"id": f"{name}-{side}", "score": score, "probabilities": {"1": 0.25, "5": 0.75}}
            for name, *scores in pairs
            for side, score in enumerate(scores, start=1)
        ],
    )


def test_the_demo_counts_all_pairs_and_shows_the_clearest_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = results(tmp_path / "out.jsonl", ("wrong", 2, 3.5), ("close", 3.1, 3), ("even", 3, 3), ("clear", 5, 1))
    said = table_of(path, capsys)
    first = [line.split()[0] for line in said]
    assert first == ["pair", "clear", "close", "wrong:", "even", "wrong", "In", "Recorded,"]
    assert "+4.00" in said[1]
    assert "│▂▆│" in said[1]
    assert "-1.50" in said[5]
    assert said[-2] == "In 2 of 4 pairs the better response has the higher score."
    assert "not computed" in said[-1]
    assert table_of(results(path, ("clear", 5, 1)), capsys)[-1].startswith("In 1 of 1 pairs")


def test_what_the_demo_says_was_recorded_is_what_the_readme_says() -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert re.search(r"Qwen2\.5-Coder-1\.5B-Instruct in all 10|1\.5B[^.]*10 of the? ?10", readme)
    assert len(read(ROOT / "samples" / "responses.jsonl")) == 20
