"""Judges in onnxruntime-node and, in a real browser, onnxruntime-web: docs/edge.md."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from lager_onnx import Judge

EDGE = Path(__file__).parents[2] / "docs" / "edge"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PROMPTS = ["Is seven a prime? Answer from 1 to 5.", "good bad " * 20]
pytestmark = pytest.mark.skipif(not (EDGE / "node_modules").is_dir(), reason="make test-edge installs the packages")


@pytest.fixture(scope="module")
def judges(tiny_judges: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny judges, with what exports have for transformers' tokenisers."""
    root = tmp_path_factory.mktemp("edge")
    for name, folder in tiny_judges.items():
        copied = Path(shutil.copytree(folder, root / name))
        (copied / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return {name: root / name for name in tiny_judges}


def expected(judge: Path, prompts: list[str]) -> list[float]:
    return [grade.score for grade in Judge.load(judge, device="cpu").score([{"prompt": each} for each in prompts])]


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_in_node_scores_are_the_same(precision: str, judges: dict[str, Path]) -> None:
    command = ["node", str(EDGE / "score.mjs"), str(judges[precision]), *PROMPTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line)["score"] for line in done.stdout.splitlines()]
    assert found == pytest.approx(expected(judges[precision], PROMPTS), abs=1e-5)


class _Files(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def url(judges: dict[str, Path]) -> Iterator[str]:
    root = judges["fp32"].parent
    for name in ("score.html", "node_modules"):
        (root / name).symlink_to(EDGE / name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/score.html"
    server.shutdown()


def in_browser(url: str, judge: str) -> dict[str, Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(f"{url}?{urlencode({'judge': judge, 'provider': 'wasm', 'prompt': PROMPTS[0]})}")
        page.wait_for_function("document.querySelector('#answer').textContent", timeout=120_000)
        found: dict[str, Any] = json.loads(page.inner_text("#answer"))
        browser.close()
    return found


def test_in_a_browser_float32_scores_are_the_same(url: str, judges: dict[str, Path]) -> None:
    assert in_browser(url, "fp32")["score"] == pytest.approx(expected(judges["fp32"], PROMPTS[:1])[0], abs=1e-5)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_in_a_browser_embeddings_of_8_bits_are_refused(precision: str, url: str) -> None:
    """When this fails, docs/edge.md has good news to tell."""
    assert "GatherBlockQuantized" in in_browser(url, precision)["error"]
