"""The command line and the scripts as people use them."""

import contextlib
import csv
import gzip
import importlib
import json
import os
import re
import runpy
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lager_onnx import Judge
from lager_onnx.cli import main
from lager_onnx.runtime.records import Source, read_rows
from lager_onnx.runtime.records.count import count_rows
from support.json_lines import read, written

ROOT = Path(__file__).parents[2]
LAGER = str(Path(sys.executable).with_name("lager"))


def rows_of(count: int) -> list[dict[str, Any]]:
    return [{"id": n, "instruction": "Count.", "response": "good bad " * (n + 1)} for n in range(count)]


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


def lager(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    "command", ["bench", "score", "prompt", "evaluate", "doctor", "inspect", "--version", "--help"]
)
def test_a_reader_that_goes_ends_a_command_quietly(command: str, tiny_judge: Path, tmp_path: Path) -> None:
    """As `| head -1` does: the first lines are read, and no more."""
    many = written(tmp_path / "in.jsonl", [row | {"human_score": row["id"] % 5 + 1} for row in rows_of(40)])
    more: dict[str, list[Any]] = {
        "bench": ["--json", "--repeats", "1"], "score": [many, "--details"], "prompt": [many], "inspect": [],
        "evaluate": [many, "--resamples", "2", "--ablations"],
    }  # fmt: skip
    line = [LAGER, command, *map(str, [tiny_judge, *more[command]] if command in more else [])]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    reading, writing = os.pipe()
    with subprocess.Popen(line, stdout=writing, stderr=subprocess.PIPE, text=True, env=environment) as running:
        os.close(writing)
        os.close(reading)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 141, said
    for word in ("Traceback", "Error", "Exception ignored", "Broken pipe"):
        assert word not in said


def test_head_reads_the_first_case_of_bench(tiny_judge: Path) -> None:
    line = f"set -o pipefail; {LAGER} bench {tiny_judge} --json --repeats 3 | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (0, 141)
    assert json.loads(done.stdout)["prompts"] == 1
    assert "Error" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["inspect", "--version", "--help"])
def test_a_disk_that_is_full_is_still_said(command: str, tiny_judge: Path) -> None:
    line = f"{LAGER} {command} {tiny_judge if command == 'inspect' else ''} > /dev/full"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


def selected(judge: Path, records: Path, *more: object) -> Result:
    names = ("--criteria", "relevance,fluency", "--device", "cpu")
    return lager("select", judge, records, "-o", records.with_name("best.jsonl"), *names, *more)


def test_a_finished_selection_is_made_anew_from_its_grades(tiny_judge: Path, tmp_path: Path, judge: Judge) -> None:
    records = written(tmp_path / "in.jsonl", rows_of(20))
    best, grades = tmp_path / "best.jsonl", tmp_path / "best.jsonl.grades.jsonl"
    assert selected(tiny_judge, records, "--keep", "10%").exit_code == 0
    before = grades.read_bytes()
    for keep, number in (("5%", 1), ("40%", 8), ("3", 3)):
        result = selected(tiny_judge, records, "--keep", keep, "--resume")
        assert result.exit_code == 0, result.output
        assert f"{number} of 20 records" in result.stderr
        both = [judge.score([row | {"criterion": name} for row in rows_of(20)]) for name in ("relevance", "fluency")]
        means = {row: (a.score + b.score) / 2 for row, (a, b) in enumerate(zip(*both, strict=True))}
        assert [row["id"] for row in read(best)] == sorted(sorted(means, key=lambda row: -means[row])[:number])
        assert grades.read_bytes() == before


def test_a_selection_resumes_only_from_its_own_grades(
    tiny_judges: dict[str, Path], tiny_judge: Path, tmp_path: Path
) -> None:
    records, best = written(tmp_path / "in.jsonl", rows_of(8)), tmp_path / "best.jsonl"
    best.write_text("precious\n")
    refused = selected(tiny_judge, records, "--keep", "2", "--resume")
    assert refused.exit_code == 2
    assert "no grades" in refused.stderr
    assert best.read_text() == "precious\n"
    assert selected(tiny_judge, records, "--keep", "2", "--overwrite").exit_code == 0
    kept = best.read_bytes()
    other = selected(tiny_judges["int4"], records, "--keep", "3", "--resume")
    assert other.exit_code == 2
    assert "another judge or of other records" in other.stderr
    written(records, [*rows_of(7), {"id": 7, "instruction": "Count.", "response": "nine"}])
    assert "holds grades of other records" in selected(tiny_judge, records, "--keep", "3", "--resume").stderr
    assert best.read_bytes() == kept


@pytest.mark.parametrize("command", ["score", "select"])
@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.json", "x.jsonl.gz", "x.CSV", "x.tsv", "x.xlsx", "x.csv.gz"])
def test_an_ending_of_another_form_is_refused_before_anything_is_read(command: str, name: str, tmp_path: Path) -> None:
    result = lager(command, tmp_path / "no judge", tmp_path / "no records.jsonl", "-o", tmp_path / name)
    assert result.exit_code == 2
    assert "x.jsonl" in result.stderr
    assert "JSON lines" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.jsonl", "x.ndjson", "x", "x.txt", "v1.2"])
def test_other_names_are_written(name: str, tiny_judge: Path, tmp_path: Path) -> None:
    result = lager("score", tiny_judge, written(tmp_path / "in.jsonl", rows_of(2)), "-o", tmp_path / name)
    assert result.exit_code == 0, result.output
    assert len(read(tmp_path / name)) == 2


