"""The adapter for deepeval: its metric, and what decides for deepeval's own."""

import asyncio
from pathlib import Path

import pytest

from lager_onnx import Judge
from lager_onnx.models.errors import RecordError

deepeval = pytest.importorskip("deepeval")
CASE = {"input": "Name a prime.", "actual_output": "Seven."}


@pytest.fixture(scope="module")
def judge(tiny_judge: Path) -> Judge:
    return Judge.load(tiny_judge, device="cpu")


def test_a_metric_grades_all_that_a_test_case_holds(judge: Judge) -> None:
    from deepeval.test_case import LLMTestCase

    from lager_onnx.integrations.deepeval import LagerMetric

    case = LLMTestCase(**CASE, expected_output="7", context=["Primes have two divisors."])
    (right,) = judge.score(
        [
            {
                "instruction": "Name a prime.", "response": "Seven.", "reference": "7",
                "context": ["Primes have two divisors."], "criterion": "faithfulness",
            }
        ]
    )  # fmt: skip
    metric = LagerMetric(judge, criterion="faithfulness", threshold=right.normalized + 0.01)
    assert metric.measure(case) == metric.score == pytest.approx(right.normalized)
    assert metric.is_successful() is False
    assert metric.confidence == pytest.approx(right.confidence)
    assert metric.input_tokens == right.tokens
    metric.threshold = right.normalized - 0.01
    assert asyncio.run(metric.a_measure(case)) == pytest.approx(right.normalized)
    assert metric.success is True


def test_a_metric_of_a_rubric(judge: Judge) -> None:
    from deepeval.test_case import LLMTestCase

    from lager_onnx.integrations.deepeval import LagerMetric

    (right,) = judge.score([{"instruction": "Name a prime.", "response": "Seven.", "rubric": "Is it short?"}])
    assert LagerMetric(judge, rubric="Is it short?").measure(LLMTestCase(**CASE)) == pytest.approx(right.normalized)
    with pytest.raises(RecordError, match="criterion"):
        LagerMetric(judge, criterion="no such").measure(LLMTestCase(**CASE))


def test_decisions(judge: Judge) -> None:
    from deepeval.models.system_one import ChoiceQuestion, NoulQuestion, ScoreQuestion

    from lager_onnx.integrations.deepeval import LagerSystemOne

    state = {"message": "I want my money back."}
    text = '{\n "message": "I want my money back."\n}'
    answers, cost = LagerSystemOne(judge).decide(
        state,
        {
            "angry": NoulQuestion(instructions="Is the customer angry?"),
            "named": NoulQuestion(instructions="Which?", true="It names a sum.", false="It names none."),
            "about": ChoiceQuestion(instructions="About what?", options={"refund": "money", "praise": None}),
            "urgent": ScoreQuestion(instructions="How urgent?", levels=["not", "somewhat", "very"]),
        },
    )
    angry, named, about, urgent = judge.score(
        [
            {"text": text, "question": "Is the customer angry?", "choices": ["no", "yes"]},
            {"text": text, "question": "Which?", "choices": ["no: It names none.", "yes: It names a sum."]},
            {"text": text, "question": "About what?", "choices": ["refund: money", "praise"]},
            {"text": text, "question": "How urgent?", "levels": ["not", "somewhat", "very"]},
        ]
    )
    assert cost == 0
    assert answers.nouls["angry"].probability == pytest.approx(angry.distribution[1])
    assert answers.nouls["named"].probability == pytest.approx(named.distribution[1])
    assert list(answers.choices["about"].probabilities.values()) == pytest.approx(about.distribution)
    assert answers.choices["about"].choice == ["refund", "praise"][int(about.distribution.argmax())]
    assert answers.scores["urgent"].score == pytest.approx(urgent.score - 1)
    assert answers.scores["urgent"].normalized == pytest.approx(urgent.normalized)
    assert answers.min_confidence() is not None


def test_it_decides_for_deepeval_s_own_metrics(judge: Judge) -> None:
    from deepeval.metrics import AnswerRelevancyMetric
    from deepeval.test_case import LLMTestCase

    from lager_onnx.integrations.deepeval import LagerSystemOne

    metric = AnswerRelevancyMetric(
        eval_mode="system_one", system_one_model=LagerSystemOne(judge), async_mode=False, include_reason=False
    )
    score = metric.measure(LLMTestCase(**CASE))
    assert 0 <= score <= 1
    assert metric.confidence is not None
