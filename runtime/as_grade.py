"""The graph's outputs as grades."""

from dataclasses import replace

import numpy as np

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import RecordError
from lager_onnx.models.method import aggregate, expected_score, softmax
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.engines.base import Outputs
from lager_onnx.runtime.grade import Feedback, Grade
from lager_onnx.runtime.prepared import Prepared


def as_grade(spec: JudgeSpec, prepared: Prepared, outputs: Outputs) -> Grade | RecordError:
    """What the graph's outputs say of a record; an error where they are not finite."""
    if not all(np.isfinite(array).all() for array in outputs.values()):
        return RecordError(
            f"the judge's numbers for this prompt of {prepared.tokens} tokens are not finite: its weights are "
            f"damaged, or {spec.arithmetic} is too narrow for them",
            Cure(
                command="export it again, with --precision fp32 or bf16",
                python='export it again, with precision="fp32" or "bf16"',
            ),
        )
    layer_logits, question = outputs["layer_logits"], prepared.question
    if question is None or (question.scale == spec.scale and not question.choice):
        score, distribution = float(outputs["score"]), outputs["probabilities"]
    else:  # without calibration, which is learned for the judge's own scale
        asked = layer_logits[:, : len(question.scale.labels)]
        distribution = softmax(aggregate(np.asarray(spec.layer_weights), asked)).astype(np.float32)
        score = float(expected_score(distribution, np.asarray(question.scale.values)))
    return Grade(
        score=score,
        distribution=distribution,
        layer_logits=layer_logits,
        scale=question.scale if question else spec.scale,
        tokens=prepared.tokens,
        choices=question.texts if question and question.choice else (),
    )


def mean_grade(spec: JudgeSpec, prepared: Prepared, written: list[tuple[Outputs, Feedback]]) -> Grade | RecordError:
    """The mean of the grades behind several feedbacks."""
    grades = list[Grade]()
    for outputs, _ in written:
        grade = as_grade(spec, prepared, outputs)
        if isinstance(grade, RecordError):
            return grade
        grades.append(grade)
    return replace(
        grades[0],
        score=float(np.mean([grade.score for grade in grades])),
        distribution=np.mean([grade.distribution for grade in grades], axis=0, dtype=np.float32),
        layer_logits=np.mean([grade.layer_logits for grade in grades], axis=0, dtype=np.float32),
        tokens=prepared.tokens + sum(feedback.tokens for _, feedback in written),
        feedback=tuple(feedback for _, feedback in written),
    )
