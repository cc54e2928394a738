"""Benchmarks measure the judge that they name: a peer without its weights, or with others, is refused."""

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from lager_onnx.models.spec import JudgeSpec

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SETS = {"short": [[20, 21, 30 + n, 22] for n in range(6)], "long": [list(range(20, 60 + n)) for n in range(6)]}


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import agreement  # type: ignore[import-not-found]
    import measure  # type: ignore[import-not-found]
    import peers  # type: ignore[import-not-found]

    return {"agreement": agreement, "measure": measure, "peers": peers}


@pytest.fixture
def judge(tiny_judge: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_judge, tmp_path / "judges" / "fp32"))


@pytest.fixture
def measured(
    scripts: dict[str, ModuleType], judge: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Measures a contender and gives what it prints."""
    prompts, reference = judge.parent / "prompts.json", judge.parent / "reference.json"
    prompts.write_text(json.dumps(SETS))
    (judge.parent / "peers").mkdir()
    scripts["agreement"].write_reference(str(tiny_checkpoint), judge, SETS, reference)

    def run(name: str) -> dict[str, Any]:
        scripts["measure"].main(name, str(judge), str(tiny_checkpoint), str(prompts), str(reference), "1")
        return json.loads(capsys.readouterr().out)

    return run


def expectation(checkpoint: Path, spec: JudgeSpec, prompts: list[list[int]]) -> np.ndarray:
    """Of the last layer, by transformers alone."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    with torch.inference_mode():
        last = torch.stack([model(torch.tensor([ids])).logits[0, -1, list(spec.score_token_ids)] for ids in prompts])
    return (last.softmax(-1) @ torch.tensor(spec.scale.values)).numpy()


def test_peers_have_the_checkpoint_s_weights(
    scripts: dict[str, ModuleType], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    made = scripts["peers"].hugging_face(str(tiny_checkpoint), tmp_path)
    given, found = (load_file(folder / "model.safetensors") for folder in (tiny_checkpoint, made))
    assert given.keys() == found.keys()
    assert all(torch.equal(given[name].float(), found[name]) for name in given)
    assert all(tensor.any() for tensor in found.values())


def test_the_reference_is_what_transformers_says(measured: Any, judge: Path, tiny_checkpoint: Path) -> None:
    content, spec = json.loads((judge.parent / "reference.json").read_text()), JudgeSpec.load(judge)
    for title, prompts in SETS.items():
        expected = expectation(tiny_checkpoint, spec, prompts)
        np.testing.assert_allclose(content["sets"][title]["expectation"], expected, atol=1e-4)
    assert np.ptp(content["sets"]["long"]["expectation"]) > 0.1


@pytest.mark.parametrize("name", ["transformers fp32", "transformers bf16", "lager-onnx fp32"])
def test_contenders_with_the_right_weights_are_measured(measured: Any, name: str) -> None:
    found = measured(name)
    assert set(found["sets"]) == set(SETS)
    assert all(of_set["seconds"] > 0 for of_set in found["sets"].values())


def zeros(tensor: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(tensor)


def shuffled(tensor: torch.Tensor) -> torch.Tensor:
    order = torch.randperm(tensor.numel(), generator=torch.Generator().manual_seed(0))
    return tensor.flatten()[order].reshape(tensor.shape)


@pytest.mark.parametrize("change", [zeros, shuffled])
@pytest.mark.parametrize("name", ["transformers fp32", "transformers bf16"])
def test_a_peer_with_other_weights_is_refused(
    scripts: dict[str, ModuleType], measured: Any, judge: Path, tiny_checkpoint: Path, change: Any, name: str
) -> None:
    made = scripts["peers"].hugging_face(str(tiny_checkpoint), judge.parent / "peers") / "model.safetensors"
    save_file({key: change(tensor) for key, tensor in load_file(made).items()}, made, {"format": "pt"})
    with pytest.raises(scripts["agreement"].WrongScoresError, match=name):
        measured(name)


def test_a_judge_of_other_weights_is_refused(
    scripts: dict[str, ModuleType], measured: Any, judge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the folder holds a judge of another checkpoint."""
    path = judge.parent / "reference.json"
    content = json.loads(path.read_text())
    content["sets"]["long"]["lager"].reverse()
    path.write_text(json.dumps(content))
    with pytest.raises(scripts["agreement"].WrongScoresError, match=r"lager-onnx fp32 differs .* \(lager"):
        measured("lager-onnx fp32")


def test_parameters_that_transformers_makes_up_are_refused(
    scripts: dict[str, ModuleType], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))
    load = lambda: AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)  # noqa: E731
    whole = scripts["peers"].loaded_whole
    assert whole(load()).config.num_hidden_layers == 4
    tensors = load_file(folder / "model.safetensors")
    lost = "model.layers.2.mlp.up_proj.weight"
    save_file(
        {name: tensor for name, tensor in tensors.items() if name != lost},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ValueError, match="up_proj"):
        whole(load())
    assert whole(load(), made={lost}) is not None


def test_what_precision_explains(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    agreement, path = scripts["agreement"], tmp_path / "reference.json"
    expected = np.linspace(2, 4, 9)
    path.write_text(json.dumps({"width": 4.0, "sets": {"a": {"expectation": expected.tolist()}}}))

    def check(name: str, scores: np.ndarray) -> None:
        agreement.check(name, {"a": {"expectation": scores.tolist()}}, path)

    for name, limit in (
        ("OpenVINO f32", 5e-4),
        ("optimum's graph", 5e-4),
        ("llama.cpp BF16", 0.05),
        ("llama.cpp Q4_0", 0.1),
    ):
        check(name, expected + 3.9 * limit)
        with pytest.raises(agreement.WrongScoresError, match="differs from PyTorch"):
            check(name, expected + 4.1 * limit)
    with pytest.raises(agreement.WrongScoresError, match="differs"):
        check("llama.cpp Q4_0", np.full(9, np.nan))
    close = np.linspace(3, 3.2, 9)
    path.write_text(json.dumps({"width": 4.0, "sets": {"a": {"expectation": close.tolist()}}}))
    with pytest.raises(agreement.WrongScoresError, match="gives all 9 prompts the same score"):
        check("llama.cpp Q4_0", np.full(9, 3.0))
    with pytest.raises(agreement.WrongScoresError, match="the precision of a new one is not known"):
        check("a new one", close)


def test_every_contender_s_precision_is_known(scripts: dict[str, ModuleType]) -> None:
    from contenders import CONTENDERS  # type: ignore[import-not-found]

    assert {scripts["agreement"].precision_of(name) for name in CONTENDERS} == {"fp32", "bf16", "int8", "int4"}
