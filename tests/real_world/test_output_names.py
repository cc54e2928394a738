"""Outputs whose names promise another form are refused before any work; odd names are written."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lager_onnx.cli import main
from lager_onnx.models.errors import OutputError
from lager_onnx.runtime.file_names import check_name

ROWS = [{"instruction": "Count.", "response": "good " * (n + 1), "human_score": n % 5 + 1} for n in range(6)]
Run = Callable[..., Result]


@pytest.mark.parametrize(
    "name",
    [
        "x.pqt", "x.parq", "x.dta", "x.sav", "x.gzip", "x.sqlite3", "x.h5", "x.xlsm", "x.csv.bak", "x.parquet.tmp",
        "x.csv.v2", "x.csv.txt", "x.csv~", ".csv", ".parquet", "x.PQT", "x.json", "x.jsonl.gz", "x.tsv", "x.html",
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["score", "select"])
def test_json_lines_fill_no_file_of_another_form(command: str, name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [command, str(tmp_path / "no-judge"), "no-records", "-o", str(tmp_path / name)])
    assert result.exit_code == 2
    stem = name.partition(".")[0] or "results"
    assert f"{name} would hold JSON lines" in result.stderr
    assert f": write {stem}.jsonl, and convert that" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "x.jsonl", "x.NDJSON", "x.csv.jsonl", "x.txt", "x.log", "x.out", "x.jsonl.tmp", "x.jsonl.bak", "x.part", "x",
        "csv", "x.graded", "x.v2", "run-2026.01.31", "qwen2.5-7b", ".jsonl", ".hidden", "my results.b",
    ],
)  # fmt: skip
def test_other_names_hold_json_lines(name: str, run: Run, tmp_path: Path) -> None:
    output = tmp_path / name
    check_name(output, "JSON lines")  # raises nothing
    result = run("score", ROWS[:1], "-o", str(output))
    assert result.exit_code == 0, result.stderr
    assert json.loads(output.read_text())["response"] == "good "


@pytest.mark.parametrize(
    ("option", "name", "better"),
    [
        ("--csv", "ev.json", "ev.csv"),
        ("--csv", "ev.jsonl", "ev.csv"),
        ("--csv", "ev.xlsx", "ev.csv"),
        ("--csv", "ev.csv.gz", "ev.csv"),
        ("--json", "ev.csv", "ev.json"),
        ("--json", "ev.jsonl", "ev.json"),
        ("--json", "ev.yaml.bak", "ev.json"),
        ("--html", "ev.parquet", "ev.html"),
        ("--html", "ev.pdf", "ev.html"),
        ("--html", ".csv", "results.html"),
    ],
)
def test_figures_and_pages_have_names_of_their_form(option: str, name: str, better: str, tmp_path: Path) -> None:
    judge = str(tmp_path / "no-judge")  # nor records: neither is looked for
    commands = [["evaluate", judge, "no-records"]] + [["inspect", judge, "no-records"]] * (option == "--html")
    for command in commands:
        result = CliRunner().invoke(main, [*command, option, str(tmp_path / name)])
        assert result.exit_code == 2
        assert f"{name} would hold {option[2:].upper()}" in result.stderr
        assert f": write {better}\n" in result.stderr
        assert not result.stdout


@pytest.mark.parametrize("suffix", ["", ".txt", ".v2"])
def test_figures_and_pages_may_have_odd_names(suffix: str, run: Run, tmp_path: Path) -> None:
    files = {option: tmp_path / f"{option[2:]}-figures{suffix}" for option in ("--json", "--csv", "--html")}
    options = [str(part) for pair in files.items() for part in pair]
    result = run("evaluate", ROWS, "--resamples", "2", *options)
    assert result.exit_code == 0, result.stderr
    assert isinstance(json.loads(files["--json"].read_text()), list)
    assert files["--csv"].read_text().startswith("part,records,")
    assert "<html" in files["--html"].read_text()


@pytest.mark.parametrize("name", ["figures.tsv", "figures.TSV", "figures.tsv.bak"])
def test_a_tsv_file_has_tabs(name: str, run: Run, tmp_path: Path) -> None:
    for file in ("figures.csv", name):
        assert run("evaluate", ROWS, "--resamples", "2", "--csv", str(tmp_path / file)).exit_code == 0
    tabs = list(csv.reader((tmp_path / name).read_text().splitlines(), delimiter="\t"))
    assert tabs == list(csv.reader((tmp_path / "figures.csv").read_text().splitlines()))
    assert tabs[0][:3] == ["part", "records", "groups"]


def test_standard_output_has_no_name() -> None:
    check_name(None, "CSV")
    with pytest.raises(OutputError, match=r"write results\.csv"):
        check_name(Path(".html"), "CSV")


def test_a_folder_of_json_lines_is_not_named_as_one_of_parquet(tmp_path: Path) -> None:
    command = ["score", str(tmp_path / "no-judge"), "no-records", "--engine", "ray", "-o", str(tmp_path / "x.parquet")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "x.parquet would hold JSON lines" in result.stderr
    assert not list(tmp_path.iterdir())
