"""What lies beside an ONNX file: another model's config.json is refused, no tokenizer_config.json is no error."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer, processors

from lager_onnx.export.chat import render_wrapper
from lager_onnx.export.checkpoint import load_checkpoint
from lager_onnx.export.sources.onnx_model import open_onnx
from lager_onnx.models.errors import CheckpointError
from support.tiny import VARIANTS, make_checkpoint

FUSED = Path(__file__).parents[1] / "fixtures" / "fused" / "qwen3"


def opened(folder: Path, **changes: Any) -> Any:
    """The fixture's decoder beside a config.json that is changed."""
    shutil.copytree(FUSED, folder)
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return open_onnx(str(folder / "model.onnx"))


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("vocab_size", 200, 370),
        ("vocab_size", 1000, 370),
        ("hidden_size", 32, 64),
        ("num_attention_heads", 8, 4),
        ("num_key_value_heads", 4, 2),
        ("num_key_value_heads", None, 2),
        ("num_hidden_layers", 3, 4),
        ("head_dim", 32, 16),
    ],
)
def test_numbers_of_another_model_are_refused(name: str, value: int | None, found: int, tmp_path: Path) -> None:
    said = 4 if value is None else value
    with pytest.raises(CheckpointError, match=rf"config\.json says {name} = {said}, but .*model\.onnx has {found}:"):
        opened(tmp_path / "model", **{name: value})


def test_the_fixture_s_own_numbers_are_read(tmp_path: Path) -> None:
    assert opened(tmp_path / "model").embedding == (370, 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": "Qwen3ForCausalLM"}, "architectures = 'Qwen3ForCausalLM': it must be a list of names"),
        ({"architectures": [3]}, r"architectures = \[3\]: it must be a list"),
        ({"model_type": ["qwen3"]}, r"model_type = \['qwen3'\]: it must be a name"),
        ({"vocab_size": "370"}, "vocab_size = '370': it must be a positive whole number"),
        ({"max_position_embeddings": -1}, "max_position_embeddings = -1: it must be a positive"),
    ],
)
def test_values_of_another_kind_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        opened(tmp_path / "model", **changes)


def save_unfused(folder: Path, *, rows: int, positions: int) -> None:
    """A graph with an embedding of (rows, 64) and a table of cosines of (positions, 16)."""
    nodes = [
        onnx.helper.make_node("Cast", ["input_ids"], ["ids"], to=7),
        onnx.helper.make_node("Gather", ["embedding", "ids"], ["logits"]),
        onnx.helper.make_node("Gather", ["cosines", "position_ids"], ["turned"]),
    ]
    tensors = [
        onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name)
        for name, shape in (("embedding", (rows, 64)), ("cosines", (positions, 16)))
    ]
    inputs = [onnx.helper.make_tensor_value_info(name, 7, ["b", "n"]) for name in ("input_ids", "position_ids")]
    outputs = [onnx.helper.make_tensor_value_info("logits", 1, ["b", "n", 64])]
    graph = onnx.helper.make_graph(nodes, "decoder", inputs, outputs, tensors)
    onnx.save(onnx.helper.make_model(graph), folder / "model.onnx")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "checkpoint", *VARIANTS["llama"])


def test_tables_of_an_unfused_graph_are_compared(checkpoint: Path) -> None:
    save_unfused(checkpoint, rows=370, positions=512)
    assert open_onnx(str(checkpoint / "model.onnx")).embedding == (370, 64)
    save_unfused(checkpoint, rows=370, positions=511)
    with pytest.raises(
        CheckpointError, match=r"max_position_embeddings = 512, but .* a table of 511 positions .cosines"
    ):
        open_onnx(str(checkpoint / "model.onnx"))
    save_unfused(checkpoint, rows=371, positions=512)
    with pytest.raises(CheckpointError, match=r"vocab_size = 370, but .* has 371"):
        open_onnx(str(checkpoint / "model.onnx"))


def test_names_of_tokens_may_be_missing_as_in_a_folder(checkpoint: Path) -> None:
    for name in ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
        (checkpoint / name).unlink(missing_ok=True)
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s>:0 $A:0", special_tokens=[("<s>", 0)])
    tokenizer.save(str(checkpoint / "tokenizer.json"))
    save_unfused(checkpoint, rows=370, positions=512)
    wrappers = [
        render_wrapper(source.chat, "score: ")
        for source in (load_checkpoint(str(checkpoint)), open_onnx(str(checkpoint / "model.onnx")))
    ]
    assert wrappers[0] == wrappers[1]
    assert wrappers[1].before == "<s>"
    assert "no chat template" in wrappers[1].notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read: it is empty"),
        ("{}", "cannot be read: it holds no tokeniser"),
        ("[1]", "cannot be read: it holds no tokeniser"),
        ("null", "cannot be read: it holds null"),
        ('{"model": {"type": "BPE"', "cannot be read"),
    ],
)
def test_a_broken_tokenizer_json_is_named(text: str, message: str, checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").write_text(text)
    save_unfused(checkpoint, rows=370, positions=512)
    for open_, source in ((load_checkpoint, checkpoint), (open_onnx, checkpoint / "model.onnx")):
        with pytest.raises(CheckpointError, match=rf"tokenizer\.json {message}"):
            open_(str(source))


def test_a_class_that_is_no_name_is_refused(checkpoint: Path) -> None:
    path = checkpoint / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": ["a"]}))
    with pytest.raises(
        CheckpointError, match=r"tokenizer_config\.json says tokenizer_class = \['a'\]: it must be a name"
    ):
        load_checkpoint(str(checkpoint))
