"""The page at /, in a real browser."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lager_onnx import Judge
from lager_onnx.models.method import expected_score, softmax
from support.server import Server

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt-get install chromium")
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        running.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    opened = browser.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(server.url)
    yield opened
    opened.close()
    assert [line for line in said if "status of 4" not in line] == []  # refusals are asked for below


@pytest.fixture(scope="module")
def judge(tiny_judge: Path) -> Judge:
    return Judge.load(tiny_judge, device="cpu")


def test_a_record_that_is_typed_is_graded(page: Any, judge: Judge) -> None:
    page.fill("#instruction", "Name a prime.")
    page.fill("#response", "Seven.")
    page.click("button")
    page.wait_for_selector("#result:not([hidden])")
    record = {"instruction": "Name a prime.", "response": "Seven.", "criterion": "correctness"}
    (grade,) = judge.score([record])
    assert page.inner_text("#score") == f"{grade.score:.2f} on 1, 2, 3, 4, 5"
    assert page.inner_text("#name") == "lager"
    assert "1, 2, 3, 4, 5" in page.inner_text("#about")
    rows = page.locator("#distribution .row span:first-child").all_inner_texts()
    assert rows == [f"{label}: {100 * each:.1f}%" for label, each in grade.probabilities.items()]
    values = np.asarray(judge.spec.scale.values)
    heights: dict[str, list[float]] = {}
    for row, weight, z in zip(judge.spec.rows, judge.spec.layer_weights, grade.layer_logits, strict=True):
        if weight:
            heights.setdefault(row.lens, []).append(175 - 160 * (float(expected_score(softmax(z), values)) - 1) / 4)
    for lens, right in heights.items():
        points = page.get_attribute(f"#layers .{lens} polyline", "points").split()
        assert [float(point.split(",")[1]) for point in points] == pytest.approx(right, abs=1e-3)
        assert page.locator(f"#layers .{lens} circle").count() == len(right)


def test_a_record_that_is_pasted_is_graded(page: Any, judge: Judge) -> None:
    record = {"text": "I want my money back.", "question": "Is the customer angry?", "choices": ["no", "yes"]}
    page.click("summary")
    page.fill("#record", json.dumps(record))
    page.click("button")
    page.wait_for_selector("#result:not([hidden])")
    (grade,) = judge.score([record])
    assert page.inner_text("#score") == grade.choice
    assert page.locator("#distribution .row").count() == 2


@pytest.mark.parametrize(
    ("pasted", "said"),
    [("{", "The record is no JSON"), ('{"instruction": "x"}', "response"), ("[1]", "The record is no object")],
)
def test_what_is_wrong_is_said(page: Any, pasted: str, said: str) -> None:
    page.click("summary")
    page.fill("#record", pasted)
    page.click("button")
    page.wait_for_selector("#error:not(:empty)")
    assert said in page.inner_text("#error")
    assert page.is_hidden("#result")


def test_a_server_that_is_gone_is_named(browser: Any, tiny_judge: Path) -> None:
    own = Server(tiny_judge)
    opened = browser.new_page()
    opened.goto(own.url)
    own.stop()
    opened.click("button")
    opened.wait_for_selector("#error:not(:empty)")
    assert "The server does not answer" in opened.inner_text("#error")


def test_an_api_key_is_asked_for_and_sent(browser: Any, tiny_judge: Path) -> None:
    own = Server(tiny_judge, LAGER_API_KEY="secret")
    try:
        opened = browser.new_page()
        opened.goto(own.url)
        opened.click("button")
        opened.wait_for_selector("#error:not(:empty)")
        opened.fill("#key", "secret")
        opened.click("button")
        opened.wait_for_selector("#result:not([hidden])")
    finally:
        own.stop()
