"""Cuts a judge behind its last useful layer: a shallower one, that says the same for less."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.analysis.depth.graph import cut_graph
from lager_onnx.analysis.tuning.calibration_graph import set_calibration
from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import JudgeFolderError, ScaleError, VerificationError
from lager_onnx.models.precisions import PARITY, Precision
from lager_onnx.models.spec import CONFIG_FILE, GRAPH_FILE, TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, JudgeSpec
from lager_onnx.runtime.engines.open import open_judge_engine
from lager_onnx.runtime.folder import check_graph, read_spec, start_checking
from lager_onnx.runtime.graph_file import write_spec
from lager_onnx.runtime.new_folder import link_or_copy, new_folder
from lager_onnx.runtime.session import open_session, run_graph
from lager_onnx.runtime.weights_file import write_graph

# Of a row's largest logit: kernels for one row and for many differ; in 4 bits they round activations otherwise.
_APART: Final[dict[Precision, float]] = {"fp32": 1e-4, "fp16": 1e-4, "bf16": 1e-4, "int8": 1e-3, "int4": 0.1}
_LENGTHS: Final = (1, 17, 120)  # tokens of the prompts on which both judges are compared


def cut(judge_dir: str | Path, target: str | Path, *, depth: int | None = None, overwrite: bool = False) -> JudgeSpec:
    """Writes a judge without the layers above `depth`, and compares it with the whole one; needs no checkpoint.

    Weights of rows that remain stay as they are; where rows with weight are cut off, the others are scaled to the same
    sum, and a calibration, which was of other scores, goes. Of a judge that is cut, "the last layer" is the last that
    is left, behind the final norm; and it writes no feedback.

    Args:
        judge_dir: the judge.
        target: folder to write.
        depth: decoder layers to keep, 1 to L - 1; by default, up to the last that has weight.
        overwrite: replace a judge at `target`.

    Returns:
        What was written to `judge.json`.

    Raises:
        DeviceError: the judge is for CUDA, and CUDA does not run here: the two cannot be compared.
        JudgeFolderError: no judge, or one whose graph is not what the exporter writes.
        ScaleError: there is nothing to cut, or nothing would be left.
        VerificationError: the two judges do not say the same; nothing is kept.
        OutputError: `target` exists already.
    """
    judge_dir, target = Path(judge_dir), Path(target)
    whole = read_spec(judge_dir)
    finish_checking = start_checking(judge_dir, whole)
    depth = _depth(whole, depth)
    kept = [index for index, row in enumerate(whole.rows) if row.layer <= depth]
    weights = _kept_weights(whole, kept)
    same = weights == tuple(whole.layer_weights[index] for index in kept)
    spec = replace(
        whole,
        num_layers=depth,
        layers_cut=whole.layers_cut + whole.num_layers - depth,
        layer_weights=weights,
        writing=None,
    )
    if not same:  # other scores than those that were calibrated and compared with float32's
        origin = f"{whole.weights_origin}; cut behind layer {depth}"
        spec = replace(spec, weights_origin=origin, calibration=None, agreement=None)
    model = ir.load(judge_dir / GRAPH_FILE)
    finish_checking()
    check_graph(whole, model.metadata_props, judge_dir)
    set_calibration(model, spec.calibration, spec.scale.values)
    with new_folder(target, overwrite=overwrite) as folder:
        cut_graph(model, depth, len(kept))
        write_graph(model, folder)
        for name in (TOKENIZER_FILE, TOKENIZER_CONFIG_FILE):
            if (judge_dir / name).exists():
                link_or_copy(judge_dir / name, folder / name)
        (folder / CONFIG_FILE).write_text(_config(judge_dir / CONFIG_FILE, depth), encoding="utf-8")
        spec = write_spec(folder, spec)
        _compare(judge_dir, folder, kept, spec)
    return spec


def _depth(spec: JudgeSpec, wanted: int | None) -> int:
    weighted = [row.layer for row, weight in zip(spec.rows, spec.layer_weights, strict=True) if weight]
    depth = max(weighted) if wanted is None else wanted
    if 1 <= depth < spec.num_layers:
        return depth
    whole = spec.num_layers
    if wanted is None:
        raise ScaleError(
            f"the judge's weights reach up to layer {depth} of {whole}",
            Cure(
                command="say by --depth how many layers to keep, or tune it first",
                python="say by depth= how many layers to keep, or tune it first",
            ),
        )
    raise ScaleError(f"a depth of {depth}: of this judge's {whole} layers, 1 to {whole - 1} can be kept")


def _kept_weights(spec: JudgeSpec, kept: list[int]) -> tuple[float, ...]:
    left = [spec.layer_weights[index] for index in kept]
    if not any(left):
        raise ScaleError("no row with weight would be left: keep more layers, or tune the judge first")
    lost = any(weight for index, weight in enumerate(spec.layer_weights) if index not in kept)
    scale = math.fsum(spec.layer_weights) / math.fsum(left) if lost else 1.0
    return tuple(weight * scale for weight in left)


def _compare(whole: Path, folder: Path, kept: list[int], spec: JudgeSpec) -> None:
    """Holds the layer logits of the new judge against those of the whole one."""
    random = np.random.default_rng(0)
    prompts = [random.integers(0, spec.vocabulary, min(length, spec.context_length)).tolist() for length in _LENGTHS]
    expected, got = (_layer_logits(each, prompts, spec) for each in (whole, folder))
    apart = np.abs(got - expected[:, kept]).max(axis=(0, 2)) / np.abs(expected[:, kept]).max(axis=(0, 2))
    # Written so that a NaN fails.
    allowed = _APART[spec.precision] if spec.arithmetic == "fp32" else PARITY[spec.arithmetic].layer_logits
    if not (apart <= allowed).all():
        raise VerificationError(
            f"the judge that was cut says something else: layer logits of {spec.rows[int(apart.argmax())]} are "
            f"{apart.max():.1e} of the largest apart (allowed {allowed:.0e}). Nothing was kept"
        )


def _layer_logits(judge: Path, prompts: list[list[int]], spec: JudgeSpec) -> npt.NDArray[np.float32]:
    if spec.arithmetic == "fp32":
        session = open_session(judge / GRAPH_FILE, device="cpu", precision=spec.precision).session
        return run_graph(session, prompts)["layer_logits"]
    engine = open_judge_engine(judge, spec, device="auto", threads=None, max_memory=None)
    found = np.stack([outputs["layer_logits"] for outputs in engine.submit(prompts) if outputs])
    engine.close()
    return found


def _config(path: Path, depth: int) -> str:
    """The checkpoint's configuration, for as many layers as are left."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise JudgeFolderError(f"{path} cannot be read ({error}): export the judge again") from error
    for part in (config, config.get("text_config")):
        if isinstance(part, dict) and "num_hidden_layers" in part:
            part["num_hidden_layers"] = depth
    return json.dumps(config, indent=2) + os.linesep
