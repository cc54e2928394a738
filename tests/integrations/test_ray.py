"""Rows graded on a local Ray cluster of several worker processes."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lager_onnx import Judge
from lager_onnx.models.errors import OutputError, RecordError
from lager_onnx.runtime.jobs.score import Options
from lager_onnx.runtime.records import Source

ray = pytest.importorskip("ray")
ROWS = 60


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}},
    )
    yield
    ray.shutdown()


@pytest.fixture
def records(tmp_path: Path) -> Path:
    lines = [
        {"id": number, "instruction": "Count.", "response": "good bad " * (number % 9 + 1)} for number in range(ROWS)
    ]
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def results(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for file in sorted(folder.glob("part-*.jsonl")) for line in file.read_text().splitlines()]


def expected(judge: Path, records: Path) -> list[float]:
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    return [grade.score for grade in Judge.load(judge, device="cpu", threads=1).score(rows)]


def test_scores_are_those_of_one_process(
    tiny_judge: Path, tiny_judges: dict[str, Path], records: Path, tmp_path: Path
) -> None:
    from lager_onnx.integrations.ray import Cluster, score_on_ray

    source, out = Source(str(records)), tmp_path / "out"
    assert score_on_ray(tiny_judge, source, out, Options(), Cluster(actors=2), rows=7) == ROWS
    found = results(out)
    assert [row["id"] for row in found] == list(range(ROWS))
    assert [row["score"] for row in found] == expected(tiny_judge, records)
    with pytest.raises(OutputError, match="go on with resume=True"):
        score_on_ray(tiny_judge, source, out, Options(), Cluster())
    others = [(Options(), 8, tiny_judge), (Options(details=True), 7, tiny_judge), (Options(), 7, tiny_judges["int8"])]
    for options, rows, judge in others:
        with pytest.raises(OutputError, match="another judge, input, parts or flags"):
            score_on_ray(judge, source, out, options, Cluster(), rows=rows, resume=True)
    for number in (2, 5):  # as if the run had been stopped before them
        (out / f"part-{number:06d}.jsonl").unlink()
    assert score_on_ray(tiny_judge, source, out, Options(), Cluster(), rows=7, resume=True) == 14
    assert results(out) == found


def test_a_worker_that_is_killed_loses_and_doubles_nothing(tiny_judge: Path, tmp_path: Path) -> None:
    from lager_onnx.integrations.ray import Cluster, score_on_ray

    path = tmp_path / "many.jsonl"
    lines = [{"id": number, "instruction": "Count.", "response": "good bad " * 40} for number in range(600)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out, killed = tmp_path / "out", []

    def kill_one() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            partial = [file for file in out.glob("*.partial") if file.stat().st_size > 2000]
            titles = [(each, (each.info["cmdline"] or [""])[0]) for each in psutil.process_iter(["cmdline"])]
            workers = [each for each, title in titles if title.startswith("ray::") and "GradePart" in title]
            if partial and workers:
                workers[0].send_signal(signal.SIGKILL)
                killed.append(workers[0].pid)
                return
            time.sleep(0.01)

    killer = threading.Thread(target=kill_one)
    killer.start()
    score_on_ray(tiny_judge, Source(str(path)), out, Options(), Cluster(actors=2), rows=100)
    killer.join()
    assert killed
    assert [row["id"] for row in results(out)] == list(range(600))
    assert not list(out.glob("*.partial"))


def test_a_row_that_cannot_be_graded_stops_the_run_or_is_skipped(
    tiny_judge: Path, records: Path, tmp_path: Path
) -> None:
    from lager_onnx.integrations.ray import Cluster, score_on_ray

    lines = records.read_text().splitlines()
    records.write_text("\n".join([*lines[:20], '{"id": 20}', *lines[21:]]) + "\n")
    source = Source(str(records))
    with pytest.raises(RecordError, match="line 21: field 'instruction' is missing"):
        score_on_ray(tiny_judge, source, tmp_path / "stopped", Options(), Cluster(actors=1), rows=10)
    go_on = Options(on_error="skip")
    score_on_ray(tiny_judge, source, tmp_path / "stopped", go_on, Cluster(actors=1), rows=10, resume=True)
    score_on_ray(tiny_judge, source, tmp_path / "skipped", Options(on_error="skip"), Cluster(actors=1), rows=10)
    found = results(tmp_path / "skipped")
    assert results(tmp_path / "stopped") == found
    assert len(found) == ROWS
    assert [row["id"] for row in found if "error" in row] == [20]


def test_the_command(tiny_judge: Path, records: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from lager_onnx.cli import main

    out = tmp_path / "out"
    command = ["score", str(tiny_judge), str(records), "--engine", "ray", "--part-rows", "30"]
    outcome = CliRunner().invoke(main, [*command, "-o", str(out)])
    assert f"{ROWS} rows graded" in outcome.output
    assert [row["score"] for row in results(out)] == expected(tiny_judge, records)
    for wrong in ([], ["-o", str(out), "--overwrite"]):
        outcome = CliRunner().invoke(main, [*command, *wrong])
        assert outcome.exit_code == 2
        assert "writes a folder that is new" in outcome.output


def test_an_actor_for_pipelines_of_your_own(tiny_judge: Path, records: Path) -> None:
    from lager_onnx.integrations.ray import JudgeActor

    graded = ray.data.read_json(str(records)).map_batches(
        JudgeActor,
        fn_constructor_args=(str(tiny_judge),),
        fn_constructor_kwargs={"device": "cpu"},
        compute=ray.data.ActorPoolStrategy(size=1),
        batch_size=16,
    )
    found = sorted(graded.take_all(), key=lambda row: row["id"])
    assert [row["score"] for row in found] == pytest.approx(expected(tiny_judge, records))
    assert set(found[0]["probabilities"]) == {"1", "2", "3", "4", "5"}
    assert found[0]["error"] is None
