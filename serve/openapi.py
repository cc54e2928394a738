"""The server's own description, GET /openapi.json, from the forms that it parses requests with."""

from collections.abc import Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from lager_onnx.serve.endpoint import Endpoint


def openapi(endpoints: Sequence[Endpoint], version: str) -> dict[str, Any]:
    """An OpenAPI 3.1 document."""
    schemas, definitions = models_json_schema(
        [(endpoint.body, "validation") for endpoint in endpoints], ref_template="#/components/schemas/{model}"
    )
    failures = {"401": "No API key", "422": "A field is wrong", "429": "Too many records wait", "503": "Stopping"}
    paths = {
        endpoint.path: {
            "post": {
                "summary": endpoint.about,
                "description": endpoint.answer.__doc__,
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": schemas[endpoint.body, "validation"]}},
                },
                "responses": {"200": {"description": "The answer"}}
                | {status: {"description": text} for status, text in failures.items()},
            }
        }
        for endpoint in endpoints
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "lager-onnx", "version": version},
        "paths": paths,
        "components": {"schemas": definitions["$defs"]},
    }
