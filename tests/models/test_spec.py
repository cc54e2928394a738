import json
from pathlib import Path

import pytest

from lager_onnx.models.errors import JudgeFolderError
from lager_onnx.models.spec import JudgeSpec


def test_json_round_trip(tiny_judge: Path, tmp_path: Path) -> None:
    spec = JudgeSpec.load(tiny_judge)
    (tmp_path / "judge.json").write_text(spec.to_json())
    assert JudgeSpec.load(tmp_path) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: spec.pop("scale"), "damaged"),
        (lambda spec: spec.update(format="other"), "not written by lager-onnx"),
        (lambda spec: spec.update(format_version=99), "format version 99"),
        (lambda spec: spec.update(surprise=1), "damaged"),
        (lambda spec: spec["layer_weights"].pop(), "9 layer weights for 10 rows"),
        (lambda spec: spec["score_token_ids"].pop(), "4 score tokens for 5 labels"),
        (lambda spec: spec["scale"].update(values=[1, 1, 1, 1, 1]), "same value"),
    ],
)
def test_a_damaged_or_foreign_spec_is_named(change, message: str, tiny_judge: Path, tmp_path: Path) -> None:
    content = json.loads((tiny_judge / "judge.json").read_text())
    change(content)
    (tmp_path / "judge.json").write_text(json.dumps(content))
    with pytest.raises(JudgeFolderError, match=message):
        JudgeSpec.load(tmp_path)


def test_what_is_no_judge_folder(tmp_path: Path) -> None:
    with pytest.raises(JudgeFolderError, match="not a judge folder"):
        JudgeSpec.load(tmp_path / "nowhere")
    (tmp_path / "judge.json").write_text('{"format": "lager')
    with pytest.raises(JudgeFolderError, match="not JSON"):
        JudgeSpec.load(tmp_path)
