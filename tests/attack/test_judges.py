"""Mutated judge folders end in `JudgeFolderError`, or grade as ever where nothing was changed."""

import hashlib
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from attack.amount import amount, report
from lager_onnx import Judge
from lager_onnx.models.errors import JudgeFolderError

RECORD = {"instruction": "Name a prime.", "response": "Seven."}
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2**70, 0.5, -1e308, "", "1", "x", "../x", "\x00", "\ud800", [], [1], [[]], {}, {"a": 1}
]  # fmt: skip


def mutated(content: Any, chance: random.Random) -> Any:
    """The content with one value anywhere in it replaced, left out, added or moved."""
    if isinstance(content, dict) and content and chance.random() < 0.85:
        key = chance.choice(list(content))
        if chance.random() < 0.15:
            return {name: value for name, value in content.items() if name != key}
        if chance.random() < 0.05:
            return {**content, chance.choice(["surprise", "", "../x"]): chance.choice(VALUES)}
        return {**content, key: mutated(content[key], chance)}
    if isinstance(content, list) and content and chance.random() < 0.85:
        at = chance.randrange(len(content))
        return chance.choice(
            [content[::-1], content[:at], [*content, content[at]], [*content[:at], mutated(content[at], chance)]]
        )
    if isinstance(content, int | float) and chance.random() < 0.5:
        return content * chance.choice([2, 10, -1, 1.001])
    return chance.choice(VALUES)


def test_no_mutation_of_judge_json_changes_a_score(tiny_judge: Path, tmp_path: Path) -> None:
    judge = Path(shutil.copytree(tiny_judge, tmp_path / "judge"))
    original = json.loads((tiny_judge / "judge.json").read_text())
    expected = Judge.load(tiny_judge, device="cpu", threads=1).score([RECORD])[0].score
    refused = same = 0
    for seed in range(amount(60, 500)):
        (judge / "judge.json").write_text(json.dumps(mutated(original, random.Random(seed))))
        try:
            loaded = Judge.load(judge, device="cpu", threads=1)
        except JudgeFolderError:
            refused += 1
            continue
        assert loaded.score([RECORD])[0].score == pytest.approx(expected, abs=1e-5), f"seed {seed}"
        same += 1
    report(f"judge.json: {refused} mutations refused, {same} that change nothing")
    assert refused > 10 * same


def test_raw_bytes_in_place_of_judge_json(tiny_judge: Path, tmp_path: Path) -> None:
    judge = Path(shutil.copytree(tiny_judge, tmp_path / "judge"))
    original = (tiny_judge / "judge.json").read_bytes()
    for seed in range(amount(20, 200)):
        chance = random.Random(seed)
        data = bytearray(original)
        data[chance.randrange(len(data))] = chance.randrange(256)
        (judge / "judge.json").write_bytes(data[: chance.choice([len(data), chance.randrange(len(data))])])
        if json_or_none(judge / "judge.json") == json.loads(original):
            continue
        with pytest.raises(JudgeFolderError):
            Judge.load(judge, device="cpu", threads=1)


def json_or_none(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


# In a process of its own: onnxruntime is not to take this one with it.
_FORGED = """
import json, sys
from pathlib import Path
from lager_onnx import Judge
from lager_onnx.models.errors import LagerError
for folder in map(Path, sys.argv[1:]):
    try:
        Judge.load(folder, device="cpu", threads=1).score([{"instruction": "Name a prime.", "response": "Seven."}])
    except LagerError as error:
        print(type(error).__name__)
    else:
        print("graded")
"""


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_mutated_files_are_refused_and_forged_ones_end_no_process(name: str, tiny_judge: Path, tmp_path: Path) -> None:
    original = (tiny_judge / name).read_bytes()
    folders = []
    for seed in range(amount(10, 150)):
        judge = Path(shutil.copytree(tiny_judge, tmp_path / f"judge-{seed}"))
        chance = random.Random(seed)
        data = bytearray(original)
        for _ in range(chance.choice([1, 1, 5])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        data = data[: chance.choice([len(data)] * 3 + [chance.randrange(len(data))])]
        if bytes(data) == original:
            continue
        (judge / name).write_bytes(data)
        with pytest.raises(JudgeFolderError):
            Judge.load(judge, device="cpu", threads=1)
        spec = json.loads((judge / "judge.json").read_text())
        spec["checksums"][name] = hashlib.sha256(data).hexdigest()
        (judge / "judge.json").write_text(json.dumps(spec))
        folders.append(judge)
    found: list[str] = []
    for first in range(0, len(folders), 25):
        some = [str(folder) for folder in folders[first : first + 25]]
        result = subprocess.run(
            [sys.executable, "-c", _FORGED, *some], capture_output=True, text=True, check=False, timeout=200
        )
        assert result.returncode == 0, result.stderr[-3000:]
        found += result.stdout.split()
    report(
        f"{name}: {len(folders)} mutations refused; with forged checksums { ({k: found.count(k) for k in set(found)}) }"
    )
    assert len(found) == len(folders)
