"""A judge as an object: pickled, closed, awaited."""

import asyncio
import json
import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from lager_onnx import Judge
from lager_onnx.models.errors import GradingError, RecordError

RECORDS = [{"instruction": "Count.", "response": "good bad " * number} for number in range(1, 9)]


def scores(judge: Judge) -> list[float]:
    return [grade.score for grade in judge.score(RECORDS)]


def test_a_pickled_judge_is_opened_anew_in_another_process(tiny_judge: Path, tmp_path: Path) -> None:
    judge = Judge.load(tiny_judge, device="cpu", threads=1).with_template("paper")
    chat = replace(judge.spec.chat, answer_prefix=judge.spec.chat.answer_prefix + " ")
    judge = judge.with_spec(replace(judge.spec, chat=chat))
    (tmp_path / "judge.pickle").write_bytes(pickle.dumps(judge))
    assert (tmp_path / "judge.pickle").stat().st_size < 10_000
    code = (
        "import json, pickle, sys; judge = pickle.load(open(sys.argv[1], 'rb'));"
        "print(json.dumps([grade.score for grade in judge.score(json.loads(sys.argv[2]))]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "judge.pickle"), json.dumps(RECORDS)]
    there = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert json.loads(there) == scores(judge)


def test_what_is_pickled_is_the_same_every_time(tiny_judge: Path) -> None:
    """Data sets that are mapped over are cached under a hash of it."""
    one, other = (Judge.load(tiny_judge, device="cpu") for _ in range(2))
    scores(one)
    assert pickle.dumps(one) == pickle.dumps(other)
    assert pickle.dumps(one) != pickle.dumps(one.with_template("paper"))


@pytest.mark.parametrize("records", [RECORDS, RECORDS[:1]])
def test_a_judge_that_is_closed_grades_no_more(tiny_judge: Path, records: list[dict[str, str]]) -> None:
    before = set(threading.enumerate())
    with Judge.load(tiny_judge, device="cpu", threads=2) as judge:
        other = judge.with_template("paper")
        judge.score(records)
    for closed in (judge, other):
        with pytest.raises(GradingError, match="closed: load it again"):
            closed.score(records)
    judge.close()  # a second time changes nothing
    assert {thread for thread in threading.enumerate() if thread.name.startswith("lager")} <= before


def test_judges_can_be_awaited(tiny_judge: Path) -> None:
    judge = Judge.load(tiny_judge, device="cpu")

    async def both() -> list[list[float]]:
        found = await asyncio.gather(judge.ascore(RECORDS), judge.ascore(RECORDS[:2]))
        return [[grade.score for grade in grades] for grades in found]

    expected = scores(judge)
    assert asyncio.run(both()) == [expected, expected[:2]]
    with pytest.raises(RecordError, match="record 0"):
        asyncio.run(judge.ascore([{"instruction": "Count."}]))
