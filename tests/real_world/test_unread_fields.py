"""Fields that are given on purpose and not read are reported once."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lager_onnx import Judge
from lager_onnx.analysis import evaluate
from lager_onnx.models.cure import Notice
from lager_onnx.models.template import Template
from lager_onnx.runtime.feedback import Reasoning
from lager_onnx.runtime.prepared import tell
from lager_onnx.runtime.prompts import Turns

ASKED, ANSWERED = "Name a prime.", "Seven."
RECORD = {"instruction": ASKED, "response": ANSWERED}


def with_template(judge: Judge, text: str) -> Judge:
    return judge.with_spec(replace(judge.spec, template=Template("own.txt", text)))


@pytest.mark.parametrize("name", ["feedback", "Feedback", " FEEDBACK "])
def test_feedback_of_people_is_not_read_unasked(judge: Judge, name: str, caplog: pytest.LogCaptureFixture) -> None:
    record = RECORD | {name: "Perfect, I gave it 5 of 5"}
    with caplog.at_level(logging.WARNING):
        judge.score([record] * 3)
    (said,) = [each.getMessage() for each in caplog.records]
    assert "is not read" in said
    assert repr(name) in said.split("fields=")[1]
    assert judge.prompt(record) == judge.prompt(RECORD)
    opened = judge.spec.chat.wrap(judge.prompt(RECORD)[len(judge.spec.chat.before) :].split(judge.spec.chat.after)[0])
    assert opened == judge.prompt(RECORD)
    expected = judge.spec.chat.wrap("T", "Perfect, I gave it 5 of 5").partition("T")[2]
    assert judge.prompt(record, fields={"feedback": name}).endswith(expected)


def test_a_judge_that_writes_grades_records_with_people_s_feedback(
    writing_judge: Path, caplog: pytest.LogCaptureFixture
) -> None:
    judge = Judge.load(writing_judge, device="cpu", threads=1)
    with caplog.at_level(logging.WARNING):
        alone, beside = (judge.score([r], reasoning=Reasoning(4))[0] for r in (RECORD, RECORD | {"feedback": "Fair."}))
    assert alone.score == pytest.approx(beside.score, abs=1e-5)
    assert "'feedback' is not read" in caplog.text


@pytest.mark.parametrize(
    ("given", "template", "said"),
    [
        (
            {"rubric": "Is it kind?"},
            "{instruction} {response}",
            "'rubric' is not read: template 'own.txt' has no place",
        ),
        ({"criterion": "correctness"}, "{instruction} {response}", "'criterion' is not read"),
        ({"reference": "7"}, "{instruction} {response}", "'reference' is not read"),
        ({"context": ["a", "b"]}, "{instruction} {response}", "'context' is not read"),
        ({"levels": ["bad", "good"]}, "{instruction} {response}", "texts of field 'levels' are not read"),
        (
            {"criterion": "correctness", "score_descriptions": {"1": "x"}},
            "{response} {rubric?}",
            "'score_descriptions'",
        ),
        ({"input": "6"}, "{instruction} {response}", "'input' is not read"),
    ],
)
def test_what_is_given_and_not_read_is_said_once(
    judge: Judge, given: dict[str, Any], template: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    own = with_template(judge, template)
    with caplog.at_level(logging.WARNING):
        own.score([RECORD | given] * 5 + [RECORD])
    (message,) = [record.getMessage() for record in caplog.records]
    assert said in message
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        own.score([RECORD | dict.fromkeys(given)] * 2)
    assert not caplog.records


def test_what_the_template_reads_is_not_complained_of(judge: Judge, caplog: pytest.LogCaptureFixture) -> None:
    whole = RECORD | {"criterion": "correctness", "reference": "7", "context": "c", "id": 1, "whatever": "x"}
    with caplog.at_level(logging.WARNING):
        judge.score([whole, RECORD | {"rubric": "Is it kind?", "score_descriptions": {"1": "rude"}}, RECORD])
        judge.score([{"instruction": "Add one.", "input": "6", "output": "7"}, {"prompt": "Grade it."}])
    assert not caplog.records


def test_a_field_mapped_to_a_name_that_nobody_reads_is_said(
    judge: Judge, run: Callable[..., Result], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        judge.score([{"q": ASKED, "a": ANSWERED}] * 2, fields={"instruction": "q", "response": "a", "respones": "a"})
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["field 'respones' is not read"]
    shown = run("score", [RECORD | {"a": 1}] * 3, "--field", "respones=a")
    assert shown.stderr.count("field 'respones' is not read") == 1


def test_a_criterion_of_the_command_line_that_nothing_reads_is_said(run: Callable[..., Result]) -> None:
    shown = run("score", [{"prompt": "Grade it."}] * 3, "--criterion", "correctness")
    assert shown.exit_code == 0
    assert shown.stderr.count("field 'criterion' is not read: the record's prompt is finished") == 1
    assert "--field feedback=Feedback" in run("prompt", [RECORD | {"Feedback": "5"}] * 2).stderr


def test_evaluation_says_what_it_does_not_read_each_time(
    judge: Judge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    records = [RECORD | {"response": "good " * n, "human_score": n, "feedback": str(n)} for n in range(1, 6)]
    for _ in range(2):  # computed, then from the cache folder
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            evaluate(judge, records, by=("dataset", "aspect"), resamples=10)
        said = [record.getMessage() for record in caplog.records if record.name.startswith("lager_onnx")]
        assert sum("'feedback' is not read" in each for each in said) == 1
        assert sum("no record has the field 'aspect'" in each for each in said) == 1
        assert sum("no record has the field 'dataset'" in each for each in said) == 1


def test_a_server_remembers_a_bounded_number_of_notices(caplog: pytest.LogCaptureFixture) -> None:
    told = set[Notice]()
    for _ in range(2):
        for number in range(1500):
            tell(Turns("x", unread=(Notice(f"field 'f{number}' is not read"),)), told)
    assert len(told) == len(caplog.records) == 1000
