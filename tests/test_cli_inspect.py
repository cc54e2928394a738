"""`lager inspect`."""

from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from lager_onnx.cli import main
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.inspect import describe, weight_bars


def test_it_says_what_the_judge_is(tiny_judge: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(tiny_judge)])
    assert result.exit_code == 0, result.output
    spec = JudgeSpec.load(tiny_judge)
    assert "LlamaForCausalLM" in result.stdout
    assert spec.weights_origin in result.stdout
    assert "against PyTorch" in result.stdout
    assert len(result.stdout.split("layer weights\n")[1].splitlines()) == spec.num_layers + 1


def test_bars_are_as_long_as_weights_are_large(tiny_judge: Path) -> None:
    spec = JudgeSpec.load(tiny_judge)
    rows = spec.num_layers + 1
    spec = replace(spec, layer_weights=(0.75, 0.25, *[0.0] * (rows - 2)), parity=None)
    bars = [line.split(maxsplit=2)[2:] for line in weight_bars(spec)]
    lengths = [len(bar[0]) if bar else 0 for bar in bars]
    assert lengths[:2] == [40, 14]  # 13 blocks and a third of one
    assert not any(lengths[2:])
    assert "not verified" in describe(spec)
