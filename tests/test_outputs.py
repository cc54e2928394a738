"""Outputs that cannot be written end every command in one line; inputs are never written over."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lager_onnx.cli import main
from lager_onnx.models.errors import OutputError
from lager_onnx.runtime.files import write_file

LAGER = str(Path(sys.executable).with_name("lager"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def records(tmp_path: Path) -> Path:
    rows = [
        {"instruction": "Count.", "response": "good " * (n + 1), "human_score": n % 5 + 1, "group": str(n)}
        for n in range(12)
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "in.jsonl"


def lager(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def commands(judge: Path, records: Path, output: Any) -> list[list[Any]]:
    """Every command that writes a file."""
    return [
        ["score", judge, records, "-o", output],
        ["select", judge, records, "-o", output, "--keep", "2", "--criteria", "fluency"],
        ["evaluate", judge, records, "--resamples", 2, "--json", output],
        ["evaluate", judge, records, "--resamples", 2, "--csv", output],
        ["evaluate", judge, records, "--resamples", 2, "--html", output],
        ["inspect", judge, records, "--html", output],
    ]


@pytest.mark.parametrize("number", range(6))
def test_no_command_writes_over_its_input(number: int, tiny_judge: Path, records: Path) -> None:
    before = records.read_bytes()
    command = commands(tiny_judge, records, records)[number]
    result = lager(*command, *(["--overwrite"] if command[0] in ("score", "select") else []))
    assert result.exit_code == 2
    assert "both input and output" in result.stderr
    assert records.read_bytes() == before


@pytest.mark.parametrize("number", range(6))
def test_a_folder_that_is_not_there_is_said_before_any_work(number: int, tiny_judge: Path, records: Path) -> None:
    result = lager(*commands(tiny_judge, records, records.parent / "nowhere" / "out")[number])
    assert result.exit_code == 2
    assert "there is no folder" in result.stderr
    assert not (records.parent / "cache").exists()


@pytest.mark.parametrize("number", [0, 2, 3, 4, 5])
def test_a_full_disk(number: int, tiny_judge: Path, records: Path) -> None:
    result = lager(*commands(tiny_judge, records, "/dev/full")[number])
    assert result.exit_code == 2, result.output
    assert "No space left on device" in result.stderr
    assert result.stderr.count("Error: ") == 1


@pytest.mark.parametrize("command", ["inspect", "prompt", "score", "evaluate", "tune"])
@pytest.mark.parametrize("closed", ["> /dev/full", "| true"])
def test_standard_output_that_fails(command: str, closed: str, tiny_judge: Path, records: Path) -> None:
    more = {"inspect": "", "tune": f"{records} --dry-run", "evaluate": f"{records} --resamples 2"}.get(command, records)
    line = f"set -o pipefail; {LAGER} {command} {tiny_judge} {more} {closed}"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
    if closed == "> /dev/full":
        assert result.returncode == 2
        assert "cannot write standard output: No space left on device" in result.stderr


def test_the_cache_folder_may_be_a_file(tiny_judge: Path, records: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    result = lager("tune", tiny_judge, records, "--dry-run")
    assert result.exit_code == 2
    assert "cannot write" in result.stderr


def test_files_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    write_file(file, "one\ud800")
    assert file.read_text() == "one\\ud800"

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match=r"a\.txt: No space left"):
        write_file(file, "two")
    assert file.read_text() == "one\\ud800"
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(OutputError, match="cannot write"):
        write_file(Path("a\0b"), "x")


def test_text_of_records_reaches_no_terminal_unescaped(tiny_judge: Path, tmp_path: Path) -> None:
    attack = "\x1b]0;pwned\x07\x1b[2J\nError: all is lost"
    rows = [
        {"instruction": "a", "response": f"b{n}", "human_score": n % 5 + 1, "dataset": attack if n % 2 else "b"}
        for n in range(8)
    ]
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = [lager("evaluate", tiny_judge, file, "--resamples", 2), lager("prompt", tiny_judge, file)]
    file.write_text(json.dumps({"instruction": "a", "response": "b", "rubric": {attack: 1}}) + "\n")
    shown += [lager("score", tiny_judge, file), lager("score", tiny_judge, file, "--criterion", attack)]
    file.write_text(json.dumps({"instruction": "a", "response": "b", "criterion": attack}) + "\n")
    shown.append(lager("score", tiny_judge, file))
    for result in shown:
        assert "\x1b" not in result.output
        assert "\nError: all is lost" not in result.output
    assert "\\x1b]0;pwned\\x07" in shown[0].stdout
    assert "\\x1b]0;pwned\\x07" in shown[-1].stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "x", "judge", "--scale", "1-" + "9" * 5000],
        ["export", "x", "judge", "--scale", "a=" + "9" * 5000 + ",b=1"],
        ["export", "x", "judge", "--layers", "9" * 5000],
        ["export", "x", "judge", "--template", "a\0b"],
        ["export", "a\0b", "judge"],
        ["score", "a\0b", "in.jsonl"],
        ["inspect", "\udc80"],
        ["prompt", "x" * 5000, "in.jsonl"],
    ],
)
def test_numbers_and_names_beyond_reason_are_errors(arguments: list[str], tmp_path: Path) -> None:
    arguments = [str(tmp_path / "judge") if argument == "judge" else argument for argument in arguments]
    result = lager(*arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
