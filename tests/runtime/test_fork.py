"""A judge that has graded, in a process that was forked from the one that loaded it."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lager_onnx import Judge

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

RECORDS = [{"instruction": "Count.", "response": "good bad " * number} for number in range(1, 13)]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("threads", [1, 2])
def test_it_answers_in_the_child_as_in_the_parent(precision: str, threads: int, tiny_judges: dict[str, Path]) -> None:
    judge = Judge.load(tiny_judges[precision], device="cpu", threads=threads)
    expected = np.array([grade.score for grade in judge.score(RECORDS)])
    one = judge.score(RECORDS[:1])[0].score  # on all cores together
    child = os.fork()
    if child == 0:
        code = 1
        try:
            alone = judge.score(RECORDS[:1])[0].score
            got = np.array([grade.score for grade in judge.score(RECORDS)])
            code = 0 if np.abs(got - expected).max() < 1e-3 and abs(alone - one) < 1e-3 else 2
        finally:
            sys.stdout.flush()
            os._exit(code)
    deadline = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("the child never answered")
        time.sleep(0.02)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    assert judge.score(RECORDS[:1])[0].score == pytest.approx(one, abs=1e-5)  # the parent goes on
