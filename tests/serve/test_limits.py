"""What the server refuses, and how it starts, ends and is watched."""

import json
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

from lager_onnx.cli import main
from support.server import Server

RECORD = {"instruction": "Name a prime.", "response": "Seven."}
MANY = {"records": [{"instruction": f"Name {number} primes.", "response": "good bad " * 40} for number in range(300)]}
Start = Callable[..., Server]


def question(**fields: Any) -> dict[str, Any]:
    return {"input": "x", "questions": [{"type": "choice", "instructions": "?", "choices": [{"value": "a"}]} | fields]}


@pytest.mark.parametrize(
    ("path", "content", "status", "field", "message"),
    [
        ("/v1/score", {"instruction": "Name a prime."}, 422, None, "response"),
        ("/v1/score", {"records": "x"}, 422, "records", "must be a list"),
        ("/v1/score", "x", 422, None, "should be an object"),
        ("/v1/score", [RECORD] * 1025, 422, None, "1024 at most"),
        ("/v1/score", {"records": [RECORD] * 1025}, 422, "records", "1024 at most"),
        ("/v1/score", {**RECORD, "levels": 11}, 422, None, "asks for 11"),
        ("/v1/decisions", {"input": "x"}, 422, "questions", "Field required"),
        ("/v1/decisions", {"input": "x", "questions": []}, 422, "questions", "at least 1"),
        ("/v1/decisions", question(type="essay"), 422, "questions.0", "essay"),
        ("/v1/decisions", question(choices=[]), 422, "questions.0.choice.choices", "at least 1"),
        (
            "/v1/decisions",
            question(choices=[{"value": str(number)} for number in range(11)]),
            422,
            "questions.0.choices",
            "11 answers, this judge tells 10 apart",
        ),
        ("/v1/decisions", question(choices=[{"value": "a"}] * 2), 422, "questions.0.choices", "twice"),
        (
            "/v1/decisions",
            question(instructions=[{"type": "input_image"}]),
            422,
            "questions.0.instructions.0",
            "text only",
        ),
        (
            "/v1/decisions",
            question(choices=[{"value": "a"}, {"value": "b"}]) | {"input": "word " * 2000},
            422,
            "questions.0",
            "tokens, the judge reads",
        ),
        ("/v1/decisions", question() | {"input": [{"role": "user"}]}, 422, "input.0", "a message"),
        (
            "/v1/systemone",
            {"state": "x", "questions": {"a": {"type": "noul"}}},
            422,
            "questions.a",
            "instructions or criteria",
        ),
        ("/v1/systemone", {"state": "x", "questions": {"a": {"type": "box"}}}, 422, "questions.a", "box"),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "x"}], "stream": True},
            400,
            "stream",
            "one token",
        ),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "x"}], "n": 3},
            400,
            "n",
            "the same every time",
        ),
        ("/rerank", {"query": "x", "texts": [""]}, 422, "texts.0", "response"),
        ("/predict", {"inputs": [["a", "b", "c"]]}, 422, "inputs.0", "an instruction and a response"),
    ],
)
def test_bad_input_names_its_field(
    server: Server, path: str, content: object, status: int, field: str | None, message: str
) -> None:
    got = server.post(path, content)
    assert got.status_code == status
    error = got.json()["error"]
    assert message in error["message"]
    assert error["param"] == field
    assert "Traceback" not in got.text
    assert "/tmp" not in got.text


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_is_a_bad_request(server: Server, content: bytes) -> None:
    got = httpx2.post(server.url + "/v1/score", content=content)
    assert got.status_code in (400, 422)
    assert got.json()["error"]["message"]
    assert server.post("/v1/score", RECORD).status_code == 200


def test_addresses_and_methods_that_are_none(server: Server) -> None:
    assert server.get("/v2/score").status_code == 404
    assert server.get("/v1/score").status_code == 405


def test_a_body_may_be_only_so_long(start: Start) -> None:
    server = start("--max-body", "1000")
    assert server.post("/v1/score", {**RECORD, "context": "x" * 1000}).status_code == 413
    assert server.post("/v1/score", RECORD).status_code == 200


