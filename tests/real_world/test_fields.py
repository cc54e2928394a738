"""Which field is read as what: names given on purpose win, ambiguous records are refused, and nothing goes unsaid."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lager_onnx import Judge
from lager_onnx.analysis import evaluate, tune
from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import LagerError, RecordError, TemplateError
from lager_onnx.models.template import Template
from lager_onnx.runtime.jobs.results import ResultFile
from lager_onnx.runtime.jobs.select import grade_under_criteria
from lager_onnx.runtime.records import Row, as_judged, as_record
from lager_onnx.serve.errors import RequestError
from lager_onnx.serve.protocols.score import Scored, answer
from lager_onnx.serve.service import Limits, Service, Settings

ASKED, ANSWERED = "Name a prime.", "Seven."
RECORD = {"instruction": ASKED, "response": ANSWERED}
MESSAGES = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": ANSWERED}]
MAPPED = {"instruction": "prompt", "response": "completion"}


def with_template(judge: Judge, text: str) -> Judge:
    return judge.with_spec(replace(judge.spec, template=Template("own.txt", text)))


@pytest.mark.parametrize(
    "other",
    [
        {"response": ANSWERED}, {"completion": ANSWERED}, {"messages": MESSAGES}, {"output": ANSWERED},
        {"answer": ANSWERED}, {"model_response": ANSWERED}, {"gpt4_answer": ANSWERED}, {"Response": ANSWERED},
        {"generated_text": ANSWERED, "text": ANSWERED}, {"chosen": ANSWERED, "rejected": "No."},
        {"instruction": ASKED}, {"question": ASKED, "choices": ["no", "yes"]}, {"text": ANSWERED},
    ],
)  # fmt: skip
def test_a_prompt_beside_what_was_asked_or_answered_is_refused_by_name(judge: Judge, other: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match=f"'prompt', and .*{next(iter(other))}.* beside it") as refused:
        judge.score([{"prompt": ASKED} | other])
    assert "--field instruction=prompt" in refused.value.told("command")
    assert 'fields={"instruction": "prompt"' in str(refused.value)
    assert "--" not in str(refused.value) + refused.value.told("http")


@pytest.mark.parametrize(
    "aside",
    [{}, {"response": None, "completion": " ", "messages": []}, {"id": 3, "group": "g", "tokens": 12},
     {"reference_answer": "7", "response_id": "r1", "prompt_tokens": 3}],
)  # fmt: skip
def test_a_prompt_with_no_answer_beside_it_is_finished(judge: Judge, aside: dict[str, Any]) -> None:
    turn = "Grade this: seven is prime."
    chat = judge.spec.chat
    assert judge.prompt({"prompt": turn} | aside) == chat.wrap(turn)


def test_names_given_on_purpose_win_everywhere(judge: Judge, run: Callable[..., Result], tmp_path: Path) -> None:
    answers = ["Seven.", "A horse.", "good bad bad"]
    records = [{"prompt": ASKED, "completion": each, "human_score": n + 1} for n, each in enumerate(answers)]
    plain = [{"instruction": ASKED, "response": each, "human_score": n + 1} for n, each in enumerate(answers)]
    expected = [grade.score for grade in judge.score(plain)]
    assert len({round(score, 4) for score in expected}) == 3
    assert [grade.score for grade in judge.score(records, fields=MAPPED)] == pytest.approx(expected, abs=1e-4)
    flags = [part for pair in MAPPED.items() for part in ("--field", "=".join(pair))]
    scored = [json.loads(line) for line in run("score", records, *flags).stdout.splitlines()]
    assert [row["score"] for row in scored] == pytest.approx(expected, abs=1e-4)
    shown = [json.loads(line)["prompt"] for line in run("prompt", records, "--json", *flags).stdout.splitlines()]
    assert shown == [judge.prompt(record) for record in plain]
    kept = run("select", records, *flags, "-o", str(tmp_path / "best.jsonl"), "--keep", "3", "--criteria", "relevance")
    assert kept.exit_code == 0, kept.output
    under = [grade.score for grade in judge.score([record | {"criterion": "relevance"} for record in plain])]
    rows = [json.loads(line) for line in (tmp_path / "best.jsonl").read_text().splitlines()]
    assert [row["score"] for row in rows] == pytest.approx(under, abs=1e-4)
    page = run("inspect", records, *flags, "--html", str(tmp_path / "page.html"))
    assert page.exit_code == 0, page.output


def test_a_record_that_was_read_once_is_read_no_more(judge: Judge) -> None:
    record = as_record({"prompt": ASKED, "completion": ANSWERED}, MAPPED)
    assert as_record(record) is record
    assert judge.prompt(record) == judge.prompt(as_judged(record)) == judge.prompt(RECORD)


@pytest.mark.parametrize(
    ("record", "fields", "turns"),
    [
        ({"prompt": ASKED, "response": "No.", "a": ANSWERED}, {"instruction": "prompt", "response": "a"}, RECORD),
        ({"messages": MESSAGES, "response": "No.", "instruction": "?"}, {"messages": "messages"}, RECORD),
        (RECORD | {"messages": [*MESSAGES, *MESSAGES]}, {"response": "response"}, RECORD),
        (RECORD | {"output": "No."}, {"response": "response"}, RECORD),
        ({"instruction": ASKED, "output": ANSWERED, "response": "No."}, {"output": "output"}, RECORD),
        ({"conversation": MESSAGES, "prompt": "?"}, {"messages": "conversation"}, RECORD),
        (RECORD | {"context": "c"}, {"reference": "context"}, RECORD | {"reference": "c"}),
        (
            RECORD | {"context": "c"},
            {"reference": "context", "context": "context"},
            RECORD | {"reference": "c", "context": "c"},
        ),
        (RECORD | {"reference": "theirs", "gold": "g"}, {"reference": "gold"}, RECORD | {"reference": "g"}),
    ],
)  # fmt: skip
def test_what_is_named_is_read_and_nothing_else(
    judge: Judge, record: dict[str, Any], fields: dict[str, str], turns: dict[str, str]
) -> None:
    assert judge.prompt(record, fields=fields) == judge.prompt(turns)


def test_a_prompt_named_as_finished_is_read_as_it_is(judge: Judge) -> None:
    record = {"prompt": "Grade it.", "response": ANSWERED, "text": "Other."}
    assert judge.prompt(record, fields={"prompt": "prompt"}) == judge.spec.chat.wrap("Grade it.")
    assert judge.prompt(record, fields={"prompt": "text"}) == judge.spec.chat.wrap("Other.")
    with pytest.raises(RecordError, match="the finished prompt is named, and response beside it"):
        judge.prompt(record, fields={"prompt": "prompt", "response": "response"})
    with pytest.raises(RecordError, match="'prompt' is empty"):
        judge.prompt(RECORD | {"prompt": ""}, fields={"prompt": "prompt"})


@pytest.mark.parametrize(
    "record",
    [
        {"instruction": ASKED, "response": ANSWERED, "messages": [MESSAGES[0], {"role": "assistant", "content": "8"}]},
        {"response": ANSWERED, "messages": MESSAGES[:1]},
        {"instruction": ASKED, "output": "No.", "response": ANSWERED},
        {"instruction": ASKED, "output": "No.", "messages": MESSAGES},
        {"instruction": "Another.", "response": ANSWERED, "messages": MESSAGES},
    ],
)
def test_two_layouts_that_differ_are_refused(judge: Judge, record: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="which say different things") as refused:
        judge.score([record])
    for name in {"messages", "output", "response"} & set(record):
        assert f"'{name}'" in str(refused.value)
        assert f"--field {name}={name}" in refused.value.told("command")


@pytest.mark.parametrize(
    "record",
    [
        {"messages": MESSAGES, "response": ANSWERED},
        RECORD | {"messages": MESSAGES},
        RECORD | {"output": ANSWERED, "input": None},
        RECORD | {"output": None, "messages": None, "prompt": None},
        RECORD | {"completion": "of another judge", "answer": "gold", "text": "raw"},
    ],
)
def test_two_layouts_that_say_the_same_are_one(judge: Judge, record: dict[str, Any]) -> None:
    assert judge.prompt(record) == judge.prompt(RECORD)


def test_alpacas_input_is_read_beside_the_same_response(judge: Judge) -> None:
    record = {"instruction": "Add one.", "input": "6", "output": ANSWERED, "response": ANSWERED}
    assert judge.prompt(record) == judge.prompt({"instruction": "Add one.\n\n6", "response": ANSWERED})


def test_a_template_says_what_its_own_fields_are(judge: Judge) -> None:
    own = with_template(judge, "{prompt}\n\n{completion}\n\n{output?}")
    record = {"prompt": ASKED, "completion": ANSWERED, "output": "x", "instruction": "y"}
    assert own.prompt(record) == judge.spec.chat.wrap(f"{ASKED}\n\n{ANSWERED}\n\nx")
    dialogue = with_template(judge, "{dialogue}")
    assert dialogue.prompt({"dialogue": "A: no!", "messages": "broken", "output": 1}) == judge.spec.chat.wrap("A: no!")
    with pytest.raises(RecordError, match="'prompt', and dialogue beside it"):
        dialogue.prompt({"dialogue": "A: no!", "prompt": "?"})
    with pytest.raises(RecordError, match="'question' is read under another name only") as hidden:
        with_template(judge, "{question} {response}").prompt(
            {"question": "?", "response": "!"}, fields={"instruction": "question"}
        )
    assert "--field question=question" in hidden.value.told("command")


def test_named_fields_reach_evaluation_and_tuning(
    judge: Judge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    theirs = [{"prompt": ASKED, "completion": f"good {n} " * n, "rated": n % 5 + 1} for n in range(1, 13)]
    ours = [{"instruction": r["prompt"], "response": r["completion"], "human_score": r["rated"]} for r in theirs]
    fields = MAPPED | {"human_score": "rated"}
    found, expected = evaluate(judge, theirs, fields=fields, resamples=10), evaluate(judge, ours, resamples=10)
    assert [row.figures["spearman"] for row in found] == [row.figures["spearman"] for row in expected]
    tuned = tune(judge, theirs, fields=fields, folds=2, recipe_name="regularised")
    same = tune(judge, ours, folds=2, recipe_name="regularised")
    assert tuned.learned.weights == pytest.approx(same.learned.weights, abs=1e-4)
    with pytest.raises(RecordError, match="record 0: field answer is missing"):
        evaluate(judge, theirs, fields={"response": "answer"})


def test_select_refuses_where_every_criterion_gives_the_same_grade(
    judge: Judge, run: Callable[..., Result], tmp_path: Path
) -> None:
    own = with_template(judge, "{instruction} {response} {scale}")
    with ResultFile(tmp_path / "g.jsonl") as grades, pytest.raises(TemplateError, match=r"has no \{rubric\}"):
        grade_under_criteria(own, [Row("line 1", RECORD)], ["relevance"], grades)
    for record in ({"prompt": "Grade it."}, {"text": "t", "question": "?", "choices": ["no", "yes"]}):
        refused = run("select", [record], "-o", str(tmp_path / "p.jsonl"), "--overwrite")
        assert refused.exit_code == 2
        assert "line 1: the record" in refused.stderr


def ask(judge: Judge, body: dict[str, Any]) -> dict[str, Any]:
    async def asked() -> dict[str, Any]:
        service = Service(judge, Settings("judge", Limits(records=10, waiting=10, body=10_000, seconds=60)))
        try:
            return await answer(service, Scored(body))
        finally:
            await asyncio.to_thread(service.queue.close)

    return asyncio.run(asked())


def test_http_refuses_with_its_own_cures_and_takes_names(judge: Judge) -> None:
    record = {"prompt": ASKED, "completion": ANSWERED}
    with pytest.raises(RequestError) as refused:
        ask(judge, record)
    assert "send it as 'instruction'" in str(refused.value)
    several = ask(judge, {"records": [record, {"instruction": "x"}, RECORD]})["results"]
    assert "send it as 'response'" in several[1]["error"]
    for text in (str(refused.value), several[0]["error"], several[1]["error"]):
        assert "--" not in text
        assert "fields=" not in text
    (expected,) = judge.score([RECORD])
    for body in (record | {"fields": MAPPED}, {"records": [record], "fields": MAPPED}):
        found = ask(judge, body)
        assert found.get("results", [found])[0]["score"] == pytest.approx(expected.score, abs=1e-4)
    with pytest.raises(RequestError, match="must map names"):
        ask(judge, {"records": [record], "fields": ["prompt"]})


def test_each_interface_gets_its_own_cure(judge: Judge, run: Callable[..., Result], tmp_path: Path) -> None:
    error = RecordError("it is wrong", Cure(command="add --flag", python="give flag=True")).at("a.csv, line 3")
    assert isinstance(error, RecordError)
    assert str(error) == error.told("python") == "a.csv, line 3: it is wrong: give flag=True"
    assert error.told("command") == "a.csv, line 3: it is wrong: add --flag"
    assert error.told("http") == "a.csv, line 3: it is wrong"
    assert str(LagerError("plain").at("here")) == "here: plain"
    long = RECORD | {"response": "good " * 4000}
    refused = run("score", [long])
    assert "line 1: the prompt has" in refused.stderr
    assert "--on-error skip" in refused.stderr
    skipped = run("score", [long], "--on-error", "skip")
    assert "--on-error skip" in json.loads(skipped.stdout)["error"]
    with pytest.raises(RecordError, match=r'record 0: .*on_error="skip"') as raised:
        judge.score([long])
    assert "--" not in str(raised.value)
    taken = run("score", [RECORD | {"score": 1}])
    assert "--field-prefix lager_" in taken.stderr


def test_errors_keep_their_cure_across_processes() -> None:
    import pickle

    error = RecordError("it is wrong", Cure(command="add --flag", python="give flag=True")).at("here")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.told("command")) == (str(error), "here: it is wrong: add --flag")
