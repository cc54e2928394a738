"""Judge folders that are damaged, or contradict themselves, are refused; none grades."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lager_onnx import Judge
from lager_onnx.models.errors import JudgeFolderError
from lager_onnx.models.spec import JudgeSpec


@pytest.fixture
def copied(tiny_judge: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_judge, tmp_path / "judge"))


def change(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((folder / "judge.json").read_text())
    edit(content)
    (folder / "judge.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda spec: spec["scale"]["labels"].reverse(), "scale"),
        (lambda spec: spec["scale"].update(values=[10.0, 20.0, 30.0, 40.0, 50.0]), "scale"),
        (lambda spec: spec["score_token_ids"].reverse(), "score_token_ids"),
        (lambda spec: spec["layer_weights"].__setitem__(slice(0, 2), [0.3, 0.1]), "layer_weights"),
        (lambda spec: spec.update(num_layers=5, layer_weights=[*spec["layer_weights"], 0.0, 0.0]), "num_layers"),
        (lambda spec: spec["template"].update(text="{response} is fine"), "template"),
        (lambda spec: spec["chat"].update(before=""), "chat"),
        (lambda spec: spec.update(precision="int8"), "precision"),
        (lambda spec: spec.update(context_length=4096), "context_length"),
    ],
)
def test_a_judge_that_contradicts_itself_is_refused(edit: Callable[..., Any], named: str, copied: Path) -> None:
    change(copied, edit)
    with pytest.raises(JudgeFolderError, match=rf"contradicts itself: .*{named}"):
        Judge.load(copied, device="cpu")


@pytest.mark.parametrize(
    "edit",
    [
        lambda spec: spec.update(checksums={}),
        lambda spec: spec["checksums"].pop("model.onnx"),
        lambda spec: spec["checksums"].pop("model.onnx_data"),
        lambda spec: spec["checksums"].update({"../x": "0" * 64}),
        lambda spec: spec["checksums"].update({"/proc/self/environ": "0" * 64}),
        lambda spec: spec["checksums"].update({"model.onnx": "no digest"}),
        lambda spec: spec["checksums"].update({"model.onnx": 7}),
    ],
)
def test_checksums_are_of_the_known_files(edit: Callable[..., Any], copied: Path) -> None:
    change(copied, edit)
    with pytest.raises(JudgeFolderError, match=r"damaged|checksum"):
        Judge.load(copied, device="cpu")


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx_data", "tokenizer.json", "judge.json"])
def test_files_are_regular_ones_of_the_folder(name: str, copied: Path, tmp_path: Path) -> None:
    (copied / name).rename(tmp_path / name)
    (copied / name).symlink_to(tmp_path / name)
    with pytest.raises(JudgeFolderError, match="regular file"):
        Judge.load(copied, device="cpu")
    (copied / name).unlink()
    os.mkfifo(copied / name)  # opening it would wait for ever
    with pytest.raises(JudgeFolderError, match="regular file"):
        Judge.load(copied, device="cpu")


def test_a_graph_that_does_not_say_what_it_is_is_refused(copied: Path) -> None:
    import hashlib

    import onnx

    model = onnx.load(copied / "model.onnx", load_external_data=False)
    del model.metadata_props[:]
    onnx.save(model, copied / "model.onnx")
    digest = hashlib.sha256((copied / "model.onnx").read_bytes()).hexdigest()
    change(copied, lambda spec: spec["checksums"].update({"model.onnx": digest}))
    with pytest.raises(JudgeFolderError, match="does not say what it was made with"):
        Judge.load(copied, device="cpu")


@pytest.mark.parametrize("value", [None, True, -1, 1e308, "x", [], {}, [[]], "\ud800", 10**40])
def test_no_value_of_any_field_is_taken_on_trust(value: Any, tiny_judge: Path, tmp_path: Path) -> None:
    content = json.loads((tiny_judge / "judge.json").read_text())
    expected = JudgeSpec.load(tiny_judge)
    for name in content:
        (tmp_path / "judge.json").write_text(json.dumps({**content, name: value}))
        try:
            spec = JudgeSpec.load(tmp_path)
        except JudgeFolderError:
            continue
        assert spec != expected or content[name] == value  # the graph will say so
