"""POST /predict: probabilities by label, as text-embeddings-inference gives them for a sequence classifier."""

from typing import Any, Final

from lager_onnx.runtime.grade import Grade
from lager_onnx.serve.endpoint import Endpoint, ForModel
from lager_onnx.serve.errors import RequestError
from lager_onnx.serve.service import Service


class Inputs(ForModel):
    """One text, one pair of instruction and response, or a list of either: [["a text"], ["a", "pair"]]."""

    inputs: str | list[str] | list[list[str]]
    raw_scores: bool = False

    def check(self) -> None:
        """Refuse what a judge does not give.

        Raises:
            RequestError: raw scores are asked for.
        """
        if self.raw_scores:
            raise RequestError(
                "raw_scores: a judge gives probabilities; /v1/score with details has its layers' logits",
                field="raw_scores",
            )


async def answer(service: Service, body: Inputs) -> list[Any]:
    """Labels with their probabilities, the likeliest first; for a list of inputs, a list of these."""
    inputs = body.inputs
    if isinstance(inputs, str) or all(isinstance(each, str) for each in inputs):
        (grade,) = await service.grades([_record(inputs, "inputs")], field="inputs")
        return _labels(grade)
    records = [_record(each, f"inputs.{number}") for number, each in enumerate(inputs)]
    return [_labels(grade) for grade in await service.grades(records, field="inputs")]


def _record(given: Any, field: str) -> dict[str, str]:
    texts = [given] if isinstance(given, str) else given
    if len(texts) == 1:
        return {"prompt": texts[0]}
    if len(texts) != 2:
        raise RequestError(f"{field}: one text, or an instruction and a response", field=field)
    return {"instruction": texts[0], "response": texts[1]}


def _labels(grade: Grade) -> list[dict[str, Any]]:
    by_probability = sorted(grade.probabilities.items(), key=lambda each: -each[1])
    return [{"label": label, "score": probability} for label, probability in by_probability]


ENDPOINTS: Final = (Endpoint("/predict", Inputs, answer, "Probabilities of the scale's labels."),)
