"""Judges from decoders that are ONNX already: as the ones from the checkpoints that they were exported from."""

import json
import logging
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.float16 import convert_float_to_float16
from optimum.exporters.onnx import main_export
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from lager_onnx import Judge
from lager_onnx.export import export_judge
from lager_onnx.export.sources import onnx_weights
from lager_onnx.export.sources.hf_chat import HfChat
from lager_onnx.export.sources.plain_chat import PlainChat
from lager_onnx.models.errors import CheckpointError, VerificationError
from lager_onnx.models.precisions import Precision
from support.tiny import HEAD, VARIANTS, make_checkpoint, make_tokenizer

RECORDS = [{"instruction": "Name a prime.", "response": "Seven. " * number} for number in (1, 9)]


def exported(folder: Path, variant: str, *, past: bool = False) -> tuple[Path, Path]:
    """A checkpoint, and the ONNX file that optimum makes of it."""
    checkpoint = make_checkpoint(folder / "checkpoint", *VARIANTS[variant], head=HEAD)
    task = "text-generation-with-past" if past else "text-generation"
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main_export(str(checkpoint), folder / "onnx", task=task, opset=18, do_validation=False)
    logging.disable(logging.NOTSET)
    return checkpoint, folder / "onnx" / "model.onnx"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return exported(tmp_path_factory.mktemp("llama"), "llama")


def layer_logits(judge: Path) -> np.ndarray:
    return np.stack([grade.layer_logits for grade in Judge.load(judge, device="cpu").score(RECORDS)])


@pytest.mark.parametrize(
    ("variant", "past"),
    [
        ("llama-tied-biases", False), ("llama-rope-scaling", True), ("qwen3", True), ("gemma3", True),
        ("phi3", False), ("granite", True), ("olmo2", False),
    ],
)  # fmt: skip
def test_it_is_the_judge_of_the_checkpoint(variant: str, past: bool, tmp_path: Path) -> None:
    checkpoint, model = exported(tmp_path, variant, past=past)
    export_judge(checkpoint, tmp_path / "expected", template="brief", verify_judge=False)
    spec = export_judge(model, tmp_path / "judge", template="brief")
    assert spec.parity is not None
    assert spec.parity.layer_logits < 1e-4
    expected = layer_logits(tmp_path / "expected")
    np.testing.assert_allclose(layer_logits(tmp_path / "judge"), expected, atol=1e-4 * np.abs(expected).max())
    kinds = [[node.op_type for node in ir.load(tmp_path / name / "model.onnx").graph] for name in ("expected", "judge")]
    assert kinds[0].count("GroupQueryAttention") == kinds[1].count("GroupQueryAttention") == 4


def half(model: onnx.ModelProto) -> onnx.ModelProto:
    return convert_float_to_float16(model, keep_io_types=False)


def four_bits(model: onnx.ModelProto, *, symmetric: bool) -> onnx.ModelProto:
    quantizer = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=symmetric, accuracy_level=4)
    quantizer.process()
    return quantizer.model.model


def converted(model: Path, folder: Path, convert: Callable[[onnx.ModelProto], onnx.ModelProto]) -> Path:
    shutil.copytree(model.parent, folder)
    logging.disable(logging.INFO)
    onnx.save(convert(onnx.load(model)), folder / "model.onnx")
    logging.disable(logging.NOTSET)
    return folder / "model.onnx"


@pytest.mark.parametrize(
    ("name", "far"),
    [("half", 0.01), ("4 bits", 1.5), ("4 bits with zero points", 1.5)],
)
def test_it_may_be_in_fewer_bits(name: str, far: float, llama: tuple[Path, Path], tmp_path: Path) -> None:
    symmetric = name == "4 bits"
    convert = half if name == "half" else lambda model: four_bits(model, symmetric=symmetric)
    model = converted(llama[1], tmp_path / "fewer", convert)
    spec = export_judge(model, tmp_path / "judge", template="brief")
    assert spec.parity is not None
    assert spec.parity.layer_logits < 1e-4
    export_judge(llama[0], tmp_path / "expected", template="brief", verify_judge=False)
    expected = layer_logits(tmp_path / "expected")
    apart = np.abs(layer_logits(tmp_path / "judge") - expected).max() / np.abs(expected).max()
    assert 1e-5 < apart < far


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8", "int4"])
def test_it_becomes_a_judge_in_every_precision(precision: Precision, llama: tuple[Path, Path], tmp_path: Path) -> None:
    spec = export_judge(llama[1], tmp_path / "judge", precision=precision, template="brief")
    assert spec.parity is not None
    assert spec.agreement is not None
    assert spec.agreement.score < 0.08


