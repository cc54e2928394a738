"""Processes that are killed at any moment lose nothing, write nothing twice, and leave no half judge."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from attack.amount import amount, report
from lager_onnx import Judge
from lager_onnx.models.errors import JudgeFolderError

LAGER = str(Path(sys.executable).with_name("lager"))


@pytest.fixture(autouse=True)
def interrupts() -> None:
    """In a shell's background SIGINT is ignored, and processes would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(command: list[str], folder: Path, *, kill_after: float | None = None, how: int = signal.SIGKILL) -> int:
    """Return code of a command that is killed after some seconds, if it still runs then."""
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    process = subprocess.Popen(
        [LAGER, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        _, errors = process.communicate(timeout=kill_after or 120)
    except subprocess.TimeoutExpired:
        assert kill_after is not None, f"{command[0]} hangs"
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
        # Before the first line of ours, and behind the last one, Python ends by the signal: a shell says 130, too.
        assert process.returncode in ((130, -how, 0) if how == signal.SIGINT else (-how, 0)), errors
    assert "Traceback" not in errors, errors
    return process.returncode


def killed_often(
    command: list[str],
    folder: Path,
    kills: int,
    check: Callable[[], None],
    again: Callable[[], None],
    is_done: Callable[[], bool] = lambda: False,
) -> None:
    """Kills a command at random moments, checks what it left, and lets it go on; when it is done, starts `again`."""
    start = time.perf_counter()
    assert run(command, folder) == 0
    check()
    duration = time.perf_counter() - start
    again()
    chance, done, finished = random.Random(0), 0, 0
    while done < kills:
        how = signal.SIGINT if done % 3 == 2 else signal.SIGKILL
        code = run(command, folder, kill_after=0.05 + chance.random() * duration, how=how)
        check()
        finished += code == 0
        done += code != 0
        if code == 0 or is_done():  # it may have been killed when all was written
            again()
    assert run(command, folder) == 0
    check()
    report(f"{command[0]}: {done} kills within {duration:.1f} s, {finished} runs ended before")


def lines(path: Path) -> list[dict]:
    whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
    return [json.loads(line) for line in whole.splitlines()]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    rows = [
        {"id": n, "instruction": "Count.", "response": "good bad " * (n % 9 + 1), "human_score": n % 5 + 1}
        for n in range(120)
    ]
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "records.jsonl"


def test_score(tiny_judge: Path, records: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    command = ["score", str(tiny_judge), str(records), "-o", str(output), "--resume", "--threads", "1"]

    def check() -> None:
        assert [row["id"] for row in lines(output)] == list(range(len(lines(output))))

    killed_often(command, tmp_path, amount(3, 90), check, output.unlink)
    assert [row["id"] for row in lines(output)] == list(range(120))


def test_select(tiny_judge: Path, records: Path, tmp_path: Path) -> None:
    output, grades = tmp_path / "best.jsonl", tmp_path / "best.jsonl.grades.jsonl"
    command = ["select", str(tiny_judge), str(records), "-o", str(output), "--keep", "10", "--resume"]
    command += ["--criteria", "fluency,relevance"]

    def check() -> None:
        done = [(row["record"], row["criterion"]) for row in lines(grades)]
        assert done == [(n, name) for n in range(120) for name in ("fluency", "relevance")][: len(done)]
        assert len(lines(output)) in (0, 10)

    def again() -> None:
        output.unlink(missing_ok=True)
        grades.unlink(missing_ok=True)

    killed_often(command, tmp_path, amount(2, 40), check, again, output.exists)
    assert len(lines(output)) == 10


def test_tune_in_place(tiny_judge: Path, records: Path, tmp_path: Path) -> None:
    judge = Path(shutil.copytree(tiny_judge, tmp_path / "judge"))
    command = ["tune", str(judge), str(records), "--recipe", "paper"]
    seen = set()

    def check() -> None:
        seen.add(Judge.load(judge, device="cpu").spec.weights_origin.split()[0])

    def again() -> None:
        shutil.rmtree(judge)
        shutil.copytree(tiny_judge, judge)

    killed_often(command, tmp_path, amount(3, 40), check, again)
    assert seen <= {"untuned:", "tuned"}


def test_evaluate(tiny_judge: Path, records: Path, tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    command = ["evaluate", str(tiny_judge), str(records), "--resamples", "20", "--json", str(output)]

    def check() -> None:
        if output.exists():
            assert {row["part"] for row in json.loads(output.read_text())} == {"all"}

    killed_often(command, tmp_path, amount(2, 20), check, output.unlink)
    cached = list((tmp_path / "cache" / "lager-onnx").glob("*.layer_logits"))
    assert [np.fromfile(file, dtype="<f4").size for file in cached] == [120 * 10 * 5]


def test_export(tiny_checkpoint: Path, tmp_path: Path) -> None:
    judge = tmp_path / "judges" / "tiny"
    command = ["export", str(tiny_checkpoint), str(judge), "--template", "brief", "--overwrite"]

    def check() -> None:
        if judge.exists():
            Judge.load(judge, device="cpu")

    killed_often(command, tmp_path, amount(1, 10), check, lambda: shutil.rmtree(judge, ignore_errors=True))


def test_two_runs_on_one_output(tiny_judge: Path, records: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    command = [LAGER, "score", str(tiny_judge), str(records), "-o", str(output), "--resume", "--threads", "1"]
    for _ in range(amount(1, 10)):
        output.unlink(missing_ok=True)
        runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        errors = [process.communicate(timeout=60)[1] for process in runs]
        codes = sorted(process.returncode for process in runs)
        assert codes in ([0, 2], [0, 0]), errors  # one after another, if the first had ended already
        if codes == [0, 2]:
            assert any("another run is writing" in text for text in errors), errors
        assert [row["id"] for row in lines(output)] == list(range(120))


def test_a_judge_is_there_all_the_time_while_it_is_replaced(tiny_judge: Path, tmp_path: Path) -> None:
    from lager_onnx.analysis.tuning import reweigh

    judge = Path(shutil.copytree(tiny_judge, tmp_path / "judge"))
    reader = subprocess.Popen([sys.executable, "-c", _READER, str(judge)], stdout=subprocess.PIPE, text=True)
    weights = [np.eye(10)[0].tolist(), np.full(10, 0.1).tolist()]
    while reader.poll() is None:
        reweigh(judge, weights[0], "tuned")
        weights.reverse()
    assert reader.stdout is not None
    assert reader.stdout.read().strip() == "0 of 2000"
    with pytest.raises(JudgeFolderError):
        Judge.load(tmp_path)


_READER = """
import sys
from pathlib import Path
folder = Path(sys.argv[1])
print(sum(not (folder / "judge.json").exists() for _ in range(2000)), "of 2000")
"""
