"""The actor for engines, without one."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from lager_onnx import Judge
from lager_onnx.integrations.actor import JudgeActor


def test_columns_are_graded_row_by_row(tiny_judge: Path) -> None:
    rows = [{"instruction": "Count.", "response": "good " * number, "id": number} for number in (1, 2, 3)]
    rows[1]["response"] = ""
    batch = {name: np.array([row[name] for row in rows], dtype=object) for name in rows[0]}
    graded = JudgeActor(str(tiny_judge))(batch)
    first, last = Judge.load(tiny_judge, device="cpu", threads=1).score([rows[0], rows[2]])
    assert graded["id"].tolist() == [1, 2, 3]
    assert graded["score"][[0, 2]] == pytest.approx([first.score, last.score])
    assert graded["probabilities"][0] == first.probabilities
    assert math.isnan(graded["score"][1])
    assert graded["probabilities"][1] is None
    assert graded["error"][0] is graded["error"][2] is None
    assert "response" in graded["error"][1]
    assert "score" not in batch


def test_it_is_pickled_on_its_way_to_a_worker(tiny_judge: Path) -> None:
    batch = {"instruction": ["Count."], "response": ["good"]}
    actor = JudgeActor(str(tiny_judge))
    assert pickle.loads(pickle.dumps(actor))(batch)["score"] == actor(batch)["score"]
