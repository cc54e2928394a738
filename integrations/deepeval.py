"""A judge in deepeval: a metric of its own, and a System One model that decides for deepeval's metrics.

    metric = LagerMetric(judge, criterion="correctness", threshold=0.7)
    deepeval.evaluate(test_cases, [metric])

    AnswerRelevancyMetric(eval_mode="system_one", system_one_model=LagerSystemOne(judge))

Neither writes text, so neither can write broken JSON.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from deepeval.metrics import BaseMetric
from deepeval.models import DeepEvalBaseSystemOneModel
from deepeval.models.system_one import (
    ChoiceAnswer,
    ChoiceQuestion,
    NoulAnswer,
    NoulQuestion,
    ScoreAnswer,
    ScoreQuestion,
    SystemOneAnswers,
    SystemOneQuestion,
)
from deepeval.test_case import LLMTestCase, SingleTurnParams

from lager_onnx.runtime.grade import Grade
from lager_onnx.runtime.judge import Judge


class LagerMetric(BaseMetric):  # type: ignore[misc]
    """The LAGER score of a test case's output, from 0 to 1.

    A test case's `input` is the instruction, `actual_output` the response, `expected_output` the reference, and
    `context` or else `retrieval_context` the context.

    Args:
        judge: that grades.
        criterion: name of it, or any name beside a `rubric`.
        rubric: the question as text, or as records have it.
        threshold: from which on a test case passes.
    """

    _required_params = (SingleTurnParams.INPUT, SingleTurnParams.ACTUAL_OUTPUT)

    def __init__(
        self,
        judge: Judge,
        *,
        criterion: str | None = None,
        rubric: str | Mapping[str, Any] | None = None,
        threshold: float = 0.5,
    ):
        self._judge, self.threshold = judge, threshold
        self._asked = {"criterion": criterion, "rubric": rubric}
        self._name = f"LAGER ({criterion})" if criterion else "LAGER"
        self.evaluation_model = judge.spec.source.checkpoint
        self.async_mode = True
        self.evaluation_cost = 0.0

    def measure(self, test_case: LLMTestCase, *_: Any, **__: Any) -> float:
        """Grades a test case.

        Raises:
            RecordError: it cannot be graded; says why.
        """
        (grade,) = self._judge.score([self._record(test_case)])
        return self._keep(grade)

    async def a_measure(self, test_case: LLMTestCase, *_: Any, **__: Any) -> float:
        """`measure`, while the event loop goes on."""
        (grade,) = await self._judge.ascore([self._record(test_case)])
        return self._keep(grade)

    @property
    def __name__(self) -> str:
        return self._name

    def _record(self, case: LLMTestCase) -> dict[str, Any]:
        passages = case.context or case.retrieval_context
        return {
            "instruction": case.input,
            "response": case.actual_output,
            "reference": case.expected_output,
            "context": [str(getattr(each, "context", each)) for each in passages] if passages else None,
            **self._asked,
        }

    def _keep(self, grade: Grade) -> float:
        self.score = grade.normalized
        self.confidence = grade.confidence
        self.score_breakdown = grade.probabilities
        self.input_tokens, self.output_tokens = grade.tokens, 0
        self.reason = f"score {grade.score:.2f} of {', '.join(grade.scale.labels)}"
        self.success = self.is_successful()
        return grade.normalized


class LagerSystemOne(DeepEvalBaseSystemOneModel):  # type: ignore[misc]
    """Decides for deepeval's own metrics: yes or no, choices and levels, as many as the judge has score tokens.

    Args:
        judge: that decides; export it with `--scale decisions` for ten answers.
    """

    def __init__(self, judge: Judge):
        self._judge = judge
        super().__init__(f"lager/{judge.spec.source.checkpoint}")

    def load_model(self, *_: Any, **__: Any) -> Judge:
        """The judge, which is loaded."""
        return self._judge

    def get_model_name(self, *_: Any, **__: Any) -> str:
        """Name of the checkpoint that it was made from."""
        return f"lager/{self._judge.spec.source.checkpoint}"

    def decide(self, state: Any, questions: dict[str, SystemOneQuestion]) -> tuple[SystemOneAnswers, float]:
        """Answers to all questions about a state, and what they cost: nothing.

        Raises:
            RecordError: more answers than the judge has score tokens, or a state that it cannot read.
        """
        records = [_record(state, question) for question in questions.values()]
        answers = SystemOneAnswers()
        for (name, question), grade in zip(questions.items(), self._judge.score(records), strict=True):
            _answer(answers, name, question, grade)
        return answers, 0.0

    async def a_decide(self, state: Any, questions: dict[str, SystemOneQuestion]) -> tuple[SystemOneAnswers, float]:
        """`decide`, while the event loop goes on."""
        return await asyncio.to_thread(self.decide, state, questions)


def _record(state: Any, question: SystemOneQuestion) -> dict[str, Any]:
    record = {"text": _text(state), "question": _text(question.instructions)}
    if isinstance(question, ScoreQuestion):
        return record | {"levels": [_text(level) for level in question.levels]}
    if isinstance(question, ChoiceQuestion):
        return record | {"choices": [_described(name, text) for name, text in question.options.items()]}
    return record | {"choices": [_described("no", question.false), _described("yes", question.true)]}


def _described(name: str, text: Any) -> str:
    return name if text is None else f"{name}: {_text(text)}"


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=1, default=str)


def _answer(answers: SystemOneAnswers, name: str, question: SystemOneQuestion, grade: Grade) -> None:
    probabilities = grade.distribution.tolist()
    if isinstance(question, NoulQuestion):
        answers.nouls[name] = NoulAnswer(probability=probabilities[1])
    elif isinstance(question, ChoiceQuestion):
        options = list(question.options)
        answers.choices[name] = ChoiceAnswer(
            choice=options[probabilities.index(max(probabilities))],
            probabilities=dict(zip(options, probabilities, strict=True)),
            confidence=grade.confidence,
        )
    else:
        answers.scores[name] = ScoreAnswer(
            score=sum(level * probability for level, probability in enumerate(probabilities)),
            probabilities=dict(enumerate(probabilities)),
            confidence=grade.confidence,
        )
