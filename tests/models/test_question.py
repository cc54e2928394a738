"""What a record asks for: levels, choices, or a score on the judge's own scale."""

from typing import Any

import pytest

from lager_onnx.models.errors import RecordError
from lager_onnx.models.question import Question, read_question
from lager_onnx.models.scale import Scale
from lager_onnx.models.template import Template

DECISIONS = Scale.parse("decisions")
FIVE = Scale.parse("1-5")


def test_ten_digits_make_a_scale_for_decisions() -> None:
    assert DECISIONS.labels == ("1", "2", "3", "4", "5", "6", "7", "8", "9", "0")
    assert DECISIONS.values == tuple(range(1, 11))
    assert DECISIONS.highest == "0"


@pytest.mark.parametrize(
    ("record", "labels", "texts", "choice"),
    [
        ({}, FIVE.labels, (), False),
        ({"levels": None, "choices": float("nan")}, FIVE.labels, (), False),
        ({"levels": 3}, ("1", "2", "3"), (), False),
        ({"levels": ["bad", " good "]}, ("1", "2"), ("bad", "good"), False),
        ({"choices": ["no", "yes"]}, ("1", "2"), ("no", "yes"), True),
        ({"choices": list("abcde")}, FIVE.labels, tuple("abcde"), True),
    ],
)
def test_what_a_record_asks(
    record: dict[str, Any], labels: tuple[str, ...], texts: tuple[str, ...], choice: bool
) -> None:
    question = read_question(record, FIVE)
    assert question == Question(Scale(labels, FIVE.values[: len(labels)]), texts, choice)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"levels": 6}, "asks for 6, this judge answers one of 2 to 5: export_judge"),
        ({"levels": 11}, "asks for 11, this judge answers one of 2 to 5$"),
        ({"choices": list("abcdef")}, "asks for 6"),
        ({"levels": 1}, "asks for 1"),
        ({"levels": -3}, "asks for -3"),
        ({"levels": True}, "must be a list of texts, one a level, or a number"),
        ({"levels": 2.5}, "must be a list"),
        ({"choices": "yes, no"}, "must be a list of texts to choose from"),
        ({"choices": ["yes", 3]}, "must be a list of texts to choose from"),
        ({"choices": ["yes", " "]}, "must be a list of texts to choose from"),
        ({"choices": []}, "asks for 0"),
        ({"choices": ["yes", "yes "]}, "holds a text twice"),
        ({"choices": ["no", "yes"], "levels": 2}, "both"),
    ],
)
def test_questions_that_are_none_are_refused(record: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        read_question(record, FIVE)


def test_labels_that_are_words_cannot_number_choices() -> None:
    with pytest.raises(RecordError, match="answers with numbers, not one of bad=0, ok=1, good=2"):
        read_question({"choices": ["no", "yes"]}, Scale.parse("bad=0,ok=1,good=2"))


def test_levels_are_described_in_the_judge_s_own_prompt() -> None:
    record = {"instruction": "Name a prime.", "response": "Nine.", "criterion": "fluency", "levels": ["wrong", "right"]}
    text = Template.load("direct").fill(record, question=read_question(record, FIVE), answer_prefix="score: ")
    assert "1: wrong\n2: right" in text
    assert "Your grade from 1 to 2" in text
    assert "3" not in text


def test_a_question_is_asked_with_its_choices() -> None:
    record = {"text": "I want my money back.", "question": "Is the customer angry?", "choices": ["no", "yes"]}
    text = Template.load("question").fill(record, question=read_question(record, DECISIONS), answer_prefix="score: ")
    assert text.index("I want my money back.") < text.index("Is the customer angry?") < text.index("1: no\n2: yes")
    assert "one of 1, 2." in text
    assert "### Response" not in text
