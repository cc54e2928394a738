"""Large clients of the server; openai and typesafe-sdk are in tests/serve."""

from pathlib import Path

import pytest

from lager_onnx import Judge
from support.server import Server


def test_mlflow_s_judges_ask_by_system_one(server: Server, tiny_judge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow.genai.judges import make_judge

    monkeypatch.setenv("TYPESAFE_API_KEY", "none")
    judge = make_judge(
        name="correct",
        instructions="Is {{ outputs }} a correct answer to {{ inputs }}?",
        feedback_value_type=bool,
        model="typesafe:/lager",
        base_url=f"{server.url}/v1",
    )
    found = judge(inputs={"question": "Name a prime."}, outputs={"answer": "Seven."})
    assert found.error is None
    assert isinstance(found.value, bool)
    probability = float(found.metadata["typesafe.probability"])
    assert found.value == (probability >= 0.5)
    assert 0 < probability < 1


def test_deepeval_s_client_of_system_one(server: Server, tiny_judge: Path) -> None:
    pytest.importorskip("deepeval")
    from deepeval.models.system_one import ScoreQuestion, TypeSafeModel

    model = TypeSafeModel(api_key="none", base_url=server.url)
    answers, _ = model.decide(
        "I want my money back.", {"urgent": ScoreQuestion(instructions="How?", levels=["a", "b"])}
    )
    (right,) = Judge.load(tiny_judge, device="cpu").score(
        [{"text": "I want my money back.", "question": "How?", "levels": ["a", "b"]}]
    )
    assert answers.scores["urgent"].score == pytest.approx(right.score - 1)
