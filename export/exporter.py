"""Checkpoint to judge folder."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

import onnx_ir as ir
import torch

from lager_onnx.export.calibration import Calibration
from lager_onnx.export.checkpoint import Checkpoint, load_checkpoint
from lager_onnx.export.describe import describe
from lager_onnx.export.package import folder_size, write_graph, write_rest
from lager_onnx.export.passes.weight_precision import DTYPES
from lager_onnx.export.quantize import narrow, quantize
from lager_onnx.export.rewrite import rewrite
from lager_onnx.export.sample_prompts import built_in_records, sample_prompts
from lager_onnx.export.steps import foreign_errors, step
from lager_onnx.export.trace import trace
from lager_onnx.export.verify.agreement import Graded, check_agreement, check_unchanged, compare, grade
from lager_onnx.export.verify.oracle import round_matrices
from lager_onnx.export.verify.parity import sample_batches, verify
from lager_onnx.export.verify.products import Product, check_products
from lager_onnx.models.errors import ExportError
from lager_onnx.models.precisions import Precision
from lager_onnx.models.scale import Scale
from lager_onnx.models.spec import JudgeSpec, Lens, Parity, Target
from lager_onnx.models.template import Template
from lager_onnx.runtime.new_folder import new_folder

logger = logging.getLogger(__name__)

_TORCH_DTYPES: Final = {"fp16": torch.float16, "bf16": torch.bfloat16}
_PRODUCT_PROMPTS: Final = 12  # on which single products are compared

_SAMPLES = (
    {"instruction": "Name the largest planet.", "response": "Jupiter.", "criterion": "correctness"},
    {
        "instruction": "Write a haiku about rain.",
        "response": "Rain falls on the roof.\nThe cat does not like it.\nI do.",
    },
)


def export_judge(
    checkpoint: str | Path,
    judge_dir: str | Path,
    *,
    scale: str = "1-5",
    lens: Lens = "raw",
    layers: str = "all",
    template: str = "direct",
    answer_prefix: str = "score: ",
    precision: Precision = "fp32",
    target: Target = "cpu",
    verify_judge: bool = True,
    overwrite: bool = False,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> JudgeSpec:
    """Exports a judge: one ONNX model that gives LAGER scores, with all that scoring needs beside it.

    Args:
        checkpoint: directory in Hugging Face format, `.gguf` file or hub id.
        judge_dir: folder to write; it appears only when everything went well.
        scale: "1-5", "1,3,5" or "bad=0,ok=1,good=2"; every label must be one token after the answer prefix.
        lens: "raw" reads the residual stream as it is, "norm" after the final norm (the logit lens).
        layers: rows that get weight: "all", "upper-half" or a list such as "0,12-20,-1".
        template: name of a built-in template, or a text file with named fields.
        answer_prefix: how the judge's answer begins.
        precision: how the body's weights are stored; arithmetic and the head are float32. With int8 and int4 the
            body's matrix products are in 8 bits too, and the agreement with float32 is measured and stored.
        target: "cpu" for arithmetic in float32, which every provider can do; "cuda" lets a judge in fp16 or bf16
            multiply in 16 bits too, and add in float32.
        verify_judge: compare the judge with PyTorch, and what it is in fewer bits with float32; keep it only if they
            agree.
        overwrite: replace a judge that is there already.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run the Python code that ships with the checkpoint.

    Returns:
        What was written to `judge.json`.

    Raises:
        LagerError: with nothing left behind; see `lager_onnx.models.errors` for the kinds.
    """
    parsed_scale, prompt_template = Scale.parse(scale), Template.load(template)
    if target == "cuda" and precision in ("int8", "int4"):
        raise ExportError(f"precision {precision} is for the CPU: choose bf16 or fp16 for --target cuda")
    failed = foreign_errors(ExportError, f"cannot export {checkpoint}")
    with failed, new_folder(Path(judge_dir), overwrite=overwrite) as folder:
        with step(f"Load {checkpoint}"):
            loaded = load_checkpoint(str(checkpoint), revision=revision, trust_remote_code=trust_remote_code)
        spec = describe(loaded, parsed_scale, prompt_template, lens, layers, answer_prefix)
        scratch = folder.parent
        with step(f"Trace {loaded.architecture}, {spec.num_layers} layers, with optimum"):
            graph = trace(loaded.model, spec.score_token_ids, scratch)
        with step("Rewrite the graph: score head, fusions"):
            rewrite(graph, spec, loaded)
        float32 = folder if precision == "fp32" else scratch / "float32"
        with step("Write the judge" if precision == "fp32" else "Write the float32 judge"):
            write_graph(graph, float32)
        if verify_judge:
            spec = replace(spec, parity=_verify(float32, spec, loaded))
        if precision != "fp32":
            spec = replace(spec, precision=precision, arithmetic=precision if target == "cuda" else "fp32")
            spec = _reduce(graph, spec, loaded, float32, folder, verify_judge=verify_judge)
        del graph
        (scratch / "traced.onnx").unlink()
        spec = write_rest(folder, spec, loaded.backend.to_str(), loaded.config)
        size = folder_size(folder)
    logger.info("%s: %.0f MB, %s, scale %s, lens %s", judge_dir, size / 1e6, precision, parsed_scale, lens)
    return spec


def _reduce(
    graph: ir.Model, spec: JudgeSpec, checkpoint: Checkpoint, float32: Path, folder: Path, *, verify_judge: bool
) -> JudgeSpec:
    """Writes the judge in fewer bits than float32, and holds it against what the float32 one in `float32` says."""
    prompts = sample_prompts(spec, checkpoint.backend, built_in_records("comparison"))
    scratch = float32.parent
    expected, some = grade(float32, prompts), slice(None, None, max(1, len(prompts) // _PRODUCT_PROMPTS))
    products: list[Product] = []
    if spec.precision in DTYPES:
        narrow(graph, spec)
    else:

        def check(calibration: Calibration) -> None:
            before = Graded(expected.scores[some], expected.layer_logits[some])
            check_unchanged(calibration.grade(prompts[some]), before)

        with step("Quantise: rotate, calibrate, round"):
            text = sample_prompts(spec, checkpoint.backend, built_in_records("calibration"))
            products = quantize(graph, spec, text, scratch / "calibration", check if verify_judge else None)
    with step("Write the judge"):
        write_graph(graph, folder)
    if spec.arithmetic == "bf16":  # onnxruntime has no such attention for a CPU
        logger.warning("    products in bf16 run on CUDA only: of this judge, its float32 form alone could be verified")
        return spec
    if verify_judge and products:
        with step("Verify every product against float32 weights"):
            check_products(folder, spec, products, prompts[some], scratch / "products")
    if verify_judge and not products:
        round_matrices(checkpoint.model, _TORCH_DTYPES[spec.precision])
        spec = replace(spec, parity=_verify(folder, spec, checkpoint))
    got = grade(folder, prompts, int8=spec.precision == "int8")
    found = compare(got.scores, expected.scores, spec.scale.width)
    logger.info(
        "    agreement with float32 on %d built-in prompts: score %.2f%% of the scale apart, Spearman %.4f",
        found.prompts, 100 * found.score, found.spearman or 0,
    )  # fmt: skip
    if verify_judge:
        check_agreement(found, spec)
    return replace(spec, agreement=found)


def _verify(folder: Path, spec: JudgeSpec, checkpoint: Checkpoint) -> Parity:
    texts = sample_prompts(spec, checkpoint.backend, _SAMPLES)
    batches = sample_batches(checkpoint.config, spec.context_length, texts)
    with step("Verify against PyTorch, layer by layer"):
        parity = verify(folder, spec, checkpoint.model, batches)
    logger.info(
        "    largest differences over %d prompts of %d to %d tokens: layer_logits %.1e (row %d, relative), "
        "logits %.1e (relative), probabilities %.1e, score %.1e",
        parity.prompts, *parity.lengths, parity.layer_logits, parity.worst_layer, parity.logits, parity.probabilities,
        parity.score,
    )  # fmt: skip
    return parity
