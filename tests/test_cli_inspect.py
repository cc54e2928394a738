"""`lager inspect`."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from lager_onnx.analysis.inspect import describe, weight_bars
from lager_onnx.cli import main
from lager_onnx.models.spec import JudgeSpec


def test_it_says_what_the_judge_is(tiny_judge: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(tiny_judge)])
    assert result.exit_code == 0, result.output
    spec = JudgeSpec.load(tiny_judge)
    assert "LlamaForCausalLM" in result.stdout
    assert spec.weights_origin in result.stdout
    assert "against PyTorch" in result.stdout
    assert len(result.stdout.split("layer weights\n")[1].splitlines()) == spec.num_layers + 1  # those with weight


def test_bars_are_as_long_as_weights_are_large(tiny_judge: Path) -> None:
    spec = JudgeSpec.load(tiny_judge)
    others = [0.0] * (len(spec.rows) - 2)
    spec = replace(spec, layer_weights=(0.75, *others, 0.25), parity=None)
    lines = weight_bars(spec)
    assert [line[:16].split() for line in lines] == [["raw", "0", "0.7500"], ["norm", "4", "0.2500"]]
    assert [len(line[17:]) for line in lines] == [40, 14]  # 13 blocks and a third of one
    assert "not verified" in describe(spec)


def test_a_page_shows_the_layers_of_records(tiny_judge: Path, tmp_path: Path) -> None:
    records = [
        {"id": f"<b>{number}", "instruction": "Name a prime.", "response": "good " * number} for number in (1, 2, 3)
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    arguments = ["inspect", tiny_judge, tmp_path / "in.jsonl", "--html", tmp_path / "page.html", "--first", 2]
    result = CliRunner().invoke(main, [str(argument) for argument in [*arguments, "--device", "cpu"]])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 2
    assert "&lt;b&gt;2" in page
    assert "<b>2" not in page
    assert "http-equiv" not in page
    assert "<script" not in page
    ET.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    alone = CliRunner().invoke(main, ["inspect", str(tiny_judge), str(tmp_path / "in.jsonl")])
    assert alone.exit_code == 2
    assert "--html" in alone.stderr
