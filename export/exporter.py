"""Checkpoint to judge folder."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Final, get_args

import onnx_ir as ir

from lager_onnx.export.calibrate.largest import run_and_watch
from lager_onnx.export.calibrate.sample_prompts import built_in_records, sample_prompts
from lager_onnx.export.calibrate.sweep import Sweep
from lager_onnx.export.classifier import write_classifier_files
from lager_onnx.export.describe import describe
from lager_onnx.export.lower.lower import lower
from lager_onnx.export.lower.weight_precision import DTYPES
from lager_onnx.export.quantize.quantize import quantize
from lager_onnx.export.rewrite import rewrite
from lager_onnx.export.room import check_room, room_needed
from lager_onnx.export.sources.open import open_source
from lager_onnx.export.sources.source import Source
from lager_onnx.export.steps import foreign_errors, step
from lager_onnx.export.verify.agreement import check_agreement, check_file, check_unchanged, compare
from lager_onnx.export.verify.angles import check_angles
from lager_onnx.export.verify.parity import check_parity, grade_file, random_prompts
from lager_onnx.export.verify.products import Product, grade_and_check
from lager_onnx.models.errors import ExportError
from lager_onnx.models.layers import LENSES, Lens
from lager_onnx.models.precisions import CUDA_ARITHMETIC, PRECISIONS, Precision
from lager_onnx.models.scale import Scale
from lager_onnx.models.spec import TOKENIZER_FILE, JudgeSpec, Parity, Target
from lager_onnx.models.template import Template
from lager_onnx.runtime.graph_file import write_spec
from lager_onnx.runtime.new_folder import new_folder
from lager_onnx.runtime.weights_file import WeightsFile, write_graph

logger = logging.getLogger(__name__)

_UNCHANGED_PROMPTS: Final = 12  # on which preparing weights for rounding must change nothing

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
    precision: Precision | None = None,
    target: Target = "cpu",
    verify_judge: bool = True,
    overwrite: bool = False,
    revision: str | None = None,
    trust_remote_code: bool = False,
    max_memory: int | None = None,
    reasoning: bool = False,
) -> JudgeSpec:
    """Exports a judge: one ONNX model that gives LAGER scores, with all that scoring needs beside it.

    Args:
        checkpoint: directory in Hugging Face format, `.gguf` file, hub id, or `.onnx` file that optimum wrote.
        judge_dir: folder to write; it appears only when everything went well.
        scale: "1-5", "1,3,5" or "bad=0,ok=1,good=2"; every label must be one token after the answer prefix.
        lens: which rows get weight before tuning: "raw", the residual stream as it is, or "norm", behind the final norm
            (the logit lens). A judge holds both.
        layers: those of it that do: "all", "upper-half" or a list such as "0,12-20,-1".
        template: name of a built-in template, or a text file with named fields.
        answer_prefix: how the judge's answer begins.
        precision: how the body's weights are stored; arithmetic and the head are float32. With int8 and int4 the
            body's matrix products are in 8 bits too, and the agreement with float32 is measured and stored. None for
            fp32, or for bf16 with target "cuda".
        target: "cpu" for arithmetic in float32; "cuda" for a judge in bf16, fp16 or int4 that multiplies in 16 bits,
            and adds in float32.
        verify_judge: compare the judge with PyTorch, and what it is in fewer bits with float32; keep it only if they
            agree.
        overwrite: replace a judge that is there already.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run the Python code that ships with the checkpoint.
        max_memory: bytes of memory that the process may hold of its own; an export that needs more is refused. By
            default, what is free.
        reasoning: let the judge write feedback before it grades; its grades without are the same to the bit.

    Returns:
        What was written to `judge.json`.

    Raises:
        LagerError: with nothing left behind; see `lager_onnx.models.errors` for the kinds.
    """
    parsed_scale, prompt_template = Scale.parse(scale), Template.load(template)
    for name, value, choices in (
        ("lens", lens, LENSES), ("target", target, get_args(Target)), ("precision", precision, (*PRECISIONS, None))
    ):  # fmt: skip
        if value not in choices:
            raise ExportError(f"{name} = {value!r}; it must be {', '.join(str(choice) for choice in choices)}")
    precision = precision or ("bf16" if target == "cuda" else "fp32")
    if target == "cuda" and precision not in CUDA_ARITHMETIC:
        raise ExportError(f"precision {precision} is for the CPU: choose bf16, fp16 or int4 for CUDA")
    if reasoning and target == "cuda":
        raise ExportError("reasoning is for the CPU: a judge for CUDA does not keep what it has read")
    failed = foreign_errors(ExportError, f"cannot export {checkpoint}")
    with failed, new_folder(Path(judge_dir), overwrite=overwrite) as folder:
        with step(f"Load {checkpoint}"):
            loaded = open_source(str(checkpoint), revision=revision, trust_remote_code=trust_remote_code)
        room = room_needed(loaded, precision)
        logger.info(
            "    %s: about %.1f GB on disk, %.1f GB of memory", loaded.architecture, room.disk / 1e9, room.memory / 1e9
        )
        check_room(room, Path(judge_dir), max_memory)
        spec = describe(loaded, parsed_scale, prompt_template, lens, layers, answer_prefix, writes=reasoning)
        check_angles(loaded, spec)
        scratch = folder.parent
        with step(f"Read the graph of {loaded.architecture}, {spec.num_layers} layers"):
            graph = loaded.graph(spec.score_token_ids, scratch)
        with step("Rewrite the graph: score head, fusions"):
            rewrite(graph, spec, loaded)
        if precision == "fp32":
            spec = _write_float32(graph, spec, loaded, folder, verify_judge=verify_judge)
        else:
            arithmetic = CUDA_ARITHMETIC[precision] if target == "cuda" else "fp32"
            spec = replace(spec, precision=precision, arithmetic=arithmetic)
            spec = _write_smaller(graph, spec, loaded, folder, verify_judge=verify_judge)
        (folder / TOKENIZER_FILE).write_text(loaded.backend.to_str(), encoding="utf-8")
        write_classifier_files(folder, spec, json.loads(loaded.config_json()), loaded.backend)
        spec = write_spec(folder, spec)
        size = sum(file.stat().st_size for file in folder.iterdir())
    logger.info("%s: %.0f MB, %s, scale %s", judge_dir, size / 1e6, precision, parsed_scale)
    return spec


def _write_float32(graph: ir.Model, spec: JudgeSpec, source: Source, folder: Path, *, verify_judge: bool) -> JudgeSpec:
    lower(graph, spec)
    with step("Write the judge"):
        write_graph(graph, folder)
    return replace(spec, parity=_verify_file(folder, spec, source)) if verify_judge else spec


def _write_smaller(graph: ir.Model, spec: JudgeSpec, source: Source, folder: Path, *, verify_judge: bool) -> JudgeSpec:
    """Writes the judge in fewer bits than float32, and holds it against what its float32 form says."""
    prompts = sample_prompts(spec, source.backend, built_in_records("comparison"))
    samples = _sample_prompts(spec, source) if verify_judge else []
    with step("Read built-in prompts in float32"):
        sweep = Sweep(graph, [*samples, *prompts])
        largest: dict[str, float] = {}
        if spec.arithmetic == "fp16":  # nothing else can overflow
            largest = run_and_watch(sweep, "read")
        else:
            sweep.run_all("read")
        outputs = sweep.outputs(sweep.prompts)
    said, expected = ({name: array[part] for name, array in outputs.items()} for part in _parts(len(samples)))
    if verify_judge:
        with step(f"Verify the float32 form against {source.oracle}, layer by layer"):
            lengths = [len(prompt) for prompt in samples]
            in_float32 = replace(spec, precision="fp32", arithmetic="fp32")
            layer_logits = source.layer_logits(samples, spec)
            spec = replace(spec, parity=check_parity(said, layer_logits, in_float32, lengths, source))
    products: list[Product] = []
    if spec.precision in DTYPES:
        lower(graph, spec, largest)
        with step("Write the judge"):
            write_graph(graph, folder)
    else:
        some = slice(None, None, max(1, len(prompts) // _UNCHANGED_PROMPTS))
        with step("Quantise and write the judge, layer by layer"), WeightsFile(folder) as file:
            text = sample_prompts(spec, source.backend, built_in_records("calibration"))
            products, prepared = quantize(graph, spec, text, prompts[some], file)
            lower(graph, spec)
            file.store_all(graph)
        if verify_judge:
            check_unchanged(prepared, {name: array[some] for name, array in expected.items()})
    if verify_judge and not products:
        spec = replace(spec, parity=_verify_file(folder, spec, source))
    with step("Compare with float32, layer by layer"):
        got = grade_and_check(folder, spec, products if verify_judge else [], prompts)
    found = compare(got["score"], expected["score"], spec.scale.width)
    logger.info(
        "    agreement with float32 on %d built-in prompts: score %.2f%% of the scale apart, Spearman %.4f",
        found.prompts, 100 * found.score, found.spearman or 0,
    )  # fmt: skip
    if verify_judge:
        check_agreement(found, spec)
        if products:
            with step("Run the judge as it was written"):
                check_file(folder, spec, prompts, got)
    return replace(spec, agreement=found)


def _parts(count: int) -> tuple[slice, slice]:
    return slice(None, count), slice(count, None)


def _sample_prompts(spec: JudgeSpec, source: Source) -> list[list[int]]:
    """Random ids and real text, on which a judge is compared with PyTorch."""
    texts = sample_prompts(spec, source.backend, _SAMPLES)
    return [*random_prompts(source.config, spec.context_length), *texts]


def _verify_file(folder: Path, spec: JudgeSpec, source: Source) -> Parity:
    """Compares the judge as it was written with PyTorch, whose matrices are rounded like its own."""
    samples = _sample_prompts(spec, source)
    with step(f"Verify against {source.oracle}, layer by layer"):
        expected = source.layer_logits(samples, spec, spec.precision)
        got, rows = grade_file(folder, spec, samples)
        return check_parity(got, expected[rows], spec, [len(prompt) for prompt in samples], source)