def test_a_key_is_asked_for(start: Start) -> None:
    server = start(LAGER_API_KEY="secret")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}, {"Authorization": "Bearer é"}):
        raw = {name: value.encode() for name, value in headers.items()}
        got = server.post("/v1/score", RECORD, headers=raw)
        assert got.status_code == 401
        assert got.json()["error"]["type"] == "authentication_error"
    for headers in ({"Authorization": "Bearer secret"}, {"X-API-Key": "secret"}):
        assert server.post("/v1/score", RECORD, headers=headers).status_code == 200
    assert server.get("/v1/models").status_code == 401
    for path in ("/", "/health", "/ready", "/metrics"):
        assert server.get(path).status_code == 200
    assert "secret" not in "".join(server.log)


def test_other_origins_ask_only_where_they_may(start: Start, server: Server) -> None:
    headers = {"Origin": "https://example.org"}
    assert "access-control-allow-origin" not in server.post("/v1/score", RECORD, headers=headers).headers
    open_ = start("--cors", "https://example.org")
    assert (
        open_.post("/v1/score", RECORD, headers=headers).headers["access-control-allow-origin"] == "https://example.org"
    )


def test_more_than_may_wait_is_told_to_come_again(start: Start) -> None:
    server = start("--max-waiting", "300", "--threads", "1")
    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda _: server.post("/v1/score", MANY), range(6)))
    assert {answer.status_code for answer in got} == {200, 429}
    refused = next(answer for answer in got if answer.status_code == 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert all(len(answer.json()["results"]) == 300 for answer in got if answer.status_code == 200)


def test_a_request_that_takes_too_long_is_given_up(start: Start) -> None:
    server = start("--timeout", "0.01", "--threads", "1")
    got = server.post("/v1/score", MANY)
    assert got.status_code == 504
    assert "fewer records" in got.json()["error"]["message"]
    assert server.get("/health").status_code == 200


def test_clients_that_are_gone_are_graded_no_more(start: Start) -> None:
    server = start("--threads", "1")
    for _ in range(4):
        with pytest.raises(httpx2.TimeoutException):
            httpx2.post(server.url + "/v1/score", json=MANY, timeout=0.05)
    deadline = time.monotonic() + 60
    while waiting(server, "waiting_records") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert waiting(server, "waiting_records") == 0
    assert waiting(server, "graded_records") < 4 * 300
    assert server.post("/v1/score", RECORD).status_code == 200


def waiting(server: Server, name: str) -> float:
    lines = server.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"lager_{name} "))


def test_what_is_being_graded_is_answered_before_the_end(start: Start) -> None:
    server = start("--threads", "1")
    answers: list[httpx2.Response] = []
    asking = threading.Thread(target=lambda: answers.append(server.post("/v1/score", MANY)))
    asking.start()
    deadline = time.monotonic() + 30
    while not waiting(server, "graded_records") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.stop() == -signal.SIGTERM
    asking.join()
    assert answers[0].status_code == 200
    assert len(answers[0].json()["results"]) == 300


def test_requests_at_once_are_counted_and_right(server: Server) -> None:
    records = [{"instruction": "Count.", "response": "good bad " * (number % 9 + 1)} for number in range(40)]
    alone = [server.post("/v1/score", record).json()["score"] for record in records[:9]]
    before = waiting(server, "graded_records")
    with ThreadPoolExecutor(20) as pool:
        got = list(pool.map(lambda record: server.post("/v1/score", record).json()["score"], records))
    assert got == pytest.approx([alone[number % 9] for number in range(40)], abs=1e-4)  # beside others, noise differs
    assert len({round(score, 3) for score in alone}) == 9
    assert waiting(server, "graded_records") == before + 40
    assert 'lager_requests_total{path="/v1/score",status="200"}' in server.get("/metrics").text


def test_the_server_describes_itself(server: Server) -> None:
    document = server.get("/openapi.json").json()
    assert {"/v1/score", "/v1/decisions", "/v1/systemone", "/rerank", "/v1/rerank", "/predict"} <= set(
        document["paths"]
    )
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in document["components"]["schemas"]
    page = server.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "/v1/score" in page.text


def test_a_port_that_is_taken_is_an_error(decisions_judge: Path, server: Server) -> None:
    port = server.url.rsplit(":", 1)[1]
    result = CliRunner().invoke(main, ["serve", str(decisions_judge), "--port", port, "--device", "cpu"])
    assert result.exit_code == 2
    assert f"cannot listen at 127.0.0.1, port {port}" in result.stderr
