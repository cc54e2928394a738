"""What is beside a prompt, a chat or a text: refused where it may be what is meant, said where it is not read."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lager_onnx import Judge
from lager_onnx.models.errors import RecordError
from lager_onnx.models.template import Template
from lager_onnx.runtime.records import read_rows

ASKED, ANSWERED = "Name a prime.", "Seven."
RECORD = {"instruction": ASKED, "response": ANSWERED}
MESSAGES = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": ANSWERED}]
QUESTION = {"question": "Is it right?", "choices": ["no", "yes"]}


@pytest.mark.parametrize(
    "name",
    [
        "response_1", "response_a", "output_1", "Response-B", "candidate", "candidate_2", "hypothesis", "solution",
        "summary", "model_summary", "translation", "target", "result", "content", "assistant", "predicted", "chat",
        "dialogue", "turns", "query", "user_input", "response_text_1",
    ],
)  # fmt: skip
def test_a_prompt_beside_another_name_for_what_was_asked_or_answered_is_refused(judge: Judge, name: str) -> None:
    with pytest.raises(RecordError, match=f"'prompt', and {name} beside it"):
        judge.prompt({"prompt": ASKED, name: ANSWERED})
    judge.prompt({"prompt": ASKED, name: None})


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"story": "Once upon a time."}, "column story is not read"),
        ({"story": "Once.", "essay": "Twice.", "id": "7"}, "columns story, essay are not read"),
        ({"id": "7", "model": "m", "prompt_id": "p", "topic": "maths", "gold_summary": "7", "rating": 3}, None),
        ({"story": " ", "tokens": 3, "tags": ["a"]}, None),
    ],
)
def test_text_beside_a_finished_prompt_is_said_once(
    judge: Judge, beside: dict[str, Any], said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        judge.score([{"prompt": "Grade it."} | beside] * 3)
        judge.score([{"prompt": "Grade it."} | beside], fields={"prompt": "prompt"})
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(": ")[0] for message in messages] == (
        [f"the prompt is read as finished; {said}"] if said else []
    )


@pytest.mark.parametrize("response", [{}, {"response": None}])
def test_an_instruction_beside_messages_must_be_theirs(judge: Judge, response: dict[str, Any]) -> None:
    record: dict[str, Any] = {"messages": MESSAGES} | response
    assert judge.prompt(record | {"instruction": ASKED}) == judge.prompt(RECORD)
    assert judge.prompt(record | {"instruction": " "}) == judge.prompt(RECORD)
    other = record | {"instruction": "Name a horse."}
    with pytest.raises(RecordError, match="'messages' and 'instruction', which say different things") as refused:
        judge.prompt(other)
    assert refused.value.told("command").endswith("add --field messages=messages")
    assert judge.prompt(other, fields={"messages": "messages"}) == judge.prompt(RECORD)
    with pytest.raises(RecordError, match="which say different things"):
        judge.prompt(record | {"instruction": "a prime"})
    system = {"role": "system", "content": "Be brief."}
    longer = record | {"messages": [system, *MESSAGES]}
    for part in ("Be brief.", ASKED, f"system: Be brief.\n\nuser: {ASKED}"):
        assert judge.prompt(longer | {"instruction": part}) == judge.prompt(longer)
    reads_none = judge.with_spec(replace(judge.spec, template=Template("own.txt", "Grade {response}")))
    assert reads_none.prompt(other) == judge.spec.chat.wrap(f"Grade {ANSWERED}")


@pytest.mark.parametrize(
    "turns", [RECORD, {"instruction": ASKED, "output": ANSWERED}, {"messages": MESSAGES}, {"response": ANSWERED}]
)
def test_a_question_is_about_a_text_or_about_a_response(judge: Judge, turns: dict[str, Any]) -> None:
    about_turns, about_text = judge.prompt(turns | QUESTION), judge.prompt({"text": "Refund!"} | QUESTION)
    assert ANSWERED in about_turns
    both = turns | QUESTION | {"text": "Refund!"}
    with pytest.raises(RecordError, match=r"the record has 'text', and .* beside it, which say different things"):
        judge.prompt(both)
    assert judge.prompt(both, fields={"text": "text"}) == about_text
    last = list(turns)[-1]
    assert judge.prompt(both, fields={last: last}) == about_turns
    assert judge.prompt(both | dict.fromkeys(turns)) == about_text
    same = judge.prompt(turns | QUESTION | {"text": ANSWERED})
    assert same in (about_turns, judge.prompt({"text": ANSWERED} | QUESTION))
    assert same.count(ANSWERED) == 1
    assert judge.prompt(RECORD | {"text": "raw"}) == judge.prompt(RECORD)


def test_a_template_of_the_user_reads_text_and_response(judge: Judge) -> None:
    own = judge.with_spec(replace(judge.spec, template=Template("own.txt", "{text} {response} {question}")))
    expected = judge.spec.chat.wrap(f"T {ANSWERED} {QUESTION['question']}")
    assert own.prompt(RECORD | QUESTION | {"text": "T"}) == expected


def test_messages_are_read_as_json_text(judge: Judge, run: Callable[..., Result], tmp_path: Path) -> None:
    text = json.dumps(MESSAGES)
    assert judge.prompt({"messages": text}) == judge.prompt(RECORD)
    assert judge.prompt({"chat": text}, fields={"messages": "chat"}) == judge.prompt(RECORD)
    quoted = text.replace('"', '""')
    (tmp_path / "a.csv").write_text(f'id,messages\n1,"{quoted}"\n')
    assert [judge.prompt(row.record) for row in read_rows(str(tmp_path / "a.csv"))] == [judge.prompt(RECORD)]
    for lacking in ("", "null", "[]"):
        assert judge.prompt(RECORD | {"messages": lacking}) == judge.prompt(RECORD)
    scored = run("score", [{"messages": text}])
    assert json.loads(scored.stdout)["messages"] == text


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (str(MESSAGES), "'messages' is text that is no JSON list"),
        ("What is a prime?", "'messages' is text that is no JSON list"),
        ('{"role": "user"}', "'messages' is text that is no JSON list but dict"),
        ({"role": "user", "content": ASKED}, "'messages' is dict, not a list"),
        (3, "'messages' is int, not a list"),
        ('[{"role": "user", "content": "a", "content": "b"}]', "field content twice"),
    ],
)
def test_messages_that_are_no_list_are_refused(judge: Judge, messages: Any, said: str) -> None:
    for record in ({"messages": messages}, RECORD | {"messages": messages}):
        with pytest.raises(RecordError, match=said):
            judge.prompt(record)
    assert judge.prompt(RECORD | {"messages": messages}, fields={"response": "response"}) == judge.prompt(RECORD)
