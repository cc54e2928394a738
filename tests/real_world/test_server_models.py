"""The `model` of a request: which judge is meant, and what an answer calls it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.server import Server

RECORD = {"instruction": "Name a prime.", "response": "Seven."}
ASK = {"type": "predicate", "instructions": "?"}
NOUL = {"type": "noul", "instructions": "?"}


@pytest.fixture(scope="module")
def server(tiny_judge: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = Path(shutil.copytree(tiny_judge, tmp_path_factory.mktemp("served") / "prime-judge"))
    running = Server(folder, "--model-name", "a", "--model-name", "b")
    yield running
    running.stop()


@pytest.mark.parametrize("model", ["gpt-4", "prime-judge", "A", " a"])
def test_records_for_another_model_are_not_graded(model: str, server: Server) -> None:
    refused = server.post("/v1/score", {"records": [RECORD], "model": model})
    assert refused.status_code == 404
    error = refused.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert repr(model) in error["message"]
    assert "'a', 'b'" in error["message"]
    assert server.post("/v1/score", {"records": [], "model": model}).status_code == 404


@pytest.mark.parametrize("model", [5, ["a"], {"a": 1}, True])
def test_a_model_beside_records_is_text(model: object, server: Server) -> None:
    refused = server.post("/v1/score", {"records": [RECORD], "model": model})
    assert refused.status_code == 422
    assert refused.json()["error"]["param"] == "model"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v1/score", {"records": [RECORD]}),
        ("/v1/score", RECORD),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/decisions", {"input": "x", "questions": [ASK]}),
        ("/v1/systemone", {"state": "x", "questions": {"q": NOUL}}),
        ("/v1/rerank", {"query": "x", "documents": ["y"]}),
    ],
)
def test_an_answer_bears_the_name_that_was_asked_for(path: str, content: dict[str, Any], server: Server) -> None:
    for model, name in (("a", "a"), ("b", "b"), ("", "a"), (None, "a")):
        got = server.post(path, content | {"model": model})
        assert (got.status_code, got.json().get("model")) == (200, name), model
    assert server.post(path, content).json()["model"] == "a"


@pytest.mark.parametrize("model", ["gpt-4", 5, ["gpt-4"], {"name": "gpt-4"}])
def test_the_model_in_a_record_is_the_record_s(model: object, server: Server) -> None:
    alone = server.post("/v1/score", RECORD).json()
    written = RECORD | {"model": model}  # by which model the response was written
    assert server.post("/v1/score", written).json() == alone
    for content in ([written], {"records": [written]}, {"records": [written], "model": "a"}):
        got = server.post("/v1/score", content).json()
        assert (got["model"], got["results"][0]["score"]) == ("a", pytest.approx(alone["score"]))


def test_the_description_says_whose_the_model_is(server: Server) -> None:
    about = server.get("/openapi.json").json()["components"]["schemas"]["Scored"]["description"]
    assert "`model` beside `records` names the" in about
    assert "belongs to the record" in about
