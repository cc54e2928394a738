"""POST /v1/score: lager-onnx's own. One record, or many."""

from typing import Any, Final

from pydantic import RootModel, field_validator
from pydantic_core import PydanticCustomError

from lager_onnx.models.errors import RecordError
from lager_onnx.runtime.jobs.results import result_fields
from lager_onnx.runtime.records.record import record_or_error
from lager_onnx.serve.endpoint import Endpoint
from lager_onnx.serve.errors import RequestError
from lager_onnx.serve.service import Service


class Scored(RootModel[dict[str, Any] | list[Any]]):
    """A record with `instruction` and `response`, or whatever else the judge reads; or a list of records.

    An object with `records` holds such a list, too. `details`: true, beside the fields of one record or beside
    `records`, adds the baselines and the logits of every layer. `fields`, likewise, says which field of a record the
    judge reads as what: {"response": "answer"}; these win over fields of that name. `model` beside `records` names the
    judge, and any name but the judge's gets 404. Beside the fields of one record, or inside a record of a list, `model`
    belongs to the record, such as the model that wrote the response, and is not checked.
    """

    @field_validator("root", mode="before")
    @classmethod
    def _record_or_list(cls, given: Any) -> Any:
        if not isinstance(given, dict | list):
            raise PydanticCustomError("record", "the body should be an object, a record, or a list of records")
        return given


async def answer(service: Service, body: Scored) -> dict[str, Any]:
    """Each record's score and probabilities; in a list, an `error` in the place of one that cannot be graded."""
    if isinstance(body.root, list):
        return await _many(service, [record_or_error(each, {}) for each in body.root], field="")
    record = dict(body.root)
    fields = _fields(record)
    details = record.pop("details", False) is True
    if "records" not in record:
        (grade,) = await service.grades([record_or_error(record, fields)], field="")
        return result_fields(grade, details=details) | {"model": _own_name(service, record.get("model"))}
    records = record["records"]
    if not isinstance(records, list):
        raise RequestError("'records' must be a list", field="records")
    model = record.get("model")
    if not isinstance(model, str | None):
        raise RequestError("'model' must be text, the judge's name", field="model")
    name = service.named(model)
    given = [record_or_error(each, fields) for each in records]
    return await _many(service, given, field="records", details=details, name=name)


def _own_name(service: Service, model: Any) -> str:
    """The judge's name in the answer about one record, whose `model` may be any; a name that is served is kept."""
    return model if isinstance(model, str) and model in service.settings.names else service.settings.name


async def _many(
    service: Service, records: list[Any], *, field: str, details: bool = False, name: str | None = None
) -> dict[str, Any]:
    found = await service.results(records, field=field)
    results = [
        {"error": each.told("http")} if isinstance(each, RecordError) else result_fields(each, details=details)
        for each in found
    ]
    tokens = sum(each.tokens for each in found if not isinstance(each, RecordError))
    return {"results": results, "model": service.named(name), "usage": {"input_tokens": tokens}}


def _fields(body: dict[str, Any]) -> dict[str, str]:
    """Take `fields` out of a body; beside one record, only what maps names to names is meant so."""
    fields = body.get("fields")
    meant = isinstance(fields, dict) and all(isinstance(name, str) for name in fields.values())
    if "records" in body and fields is not None and not meant:
        raise RequestError('\'fields\' must map names to names: {"response": "answer"}', field="fields")
    return dict(body.pop("fields")) if meant else {}


ENDPOINTS: Final = (Endpoint("/v1/score", Scored, answer, "Grade one record, or a list of records."),)
