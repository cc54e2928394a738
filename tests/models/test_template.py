from pathlib import Path
from typing import Any

import pytest

from lager_onnx.models.criteria import CRITERIA
from lager_onnx.models.errors import RecordError, TemplateError
from lager_onnx.models.question import Question
from lager_onnx.models.scale import Scale
from lager_onnx.models.template import Template, built_in_templates

SCALE = Scale.parse("1-3")
RECORD = {"instruction": "Name a prime.", "response": "Seven."}


def fill(record: dict[str, Any], template: str = "direct", scale: Scale = SCALE) -> str:
    return Template.load(template).fill(record, question=Question(scale), answer_prefix="score: ")


GRADING = [name for name in built_in_templates() if name != "question"]


@pytest.mark.parametrize("template", GRADING)
def test_built_in_templates_hold_everything_in_order(template: str) -> None:
    record = RECORD | {"criterion": "fluency", "reference": "Two.", "context": "Numbers."}
    text = fill(record, template)
    parts = ["Name a prime.", "Numbers.", "Seven.", "Two.", CRITERIA["fluency"].question, 'score:"']
    if template == "direct":  # what all criteria share stands before what they do not
        parts[-2:] = parts[:-3:-1]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "1, 2, 3" in text
    assert "{" not in text


@pytest.mark.parametrize("template", GRADING)
def test_paragraphs_without_their_field_are_left_out(template: str) -> None:
    text = fill(RECORD | {"reference": "", "context": None}, template)
    for word in ("Context", "Reference", "What to grade", "Criterion", "{", "\n\n\n"):
        assert word not in text


def test_a_built_in_criterion_describes_the_ends_of_any_scale() -> None:
    text = fill(RECORD | {"criterion": "coherence"}, scale=Scale.parse("good=2,bad=0"))
    assert f"good: {CRITERIA['coherence'].high}" in text
    assert f"bad: {CRITERIA['coherence'].low}" in text


@pytest.mark.parametrize(
    "rubric",
    [
        {
            "rubric": {
                "name": "tone",
                "question": "Is it kind?",
                "descriptions": {"1": "rude", "2": "so-so", "3": "kind"},
            }
        },
        {"rubric": {"name": "tone", "question": "Is it kind?", "descriptions": ["rude", "so-so", "kind"]}},
        {"criterion": "tone", "rubric": "Is it kind?", "score_descriptions": {"1": "rude", "2": "so-so", "3": "kind"}},
    ],
)
def test_a_record_s_own_rubric(rubric: dict[str, Any]) -> None:
    assert "tone: Is it kind?\n1: rude\n2: so-so\n3: kind" in fill(RECORD | rubric)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"instruction": "x"}, "'response' is missing"),
        (RECORD | {"response": " \n"}, "'response' is empty"),
        (RECORD | {"response": ["a"]}, "'response' is list"),
        (RECORD | {"criterion": "beauty"}, "unknown criterion 'beauty'; choose from helpfulness"),
        (RECORD | {"criterion": 3}, "'criterion' is int"),
        (RECORD | {"rubric": {"questoin": "?"}}, "has questoin"),
        (RECORD | {"rubric": {"descriptions": {}}}, "is empty"),
        (RECORD | {"rubric": {"question": 4}}, "must be text"),
        (RECORD | {"rubric": ["a"]}, "'rubric' must be"),
        (RECORD | {"rubric": {"question": "?", "descriptions": {"9": "x"}}}, "describes 9"),
        (RECORD | {"rubric": {"question": "?", "descriptions": ["x"]}}, "describes 1 scores"),
        (RECORD | {"rubric": {"question": "?", "descriptions": {"1": 2}}}, "of 1 is not text"),
        (RECORD | {"rubric": {"question": "?", "descriptions": 3}}, "must be an object"),
        ({"prompt": ""}, "'prompt' is empty"),
    ],
)
def test_records_that_cannot_be_asked_about(record: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        fill(record)


def test_a_finished_prompt_is_taken_as_it_is() -> None:
    assert fill({"prompt": "Grade {this}.\n"}) == "Grade {this}.\n"


def test_values_are_never_read_as_fields() -> None:
    assert "{instruction} {x}" in fill(RECORD | {"response": "{instruction} {x}"})


def test_a_user_s_template_may_name_any_field(tmp_path: Path) -> None:
    file = tmp_path / "emotion.txt"
    file.write_text("{dialogue}\r\n\r\nHint: {hint?}\r\n\r\nHow much {emotion}? {lowest}-{highest}")
    text = fill({"dialogue": "A: no!", "emotion": "anger", "hint": 3}, str(file))
    assert text == "A: no!\n\nHint: 3\n\nHow much anger? 1-3"
    with pytest.raises(RecordError, match="'emotion' is missing"):
        fill({"dialogue": "A: no!"}, str(file))


def test_a_template_that_needs_a_rubric_says_so(tmp_path: Path) -> None:
    file = tmp_path / "strict.txt"
    file.write_text("{response}\n\n{rubric}")
    with pytest.raises(RecordError, match="needs a 'criterion' or a 'rubric'"):
        fill(RECORD, str(file))


@pytest.mark.parametrize("content", [None, b"no field, only {lowest}", b"\xff\xfe{response}"])
def test_templates_that_cannot_be_used(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "template.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(TemplateError):
        Template.load(str(file))
