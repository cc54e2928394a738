"""`lager cut`: a shallower judge that says the same."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from click.testing import CliRunner, Result

from lager_onnx import Judge
from lager_onnx.analysis.depth import cut as cutting
from lager_onnx.analysis.tuning import reweigh
from lager_onnx.cli import main
from lager_onnx.models.calibration import Calibration
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.session import open_session, run_graph

WORDS = ("good", "bad", "fine", "wrong", "prime")
RECORDS = [{"instruction": "Name a prime.", "response": " ".join(WORDS[:number] * number)} for number in range(1, 6)]


def cut(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["cut", *map(str, arguments)])


def size(judge: Path) -> int:
    return sum((judge / name).stat().st_size for name in ("model.onnx", "model.onnx_data"))


def rows(depth: int, layers: int) -> list[int]:
    """Of the whole judge's rows, those that are left."""
    return [*range(depth + 1), *range(layers + 1, layers + 2 + depth)]


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
@pytest.mark.parametrize("depth", [1, 3])
def test_scores_are_those_of_the_whole_judge_with_the_same_weights(
    precision: str, depth: int, tiny_judges: dict[str, Path], tmp_path: Path
) -> None:
    weights = np.zeros(10)  # of 5 layers, raw and normed
    weights[[0, depth, 5 + depth]] = 0.2, 0.3, 0.5
    whole = reweigh(tiny_judges[precision], weights.tolist(), "by hand", target=tmp_path / "whole")
    result = cut(tmp_path / "whole", "-o", tmp_path / "cut")  # as deep as the weights reach
    assert result.exit_code == 0, result.output
    assert f"{depth} layers of 4, those above cut off" in result.stderr
    spec = JudgeSpec.load(tmp_path / "cut")
    assert (spec.num_layers, spec.layers_cut, spec.weights_origin) == (depth, 4 - depth, "by hand")
    expected, got = (Judge.load(tmp_path / name, device="cpu").score(RECORDS) for name in ("whole", "cut"))
    assert np.ptp([grade.score for grade in expected]) > 0.01
    for one, other in zip(expected, got, strict=True):
        assert other.score == pytest.approx(one.score, abs=0.01 if precision == "int4" else 1e-5)
        largest = np.abs(one.layer_logits).max()
        apart = np.abs(other.layer_logits - one.layer_logits[rows(depth, 4)]).max()
        assert apart < (0.05 if precision == "int4" else 1e-5) * largest
    assert whole.num_layers == 4


def test_what_was_cut_off_is_gone_and_the_last_layer_reads_one_token(
    tiny_judges: dict[str, Path], tmp_path: Path
) -> None:
    for name, judge in tiny_judges.items():
        result = cut(judge, "--depth", 2, "-o", tmp_path / name)
        assert result.exit_code == 0, result.output
        graph = ir.load(tmp_path / name / "model.onnx").graph
        assert sum(node.op_type == "GroupQueryAttention" for node in graph) == 2
        assert not [value.name for value in graph.initializers.values() if "layers.2." in str(value.name)]
        assert not [value.name for value in [*graph.inputs, *graph.outputs] if ".2." in str(value.name)]
        assert size(tmp_path / name) < 0.8 * size(judge)
        gathered = {str(node.inputs[0].name) for node in graph if node.op_type == "GatherND" and node.inputs[0]}
        assert "lager.attention.1" in gathered  # behind it, layer 2 sees the score position only
        assert json.loads((tmp_path / name / "config.json").read_text())["num_hidden_layers"] == 2
        assert "2 layers of 4" in (tmp_path / name / "README.md").read_text()


def test_untuned_weights_stay_uniform_over_what_is_left(tiny_judge: Path, tmp_path: Path) -> None:
    assert cut(tiny_judge, "--depth", 3, "-o", tmp_path / "three").exit_code == 0
    spec = JudgeSpec.load(tmp_path / "three")
    np.testing.assert_allclose(spec.layer_weights, [0.25] * 4 + [0] * 4)
    assert spec.weights_origin.endswith("; cut behind layer 3")
    assert cut(tmp_path / "three", "--depth", 1, "-o", tmp_path / "one").exit_code == 0  # what was cut can be cut
    spec = JudgeSpec.load(tmp_path / "one")
    assert (spec.num_layers, spec.layers_cut) == (1, 3)
    np.testing.assert_allclose(spec.layer_weights, [0.5, 0.5, 0, 0])


