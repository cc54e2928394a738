"""Requests as clients send them to `lager serve`, and how it is watched and stopped."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import typesafe_sdk
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from lager_onnx import Judge
from support.server import Server

ROOT = Path(__file__).parents[2]
RECORD = {"instruction": "Name a prime.", "response": "Seven."}
SECRET = "xylophone"
USER = {"role": "user", "content": "Grade: Seven is prime."}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SLOW = {"records": [{"instruction": f"Name {number} primes.", "response": "good " * 400} for number in range(1000)]}


@pytest.fixture(scope="module")
def served(tiny_judge: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(tiny_judge, tmp_path_factory.mktemp("served") / "prime-judge"))


@pytest.fixture(scope="module")
def server(served: Path) -> Iterator[Server]:
    running = Server(served)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def keyed(served: Path) -> Iterator[Server]:
    running = Server(served, "--model-name", "mine", "--model-name", "jev-latest", LAGER_API_KEY="key")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def judge(served: Path) -> Judge:
    return Judge.load(served, device="cpu")


def test_prometheus_scrapes_a_server_with_a_key_as_it_is_configured(keyed: Server) -> None:
    (job,) = yaml.safe_load((ROOT / "deploy" / "prometheus.yaml").read_text())["scrape_configs"]
    assert not {"authorization", "basic_auth", "params"} & set(job)
    assert job.get("scheme", "http") == "http"
    keyed.post("/v1/score", RECORD | {"response": SECRET}, headers={"X-API-Key": "key"})
    got = httpx2.get(keyed.url + job.get("metrics_path", "/metrics"))
    assert got.status_code == 200
    found = {family.name: family for family in text_string_to_metric_families(got.text)}
    assert found["lager_graded_records"].samples[0].value >= 1


def test_figures_hold_no_text_of_requests(keyed: Server) -> None:
    keyed.post("/v1/score", RECORD | {"response": SECRET, "criterion": SECRET}, headers={"X-API-Key": "key"})
    keyed.post(f"/{SECRET}", {SECRET: SECRET}, headers={"X-API-Key": SECRET, "User-Agent": SECRET})
    keyed.get(f"/metrics?{SECRET}={SECRET}")
    text = keyed.get("/metrics").text
    assert 'path="other",status="401"' in text
    assert SECRET not in text
    values = {
        value for family in text_string_to_metric_families(text) for s in family.samples for value in s.labels.values()
    }
    assert all(re.fullmatch(r"/[a-z0-9/]+|other|\d{3}|[\d.]+|\+Inf", value) for value in values), values


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v1/chat/completions", {"messages": [USER]}),
        ("/v1/decisions", {"input": "x", "questions": [{"type": "predicate", "instructions": "?"}]}),
        ("/v1/systemone", {"state": "x", "questions": {"a": {"type": "noul", "instructions": "?"}}}),
        ("/v1/rerank", {"query": "x", "documents": ["y"]}),
        ("/rerank", {"query": "x", "texts": ["y"]}),
        ("/predict", {"inputs": "x"}),
    ],
)
def test_another_model_is_not_found(path: str, content: dict[str, Any], server: Server, keyed: Server) -> None:
    refused = server.post(path, content | {"model": "gpt-4"})
    assert refused.status_code == 404
    error = refused.json()["error"]
    assert (error["code"], error["type"], error["param"]) == ("model_not_found", "invalid_request_error", "model")
    assert "'gpt-4'" in error["message"]
    assert "'prime-judge'" in error["message"]
    for model in ("prime-judge", "", None):
        assert server.post(path, content | {"model": model}).status_code == 200, model
    assert server.post(path, content).status_code == 200
    for model, status in (("mine", 200), ("jev-latest", 200), ("prime-judge", 404)):
        assert keyed.post(path, content | {"model": model}, headers={"X-API-Key": "key"}).status_code == status, model


def test_clients_see_a_model_that_is_not_there_as_their_own_error(server: Server, keyed: Server) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.NotFoundError, match="prime-judge") as found:
        client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "x"}])
    assert found.value.code == "model_not_found"
    other = openai.OpenAI(base_url=f"{keyed.url}/v1", api_key="key", max_retries=0)
    assert [model.id for model in other.models.list()] == ["mine", "jev-latest"]
    questions = {"a": typesafe_sdk.Noul(instructions="Is it?")}
    with typesafe_sdk.TypeSafeClient(api_key="key", base_url=keyed.url) as sdk:  # which names jev-latest
        assert 0 < sdk.system_one(state="x", questions=questions).nouls["a"].noul < 1


def test_the_model_of_a_record_is_the_record_s_own(server: Server, judge: Judge) -> None:
    got = server.post("/v1/score", RECORD | {"model": "gpt-4"})  # which wrote the response
    assert got.json()["score"] == pytest.approx(judge.score([RECORD])[0].score)


def test_a_list_is_graded_record_by_record(server: Server, judge: Judge) -> None:
    other = RECORD | {"response": "good bad " * 9}
    first, second = judge.score([RECORD, other])
    got = server.post("/v1/score", [RECORD, {"instruction": "No response."}, 7, other]).json()
    assert [each.get("score") for each in got["results"]] == [
        pytest.approx(first.score), None, None, pytest.approx(second.score),
    ]  # fmt: skip
    assert got["results"][0]["probabilities"] == pytest.approx(first.probabilities)
    assert "response" in got["results"][1]["error"]
    assert "int" in got["results"][2]["error"]
    assert got["usage"]["input_tokens"] == first.tokens + second.tokens
    assert got == server.post("/v1/score", {"records": [RECORD, {"instruction": "No response."}, 7, other]}).json()
    assert server.post("/v1/score", []).json()["results"] == []


def test_curl_sends_a_list_as_the_help_says(server: Server) -> None:
    request = urllib.request.Request(f"{server.url}/v1/score", json.dumps([RECORD]).encode())  # a form, says urllib
    with urllib.request.urlopen(request) as answer:
        assert len(json.load(answer)["results"]) == 1


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        (
            [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]},
             {"role": "tool", "tool_call_id": "c", "content": "42"}, USER],
            "Grade: Seven is prime.\n\n42\n\nGrade: Seven is prime.",
        ),
        ([{"role": "assistant", "tool_calls": [CALL]}, USER], "Grade: Seven is prime."),
        ([USER, {"role": "tool", "tool_call_id": "c", "content": None}], "Grade: Seven is prime."),
        ([{"role": "system", "content": ""}, USER], "Grade: Seven is prime."),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "a\nb"),
    ],
)  # fmt: skip
def test_messages_without_text_add_nothing(messages: list[Any], prompt: str, server: Server, judge: Judge) -> None:
    (right,) = judge.score([{"prompt": prompt}])
    got = server.post("/v1/chat/completions", {"messages": messages, "logprobs": True, "top_logprobs": 5})
    assert got.status_code == 200, got.text
    assert got.json()["usage"]["prompt_tokens"] == right.tokens
    token = got.json()["choices"][0]["logprobs"]["content"][0]
    assert token["token"] == max(right.probabilities, key=right.probabilities.__getitem__)
    assert len(token["top_logprobs"]) == 5


def test_a_chat_without_any_text_is_refused(server: Server) -> None:
    got = server.post("/v1/chat/completions", {"messages": [{"role": "assistant", "content": None}]})
    assert got.status_code == 422
    assert got.json()["error"]["param"] == "messages"


def test_null_content_in_decisions_is_no_text_either(server: Server, judge: Judge) -> None:
    given = [{"role": "user", "content": "Refund!"}, {"role": "assistant", "content": None}]
    got = server.post("/v1/decisions", {"input": given, "questions": [{"type": "predicate", "instructions": "Angry?"}]})
    (right,) = judge.score([{"text": "Refund!", "question": "Angry?", "choices": ["no", "yes"]}])
    assert got.json()["answers"][0]["probability"] == pytest.approx(right.probabilities["yes"])


@pytest.mark.parametrize(
    "options",
    [
        {"logprobs": True, "top_logprobs": -1}, {"logprobs": True, "top_logprobs": 21}, {"top_logprobs": 3},
        {"n": 2}, {"n": 0}, {"stream": True}, {"logit_bias": {"16": 5}}, {"tools": [{"type": "function"}]},
        {"functions": [{"name": "f"}]}, {"tool_choice": "required"}, {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}},
        {"modalities": ["text", "audio"]}, {"audio": {"voice": "alloy"}}, {"max_tokens": 0},
        {"max_completion_tokens": -1}, {"temperature": 3}, {"temperature": "hot"}, {"top_p": -0.1},
        {"presence_penalty": 9}, {"stop": ["4"]}, {"stop": "3"}, {"stop": 0}, {"reasoning_effort": "high"},
        {"store": True},
        {"web_search_options": {"user_location": None}}, {"guided_choice": ["a", "b"]}, {"top_k": 5}, {"best_of": 3},
        {"verbosity": "high"}, {"service_tier": "priority"}, {"no_such_option": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_chat_cannot_keep_is_refused_by_name(options: dict[str, Any], server: Server) -> None:
    got = server.post("/v1/chat/completions", {"messages": [USER], **options})
    assert got.status_code in (400, 422), got.text
    name = list(options)[-1]
    assert got.json()["error"]["param"] == name
    assert name in got.json()["error"]["message"]


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0}, {"temperature": 1.0, "top_p": 1, "seed": 4}, {"max_tokens": 1},
        {"max_completion_tokens": 50},
        {"n": 1, "stream": False, "tools": [], "tool_choice": "auto", "logit_bias": {}},
        {"n": None, "stream": None, "response_format": None, "no_such_option": None},
        {"response_format": {"type": "text"}, "modalities": ["text"]}, {"stop": ["\n\n", ""]}, {"stop": None},
        {"user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "prompt_cache_key": "k"},
        {"presence_penalty": 0, "frequency_penalty": 0.5}, {"logprobs": True, "top_logprobs": 0},
        {"logprobs": False, "top_logprobs": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_an_answer_of_one_token_keeps_is_taken(options: dict[str, Any], server: Server, judge: Judge) -> None:
    got = server.post("/v1/chat/completions", {"messages": [USER], **options})
    assert got.status_code == 200, got.text
    (right,) = judge.score([{"prompt": USER["content"]}])
    assert got.json()["choices"][0]["message"]["content"] == max(
        right.probabilities, key=right.probabilities.__getitem__
    )


def test_raw_scores_of_a_classifier_are_refused(server: Server) -> None:
    got = server.post("/predict", {"inputs": "x", "raw_scores": True})
    assert (got.status_code, got.json()["error"]["param"]) == (422, "raw_scores")


@pytest.mark.parametrize("signals", [[signal.SIGINT] * 2, [signal.SIGTERM, signal.SIGINT], [signal.SIGINT] * 3])
def test_ctrl_c_while_draining_ends_at_once(signals: list[signal.Signals], served: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell's ignoring would be inherited
    running, answers = start_slowly(served)
    for each in signals:
        if running.process.poll() is None:
            running.process.send_signal(each)
            time.sleep(0.3)
    assert running.process.wait(timeout=10) == 130
    said = running.process.stderr.read() if running.process.stderr else ""
    assert said.count("Stopped at once: requests that were being graded are not answered.") == 1
    assert "Traceback" not in said
    assert answers == []


def test_time_to_drain_that_is_over_is_said_to_the_client(served: Path) -> None:
    running, answers = start_slowly(served, "--drain", "0")
    assert running.stop() == -signal.SIGTERM
    assert "Traceback" not in "".join(running.log)
    deadline = time.monotonic() + 10
    while not answers and time.monotonic() < deadline:
        time.sleep(0.02)
    assert answers[0].status_code == 503
    assert answers[0].headers["retry-after"]


def start_slowly(judge: Path, *options: str) -> tuple[Server, list[httpx2.Response]]:
    """A server that grades a large request; its answer, should one come."""
    running, answers = Server(judge, "--threads", "1", *options), list[httpx2.Response]()

    def ask() -> None:
        try:
            answers.append(running.post("/v1/score", SLOW))
        except httpx2.TransportError:
            return

    threading.Thread(target=ask, daemon=True).start()
    deadline = time.monotonic() + 30
    while "lager_graded_records 0.0" in running.get("/metrics").text and time.monotonic() < deadline:
        time.sleep(0.02)
    return running, answers


def test_help_says_what_needs_no_key(served: Path) -> None:
    lager = Path(sys.executable).with_name("lager")
    said = subprocess.run([lager, "serve", "--help"], capture_output=True, text=True, check=True, env=os.environ).stdout
    assert "need no API key" in " ".join(said.split())
    assert "list of records" in " ".join(said.split())


def test_the_page_names_the_judge_its_scale_and_its_weights(keyed: Server, judge: Judge) -> None:
    text = keyed.get("/").text
    found = json.loads(re.findall(r'<script id="judge" type="application/json">(.*?)</script>', text, re.DOTALL)[0])
    assert found["name"] == "mine"
    assert (tuple(found["labels"]), tuple(found["values"])) == (judge.spec.scale.labels, judge.spec.scale.values)
    assert tuple(found["weights"]) == judge.spec.layer_weights
    assert judge.spec.source.checkpoint in found["checkpoint"]


def test_a_name_cannot_end_the_page_s_script(served: Path) -> None:
    running = Server(served, "--model-name", "</script><script>alert(1)</script><!--")
    try:
        text = running.get("/").text
    finally:
        running.stop()
    assert "alert(1)</script>" not in text
    found = re.findall(r'<script id="judge" type="application/json">(.*?)</script>', text, re.DOTALL)[0]
    assert json.loads(found)["name"] == "</script><script>alert(1)</script><!--"