def pyarrow_table(path: Path, rows: list[dict[str, Any]]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=3)


def inputs(folder: Path) -> dict[str, Source]:
    """Seven rows in every form, with what makes lines and rows differ."""
    rows = [row | {"response": f"two\nlines, {n}\u2028{n}"} for n, row in enumerate(rows_of(7))]
    lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    bad = lines.replace('{"id": 3', "broken") + "\n \t\r\n\u3000\n[1]"
    (folder / "plain.jsonl").write_text(lines + "\n \n", encoding="utf-8")
    (folder / "marked.jsonl").write_text("\ufeff\n" + lines, encoding="utf-8")
    (folder / "bad.jsonl").write_text(bad, encoding="utf-8")
    (folder / "wide.jsonl").write_text(lines, encoding="utf-16")
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (folder / "array.json").write_text(json.dumps({"data": rows}))
    (folder / "lines.json").write_text(lines, encoding="utf-8")
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    (folder / "short.csv").write_text("instruction,response\na,b\nc\n\nd,e\n", encoding="utf-8")
    return {path.name: Source(str(path)) for path in folder.iterdir()}


def test_totals_are_exactly_what_is_read(tmp_path: Path) -> None:
    found = inputs(tmp_path)
    assert {name: count_rows(source) for name, source in found.items()} == {
        "plain.jsonl": 7, "marked.jsonl": 7, "bad.jsonl": 8, "wide.jsonl": 7, "packed.jsonl.gz": 7, "array.json": 7,
        "lines.json": 7, "table.csv": 7, "short.csv": 3,
    }  # fmt: skip
    for source in found.values():
        assert count_rows(source) == len(list(read_rows(source)))


def test_totals_of_parquet_are_its_own(tmp_path: Path) -> None:
    pyarrow_table(tmp_path / "a.parquet", rows_of(7))
    assert count_rows(Source(str(tmp_path / "a.parquet"))) == 7


def test_no_total_is_guessed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:-9])
    (tmp_path / "broken.json").write_text("[{")
    for path in ("-", "pipe.jsonl", "cut.jsonl.gz", "broken.json", "nowhere.jsonl", "x.unknown"):
        assert count_rows(Source(path if path == "-" else str(tmp_path / path))) is None


@pytest.mark.parametrize("more", [(), ("--resume",)])
def test_score_shows_how_many_and_how_long(more: tuple[str, ...], tiny_judge: Path, tmp_path: Path) -> None:
    records, output = written(tmp_path / "in.jsonl", rows_of(30)), tmp_path / "out.jsonl"
    if more:
        assert lager("score", tiny_judge, records, "-o", output).exit_code == 0
        output.write_text("".join(output.read_text().splitlines(keepends=True)[:12]))
    terminal, inside = os.openpty()
    termios.tcsetwinsize(terminal, (24, 120))
    line = [LAGER, "score", str(tiny_judge), str(records), "-o", str(output), *more]
    with subprocess.Popen(line, stderr=inside) as running:
        os.close(inside)
        said = b""
        with contextlib.suppress(OSError):  # the terminal's end
            while part := os.read(terminal, 4096):
                said += part
    os.close(terminal)
    assert running.returncode == 0, said
    bars = re.findall(r"(\d+)/30 \[[\d:]+<([\d:?]+)", said.decode())
    assert [int(done) for done, _ in bars][:: len(bars) - 1] == [12 if more else 0, 30]
    assert bars[-1][1] == "00:00"


def test_a_grade_reads_well(judge: Judge, writing_judge: Path) -> None:
    plain, chosen = judge.score(
        [
            {"instruction": "Name a prime.", "response": "Seven."},
            {"text": "x", "question": "Which?", "choices": ["a", "a long answer that goes on and on\nand on"]},
        ]
    )
    shares = ", ".join(f"'{label}': {share:.2f}" for label, share in plain.probabilities.items())
    assert repr(plain) == f"Grade(score={plain.score:.3f}, probabilities={{{shares}}}, tokens={plain.tokens})"
    assert repr([plain, plain]) == f"[{plain!r}, {plain!r}]"
    assert repr(chosen).startswith("Grade(choice=")
    wrote = Judge.load(writing_judge, device="cpu").score([{"instruction": "a", "response": "b"}], reasoning=True)[0]
    for each in (plain, chosen, wrote, judge.spec):
        assert "\n" not in repr(each)
        assert len(repr(each)) < 200
    assert f"tokens={chosen.tokens}" in repr(chosen)
    assert "30 layers" not in repr(judge.spec)
    assert f"{judge.spec.num_layers} layers" in repr(judge.spec)
    assert "1, 2, 3, 4, 5" in repr(judge.spec)


def test_a_dash_is_standard_output(tiny_judge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = written(tmp_path / "in.jsonl", rows_of(2))
    found = [lager("score", tiny_judge, source, "--device", "cpu", *more) for more in ((), ("-o", "-"))]
    assert [json.loads(line)["id"] for line in found[1].stdout.splitlines()] == [0, 1]
    assert found[0].stdout == found[1].stdout
    assert not (tmp_path / "-").exists()
    refused = lager("score", tiny_judge, source, "-o", "-", "--resume")
    assert refused.exit_code == 2
    assert "--resume needs the file" in refused.stderr