def test_a_calibration_stays_while_the_scores_do(tiny_judge: Path, tmp_path: Path) -> None:
    corners = Calibration((1.0, 3.0, 5.0), (1.5, 2.0, 4.0), "by hand")
    weights = [0.0, 0.0, 1.0, *[0.0] * 7]
    reweigh(tiny_judge, weights, "by hand", calibration=corners, target=tmp_path / "whole")
    assert cut(tmp_path / "whole", "-o", tmp_path / "two").exit_code == 0
    expected, got = (Judge.load(tmp_path / name, device="cpu").score(RECORDS) for name in ("whole", "two"))
    assert [grade.score for grade in got] == pytest.approx([grade.score for grade in expected], abs=1e-5)
    reweigh(tiny_judge, [0.5, *weights[1:3], *[0.0] * 6, 0.5], "more", calibration=corners, target=tmp_path / "more")
    assert cut(tmp_path / "more", "--depth", 2, "-o", tmp_path / "less").exit_code == 0
    assert JudgeSpec.load(tmp_path / "two").calibration == corners
    assert JudgeSpec.load(tmp_path / "less").calibration is None


def test_the_whole_way_to_a_shallow_judge_that_reads_prefixes(tiny_judge: Path, tmp_path: Path) -> None:
    """Long prompts, in chunks, behind what they share: as ever, on the KV cache of fewer layers."""
    assert cut(tiny_judge, "--depth", 2, "-o", tmp_path / "cut").exit_code == 0
    records = [
        {"instruction": "word " * 40, "response": "good", "criterion": name} for name in ("fluency", "coherence")
    ]
    together = Judge.load(tmp_path / "cut", device="cpu").score(records)
    alone = [Judge.load(tmp_path / "cut", device="cpu").score([record])[0] for record in records]
    session = open_session(tmp_path / "cut" / "model.onnx", device="cpu").session
    assert {value.name for value in session.get_overridable_initializers() if "past_key" in value.name} == {
        f"past_key_values.{layer}.{part}" for layer in (0, 1) for part in ("key", "value")
    }
    assert run_graph(session, [[3, 1, 4]])["layer_logits"].shape == (1, 6, 5)
    for one, other in zip(together, alone, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)


@pytest.mark.parametrize(("depth", "message"), [(None, "reach up to layer 4 of 4"), (4, "1 to 3 can be kept")])
def test_where_there_is_nothing_to_cut(depth: int | None, message: str, tiny_judge: Path, tmp_path: Path) -> None:
    result = cut(tiny_judge, "-o", tmp_path / "cut", *([] if depth is None else ["--depth", depth]))
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "cut").exists()


def test_a_judge_whose_weights_would_all_go_is_refused(tiny_judge: Path, tmp_path: Path) -> None:
    reweigh(tiny_judge, [0] * 9 + [1], "the last layer", target=tmp_path / "last")
    result = cut(tmp_path / "last", "--depth", 2, "-o", tmp_path / "cut")
    assert result.exit_code == 2
    assert "no row with weight would be left" in result.stderr


def test_a_judge_that_would_say_something_else_is_not_kept(
    tiny_judge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_graph = cutting.cut_graph

    def wrong(model: ir.Model, depth: int, rows: int) -> None:
        cut_graph(model, depth, rows)
        norm = model.graph.initializers["model.layers.1.post_attention_layernorm.weight"]
        assert norm.const_value is not None
        norm.const_value = ir.tensor(norm.const_value.numpy() * 1.01, name=norm.name)

    monkeypatch.setattr(cutting, "cut_graph", wrong)
    result = cut(tiny_judge, "--depth", 2, "-o", tmp_path / "cut")
    assert result.exit_code == 1
    assert "says something else: layer logits of raw 2" in result.stderr or "of norm 2" in result.stderr
    assert not (tmp_path / "cut").exists()


def test_a_judge_that_contradicts_itself_is_not_cut(tiny_judge: Path, tmp_path: Path) -> None:
    reweigh(tiny_judge, [1, *[0] * 9], "the embedding", target=tmp_path / "judge")
    spec = replace(JudgeSpec.load(tmp_path / "judge"), weights_origin="made up")
    (tmp_path / "judge" / "judge.json").write_text(spec.to_json())
    result = cut(tmp_path / "judge", "--depth", 2, "-o", tmp_path / "cut")
    assert result.exit_code == 2
    assert "contradicts itself" in result.stderr
