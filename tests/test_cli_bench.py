"""`lager bench` on a tiny judge: what it says, not how fast it is."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lager_onnx.cli import main
from lager_onnx.runtime.bench import Speed


def test_every_case_is_measured_as_often_as_asked(tiny_judge: Path) -> None:
    arguments = ["bench", str(tiny_judge), "--device", "cpu", "--threads", "2", "--repeats", "2", "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    cases = [json.loads(line) for line in result.stdout.splitlines()]
    assert {case["prompts"] for case in cases} >= {1, 7, 8}
    assert all(len(case["seconds"]) == 2 and min(case["seconds"]) > 0 for case in cases)
    assert any(case["shared"] for case in cases)
    assert "CPUExecutionProvider" in result.stderr
    assert "MB of its own" in result.stderr


def test_speed_is_of_the_median() -> None:
    speed = Speed(prompts=4, tokens=100, shared=0, seconds=(1.0, 2.0, 9.0))
    assert speed.responses_a_second == pytest.approx(2)
    assert speed.tokens_a_second == pytest.approx(200)
    assert "(44-400)" in speed.describe()


def test_what_is_no_judge_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["bench", str(tmp_path)])
    assert result.exit_code == 2
    assert "judge.json" in result.stderr