@pytest.mark.parametrize("of_4_bits", [False, True])
def test_a_weight_that_is_read_wrongly_is_caught(
    of_4_bits: bool, llama: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is compared with the file as it was given, not with what was read of it."""
    name = "_columns" if of_4_bits else "narrowed"
    original = getattr(onnx_weights, name)

    def wrong(*arguments):
        made = original(*arguments)
        if of_4_bits:
            return made * np.float32(1.01)
        rows = made._rows
        made._rows = lambda first, end: rows(first, end) * np.float32(1.5)
        return made

    monkeypatch.setattr(onnx_weights, name, wrong)
    convert = (lambda model: four_bits(model, symmetric=True)) if of_4_bits else half
    with pytest.raises(VerificationError):
        export_judge(converted(llama[1], tmp_path / "fewer", convert), tmp_path / "judge", template="brief")
    assert not (tmp_path / "judge").exists()


def test_it_needs_neither_pytorch_nor_transformers(llama: tuple[Path, Path], tmp_path: Path) -> None:
    program = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "optimum", "accelerate", "gguf", "safetensors"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from lager_onnx.export import export_judge
spec = export_judge({str(llama[1])!r}, {str(tmp_path / "judge")!r}, precision="int8", template="brief")
print(spec.agreement.score, sorted(set(sys.modules) & {{"torch", "transformers", "optimum"}}))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.split(" ", 1)[1] == "[]\n"


def with_a_branch(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node.append(onnx.helper.make_node("If", ["x"], ["y"]))
    return model


def fused(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node.append(onnx.helper.make_node("MultiHeadAttention", ["x"], ["y"], domain="com.microsoft"))
    return model


def without_logits(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.output[0].name = "last_hidden_state"
    return model


def with_pixels(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.input.append(onnx.helper.make_tensor_value_info("pixel_values", 1, [1]))
    return model


@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (with_a_branch, "holds If: a merged decoder.*--no-post-process"),
        (fused, "holds MultiHeadAttention, which is not read"),
        (without_logits, "no output 'logits'"),
        (with_pixels, "inputs that no decoder has: pixel_values"),
    ],
)
def test_what_it_cannot_read_is_refused_by_name(
    convert: Callable[[onnx.ModelProto], onnx.ModelProto], message: str, llama: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        export_judge(converted(llama[1], tmp_path / "model", convert), tmp_path / "judge")


def test_files_that_are_not_beside_it(llama: tuple[Path, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(llama[1].parent, tmp_path / "model"))
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "hidden_size": None}))
    with pytest.raises(CheckpointError, match=r"config\.json does not say hidden_size"):
        export_judge(folder / "model.onnx", tmp_path / "judge")
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read .*: it must stand beside"):
        export_judge(folder / "model.onnx", tmp_path / "judge")
    shutil.copy(llama[1].parent / "config.json", folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be read"):
        export_judge(folder / "model.onnx", tmp_path / "judge")
    shutil.copy(llama[1].parent / "tokenizer.json", folder)
    (folder / "model.onnx").write_bytes(b"no ONNX")
    with pytest.raises(CheckpointError, match="is no ONNX model"):
        export_judge(folder / "model.onnx", tmp_path / "judge")
    with pytest.raises(CheckpointError, match="no ONNX file at"):
        export_judge(tmp_path / "nowhere.onnx", tmp_path / "judge")


TEMPLATES = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}{{ bos_token }}",
    "{% for m in messages %}{% if loop.index0 > 3 %}{% break %}{% endif %}{{ m | tojson }}{% endfor %}",
    "{{ strftime_now('%Y-%m-%d') }} {% generation %}{{ messages[0].content }}{% endgeneration %}",
    "  {%- if enable_thinking %}think{% endif %}\n  {% if tools %}tools{% endif %}\n{{ messages[0].content | trim }}\n",
)


@pytest.mark.parametrize("template", TEMPLATES)
def test_chat_templates_are_rendered_as_transformers_does(template: str, tmp_path: Path) -> None:
    make_tokenizer(chat_template=template).save_pretrained(tmp_path)
    theirs = HfChat(AutoTokenizer.from_pretrained(tmp_path))
    ours = PlainChat(tmp_path, Tokenizer.from_file(str(tmp_path / "tokenizer.json")))
    messages = [{"role": "user", "content": " <Ä> & 'quotes'\n"}, {"role": "assistant", "content": "Yes."}]
    for prompt in (False, True):
        assert ours.render(messages, add_generation_prompt=prompt) == theirs.render(
            messages, add_generation_prompt=prompt
        )
    with ours.another_day(), theirs.another_day():
        assert ours.render(messages, add_generation_prompt=True) == theirs.render(messages, add_generation_prompt=True)
    assert (ours.exists, ours.begin, sorted(ours.added)) == (theirs.exists, theirs.begin, sorted(theirs.added))
