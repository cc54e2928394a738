"""`lager score` and `lager prompt`: through click's runner, and as real processes that are interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lager_onnx import Judge
from lager_onnx.cli import main
from lager_onnx.models.criteria import CRITERIA
from lager_onnx.runtime.jobs.results import ResultFile
from lager_onnx.runtime.jobs.score import Options, grade_rows
from lager_onnx.runtime.records import read_rows

GOOD = {"id": "a", "instruction": "Name a prime.", "response": "Seven.", "nested": {"kept": [1, None]}}
LAGER = Path(sys.executable).with_name("lager")


def lager(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def write(path: Path, records: list[Any]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return write(
        tmp_path / "in.jsonl", [GOOD | {"id": number, "response": "good " * number} for number in range(1, 21)]
    )


def test_everything_of_a_record_and_the_score_come_out(tiny_judge: Path, tmp_path: Path) -> None:
    result = lager("score", tiny_judge, write(tmp_path / "in.jsonl", [GOOD]), "--device", "cpu")
    assert result.exit_code == 0, result.output
    (row,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert GOOD.items() <= row.items()
    assert set(row) - set(GOOD) == {"score", "probabilities"}
    assert list(row["probabilities"]) == ["1", "2", "3", "4", "5"]
    assert "1 responses graded on CPUExecutionProvider" in result.stderr


def test_details_prefix_and_standard_input(tiny_judge: Path) -> None:
    result = lager("score", tiny_judge, "-", "--details", "--field-prefix", "x_", stdin=json.dumps(GOOD | {"score": 3}))
    row = json.loads(result.stdout)
    assert row["score"] == 3
    assert len(row["x_layer_logits"]) == 10
    assert {"x_score", "x_probabilities", "x_vanilla", "x_expectation", "x_tokens"} <= set(row)


def test_json_csv_and_json_lines_score_alike(tiny_judge: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([GOOD]))
    (tmp_path / "a.csv").write_text("instruction,response\nName a prime.,Seven.\n")
    scores = [
        json.loads(lager("score", tiny_judge, path).stdout)["score"]
        for path in (write(tmp_path / "a.jsonl", [GOOD]), tmp_path / "a.json", tmp_path / "a.csv")
    ]
    assert scores == [scores[0]] * 3


def test_prompt_shows_what_the_judge_reads(tiny_judge: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", [GOOD, {"prompt": "Grade it."}])
    rows = [json.loads(line) for line in lager("prompt", tiny_judge, file, "--json").stdout.splitlines()]
    judge = Judge.load(tiny_judge, device="cpu")
    assert [row["prompt"] for row in rows] == [judge.prompt(GOOD), judge.prompt({"prompt": "Grade it."})]
    assert [row["tokens"] for row in rows] == [grade.tokens for grade in judge.score([GOOD, {"prompt": "Grade it."}])]
    assert rows[1]["prompt"] == "<|user|>\nGrade it.<|end|>\n<|assistant|>\nscore: "
    shown = lager("prompt", tiny_judge, file, "--criterion", "fluency").stdout
    assert "line 1:" in shown
    assert CRITERIA["fluency"].question in shown
    assert lager("prompt", tiny_judge, write(file, ["{"])).exit_code == 2


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{broken", "line 2: not JSON"),
        ({"instruction": "x"}, "line 2: field 'response' is missing"),
        (GOOD | {"response": ""}, "line 2: field 'response' is empty"),
        (GOOD | {"criterion": "beauty"}, "line 2: unknown criterion 'beauty'"),
        (GOOD | {"response": "good " * 3000}, "line 2: the prompt has"),
        (GOOD | {"score": 1}, "line 2: field 'score' is in the record already"),
    ],
)
def test_a_bad_record_stops_the_run_and_loses_nothing(record, message: str, tiny_judge: Path, tmp_path: Path) -> None:
    file, output = write(tmp_path / "in.jsonl", [GOOD, record, GOOD | {"id": "c"}]), tmp_path / "out.jsonl"
    result = lager("score", tiny_judge, file, "-o", output)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert [row["id"] for row in read(output)] == ["a"]
    # mended, it goes on
    write(file, [GOOD, GOOD | {"id": "b"}, GOOD | {"id": "c"}])
    assert lager("score", tiny_judge, file, "-o", output, "--resume").exit_code == 0
    assert [row["id"] for row in read(output)] == ["a", "b", "c"]
    # or is passed over
    write(file, [GOOD, record, GOOD | {"id": "c"}])
    result = lager("score", tiny_judge, file, "-o", output, "--overwrite", "--on-error", "skip")
    assert result.exit_code == 0
    assert "2 responses graded, 1 with an error" in result.stderr
    first, second, third = read(output)
    assert "error" in second
    assert "score" not in second or record == GOOD | {"score": 1}
    assert first["score"] == pytest.approx(third["score"], abs=1e-5)  # whatever reader it met


def test_bad_usage_is_refused_before_anything_is_written(tiny_judge: Path, records: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    for arguments, message in (
        ((tiny_judge, tmp_path / "nowhere.jsonl", "-o", output), "no such file"),
        ((tiny_judge, records, "-o", records), "both input and output"),
        ((tmp_path, records, "-o", output), "not a judge folder"),
        ((tiny_judge, records, "--resume"), "add -o"),
        ((tiny_judge, records, "-o", output, "--resume", "--overwrite"), "choose one"),
        ((tiny_judge, records, "-o", tmp_path / "no" / "folder.jsonl"), "cannot write"),
        ((tiny_judge, "records.xlsx"), "--format"),
    ):
        result = lager("score", *arguments)
        assert result.exit_code == 2, result.output
        assert message in result.stderr
    assert not output.exists()


def test_an_output_is_not_replaced_unasked(tiny_judge: Path, records: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("precious\n")
    assert "--resume, or start anew with --overwrite" in lager("score", tiny_judge, records, "-o", output).stderr
    assert "not the output of an earlier run" in lager("score", tiny_judge, records, "-o", output, "--resume").stderr
    output.write_text("[1]\n")
    assert "not the output of an earlier run" in lager("score", tiny_judge, records, "-o", output, "--resume").stderr
    assert output.read_text() == "[1]\n"


def test_resume_wants_the_same_input_and_the_same_judge(tiny_judge: Path, records: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    assert lager("score", tiny_judge, records, "-o", output).exit_code == 0
    result = lager("score", tiny_judge, records, "-o", output, "--resume")
    assert "nothing left to grade after 20 earlier ones" in result.stderr
    result = lager("score", tiny_judge, records, "-o", output, "--resume", "--criterion", "fluency")
    assert result.exit_code == 2
    assert "another judge or with other flags" in result.stderr
    write(records, [GOOD | {"id": "another"}])
    assert "does not belong to" in lager("score", tiny_judge, records, "-o", output, "--resume").stderr


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 100_000))
def test_a_run_cut_off_anywhere_resumes_to_the_same_rows(
    cut: int, tiny_judge: Path, records: Path, tmp_path: Path
) -> None:
    judge, output = Judge.load(tiny_judge, device="cpu"), tmp_path / "whole.jsonl"
    if not output.exists():
        with ResultFile(output) as results:
            grade_rows(judge, read_rows(str(records)), results, Options(batch_tokens=100))
    whole = output.read_bytes()
    part = tmp_path / "part.jsonl"
    part.write_bytes(whole[: cut % (len(whole) + 1)])
    with ResultFile(part, resume=True) as results:
        grade_rows(judge, read_rows(str(records)), results, Options(batch_tokens=100))
    assert [row["id"] for row in read(part)] == list(range(1, 21))
    for row, expected in zip(read(part), read(output), strict=True):
        assert row["score"] == pytest.approx(expected["score"], abs=1e-5)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_process_leaves_whole_rows_and_resumes(how: signal.Signals, tiny_judge: Path, tmp_path: Path) -> None:
    count = 4000
    file, output = write(tmp_path / "in.jsonl", [GOOD | {"id": n} for n in range(count)]), tmp_path / "out.jsonl"
    paths = [str(path) for path in (LAGER, "score", tiny_judge, file, "-o", output)]
    command = [*paths, "--batch-tokens", "64", "--threads", "1"]
    # In a shell's background SIGINT is ignored, and the process would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (output.exists() and output.stat().st_size > 20_000):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL), errors
    if how == signal.SIGINT:
        assert "go on with --resume" in errors
        assert "Traceback" not in errors
    done = output.read_bytes().count(b"\n")
    assert 0 < done < count
    finished = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=True)
    assert f"{count - done} responses graded after {done} earlier ones" in finished.stderr
    assert [row["id"] for row in read(output)] == list(range(count))


def test_a_field_called_error_is_never_lost(tiny_judge: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", [GOOD | {"error": "mine", "response": ""}])
    result = lager("score", tiny_judge, file, "--on-error", "skip")
    assert result.exit_code == 2
    assert "--field-prefix" in result.stderr
    row = json.loads(lager("score", tiny_judge, file, "--on-error", "skip", "--field-prefix", "x_").stdout)
    assert row["error"] == "mine"
    assert "empty" in row["x_error"]


def test_not_a_number_is_carried_and_resumed(tiny_judge: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", [GOOD | {"human_score": float("nan")}, GOOD])
    output = tmp_path / "out.jsonl"
    lager("score", tiny_judge, file, "-o", output)
    output.write_text(output.read_text().splitlines(keepends=True)[0])
    assert lager("score", tiny_judge, file, "-o", output, "--resume").exit_code == 0
    assert len(read(output)) == 2


def test_a_full_disk_is_said_plainly(tiny_judge: Path, records: Path) -> None:
    result = lager("score", tiny_judge, records, "-o", "/dev/full")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert "--resume" in result.stderr


def test_nothing_is_kept_or_sent_that_nobody_asked_for(tiny_judge: Path, records: Path, tmp_path: Path) -> None:
    """onnxruntime's telemetry keeps a number of the device and what it will send in the cache folder."""
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    homes = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [str(LAGER), "score", str(tiny_judge), str(records)]
    subprocess.run(command, env=environment | homes, check=True, capture_output=True)
    assert [path for home in homes.values() for path in Path(home).rglob("*") if path.is_file()] == []


def test_a_damaged_judge_is_refused(tiny_judge: Path, records: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(tiny_judge, tmp_path / "judge"))
    graph = bytearray((copied / "model.onnx").read_bytes())
    graph[-2000] ^= 255
    (copied / "model.onnx").write_bytes(graph)
    result = lager("score", copied, records)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_half_a_surrogate_pair_is_an_error_of_its_row(tiny_judge: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", [GOOD, json.dumps(GOOD | {"response": "\ud800"})])
    result = lager("score", tiny_judge, file, "--on-error", "skip")
    assert result.exit_code == 0
    assert "surrogate" in result.stdout.splitlines()[1]


@pytest.mark.parametrize("command", [[], ["score"], ["export"], ["prompt"]])
def test_help_teaches(command: list[str]) -> None:
    result = lager(*command, "--help")
    assert result.exit_code == 0
    assert "judges/" in result.output or "JUDGE_DIR" in result.output
