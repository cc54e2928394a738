"""A judge that is asked on other levels than its own, or to choose."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lager_onnx import Judge
from lager_onnx.analysis.labels.read import as_labelled
from lager_onnx.models.errors import LabelError, RecordError
from lager_onnx.models.method import aggregate, softmax

RECORD = {"instruction": "Name a prime.", "response": "good bad"}
ASKED = {"text": "good bad", "question": "Is it good?"}


@pytest.fixture(scope="module")
def judge(tiny_judge: Path) -> Judge:
    return Judge.load(tiny_judge, device="cpu")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_levels_are_the_first_scores_alone(tiny_judges: dict[str, Path], precision: str) -> None:
    judge = Judge.load(tiny_judges[precision], device="cpu")
    (grade,) = judge.score([RECORD | {"levels": 3}])
    expected = softmax(aggregate(np.array(judge.spec.layer_weights), grade.layer_logits[:, :3]))
    np.testing.assert_allclose(grade.distribution, expected, atol=1e-6)
    assert grade.score == pytest.approx(expected @ [1, 2, 3], abs=1e-6)
    assert grade.normalized == pytest.approx((grade.score - 1) / 2)
    assert list(grade.probabilities) == ["1", "2", "3"]
    assert grade.vanilla <= 3
    assert grade.expectation <= 3
    assert grade.choice is None


def test_all_levels_that_there_are_grade_as_the_graph_does(judge: Judge) -> None:
    plain, levels = judge.score([RECORD, RECORD | {"levels": 5}])
    assert levels.score == plain.score
    np.testing.assert_array_equal(levels.distribution, plain.distribution)


def test_choices_have_probabilities_by_their_texts(judge: Judge) -> None:
    no, other = judge.score([ASKED | {"choices": ["no", "yes"]}, ASKED | {"choices": ["no", "yes", "perhaps"]}])
    assert list(no.probabilities) == ["no", "yes"]
    assert sum(other.probabilities.values()) == pytest.approx(1)
    assert no.choice == max(no.probabilities, key=no.probabilities.__getitem__)
    assert no.confidence == pytest.approx(2 * no.distribution.max() - 1)
    assert 0 <= other.confidence <= 1


def test_a_choice_needs_a_question(judge: Judge) -> None:
    with pytest.raises(RecordError, match="question"):
        judge.score([RECORD | {"choices": ["no", "yes"]}])


def test_levels_without_a_question_keep_the_judge_s_prompt(judge: Judge) -> None:
    assert "Is it good?" not in judge.prompt(RECORD | {"levels": 3})
    assert "Is it good?" in judge.prompt(ASKED | {"levels": 3})
    assert judge.prompt(RECORD | {"question": "of somebody's data set"}) == judge.prompt(RECORD)


def test_five_choices_are_not_calibrated_as_scores_are(judge: Judge) -> None:
    uncertain = np.linspace(0, 1, len(judge.spec.layer_weights))
    other = judge.with_spec(replace(judge.spec, layer_weights=tuple(uncertain / uncertain.sum())))
    (grade,) = other.score([ASKED | {"choices": list("abcde")}])
    expected = softmax(aggregate(np.array(other.spec.layer_weights), grade.layer_logits))
    np.testing.assert_allclose(grade.distribution, expected, atol=1e-6)


@pytest.mark.parametrize("field", [{"levels": 3}, {"choices": ["no", "yes"]}])
def test_labels_are_on_the_judge_s_own_scale(judge: Judge, field: dict[str, object]) -> None:
    with pytest.raises(LabelError, match="another scale"):
        as_labelled([RECORD | field | {"human_score": 2}], judge.spec.scale)
