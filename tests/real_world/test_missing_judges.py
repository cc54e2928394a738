"""What is said where no judge is: in Python the function that makes one, on the command line the command."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from lager_onnx import Judge
from lager_onnx.cli import main
from lager_onnx.models.errors import HubError, JudgeFolderError
from lager_onnx.models.export_cure import export_cure
from lager_onnx.runtime import hub


@pytest.mark.parametrize("name", ["nothere", "my judges", 'a"b'])
def test_a_folder_without_a_judge_says_how_to_make_one(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    with pytest.raises(JudgeFolderError) as found:
        Judge.load(folder)
    called = str(found.value).rpartition(": make one with ")[2]
    names = eval(called, {"export_judge": lambda *names: names})
    assert names == ("CHECKPOINT", str(folder))
    assert "lager export" not in str(found.value)
    assert "make one" not in found.value.told("http")
    (tmp_path / "in.jsonl").write_text("")
    result = CliRunner().invoke(main, ["score", str(folder), str(tmp_path / "in.jsonl")])
    assert result.exit_code == 2
    assert "make one with lager export CHECKPOINT " in result.stderr
    assert "export_judge" not in result.stderr


def test_a_checkpoint_on_the_hub_is_no_judge_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(HubError) as found:
        hub.fetch("org/other", tmp_path)
    assert str(found.value).endswith('it is no judge: make one with export_judge("org/other", "other")')
    assert found.value.told("command").endswith("it is no judge: make one with lager export org/other other")


def test_names_with_spaces_are_quoted_as_the_shell_reads_them() -> None:
    assert export_cure("CHECKPOINT", "my judges").command == "make one with lager export CHECKPOINT 'my judges'"
