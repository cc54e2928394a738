"""Makes what `check.py` needs on a machine with a GPU, from where the exporter runs; some megabytes.

    PYTHONPATH=tests python benchmarks/gpu/prepare_check.py FOLDER SMOLLM2 WIDE

Tiny judges of several families in bf16, fp16 and int4, with what their float32 form says of some prompts on the CPU;
SmolLM2's graph in bf16 and fp16 without weights, with what it says with random ones; and, for speed alone, the graph of
WIDE (`benchmarks/random_checkpoint.py llama-3.1-8b FOLDER --layers 8`) in bf16.
"""

import json
import tempfile
from pathlib import Path

import click
import numpy as np
import onnx_ir as ir
from random_weights import LIST, write_weights

from lager_onnx.export import export_judge
from lager_onnx.export.verify.emulate import load_for_cpu
from lager_onnx.models.precisions import Precision
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.engines.batches import BatchEngine
from lager_onnx.runtime.engines.open import open_engine
from lager_onnx.runtime.session import open_session
from support.tiny import HEAD, VARIANTS, make_checkpoint

FAMILIES = ("llama", "gemma2", "gemma3", "qwen2-window", "qwen3", "phi3")
PRECISIONS: tuple[Precision, ...] = ("bf16", "fp16", "int4")


def prompts(lengths: list[int], shared: int, vocabulary: int) -> list[list[int]]:
    """Prompts of these lengths, then three that share a beginning, which fills a block of the KV cache and more."""
    random = np.random.default_rng(0)
    text = random.integers(5, vocabulary, shared).tolist()
    alone = [random.integers(5, vocabulary, length).tolist() for length in lengths]
    return [*alone, text, [*text, 7], [*text[: shared - 20], *range(9, 40)]]


def save(folder: Path, asked: list[list[int]], expected: list[np.ndarray]) -> None:
    """Prompts, and the layer logits that are right."""
    (folder / "prompts.json").write_text(json.dumps(asked))
    np.save(folder / "layer_logits.npy", np.stack(expected))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("smollm2", type=click.Path(exists=True, path_type=Path))
@click.argument("wide", type=click.Path(exists=True, path_type=Path))
def main(folder: Path, smollm2: Path, wide: Path) -> None:
    """See the file."""
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as scratch:
            checkpoint = make_checkpoint(Path(scratch) / "checkpoint", *VARIANTS[family], head=HEAD)
            export_judge(checkpoint, Path(scratch) / "fp32", verify_judge=False)
            asked = prompts([1, 2, 7, 8, 9, 17, 64, 130, 300, 500], 290, 300)
            engine = open_engine(Path(scratch) / "fp32" / "model.onnx", device="cpu", threads=None)
            expected = [outputs["layer_logits"] for outputs in engine.submit(asked)() if outputs]
            for precision in PRECISIONS:
                judge = folder / f"tiny-{family}-{precision}"
                export_judge(checkpoint, judge, precision=precision, target="cuda", verify_judge=False, overwrite=True)
                save(judge, asked, expected)
    for precision in PRECISIONS[:2]:
        judge = folder / f"small-{precision}"
        without_weights(smollm2, judge, precision)
        write_weights(judge)
        with tempfile.TemporaryDirectory() as scratch:
            ir.save(load_for_cpu(judge, JudgeSpec.load(judge)), Path(scratch) / "model.onnx", external_data="data")
            session = open_session(Path(scratch) / "model.onnx", device="cpu").session
            asked = prompts([40, 300, 512, 77, 9, 450, 2000], 300, 30000)
            engine = BatchEngine([session], "CPUExecutionProvider")
            save(judge, asked, [outputs["layer_logits"] for outputs in engine.submit(asked)() if outputs])
        (judge / "model.onnx_data").unlink()
    without_weights(wide, folder / "wide-bf16", "bf16")


def without_weights(checkpoint: Path, judge: Path, precision: Precision) -> None:
    """Exports a judge, and keeps its graph and the list of its weights."""
    export_judge(checkpoint, judge, precision=precision, target="cuda", verify_judge=False, overwrite=True)
    stored = ir.load(judge / "model.onnx").graph.initializers.values()
    tensors = [value.const_value for value in stored if isinstance(value.const_value, ir.ExternalTensor)]
    listed = [[each.name, each.dtype.name, list(each.shape.numpy()), each.offset] for each in tensors]
    (judge / LIST).write_text(json.dumps(listed))
    (judge / "model.onnx_data").unlink()


if __name__ == "__main__":
    main()
