"""Checkpoint to judge."""

from pathlib import Path
from typing import Any

import click

from lager_onnx.commands.options import MEMORY, PATH
from lager_onnx.extras import ONNX_EXTRA, missing_package


@click.command()
@click.argument("checkpoint")
@click.argument("judge_dir", type=PATH)
@click.option(
    "--scale", default="1-5", help="Range (1-5, 1-9), list (1,3,5) or labels with values (bad=0,ok=1,good=2)."
)
@click.option(
    "--lens",
    type=click.Choice(["raw", "norm"]),
    default="raw",
    help="Which rows get weight before tuning: raw, every layer as it is, as the paper does; or norm, behind the final "
    "norm (logit lens). A judge holds both.",
)
@click.option("--layers", default="all", help="Layers that get weight: all, upper-half, or a list such as 0,12-20,-1.")
@click.option(
    "--template",
    default="direct",
    help="Prompt template: direct, paper (the criterion before the format), reasoning (behind a record's feedback), "
    "brief, or a text file with {named} fields.",
)
@click.option("--answer-prefix", default="score: ", help="How the judge's answer begins; the next token is the score.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "bf16", "int8", "int4"]),
    help="fp32 (the default), fp16, bf16 (the default with --target cuda): how the body's weights are stored; "
    "arithmetic is float32. int8: weights and activations in 8 bits, more than twice as fast on a CPU, with scores "
    "that differ a little. int4: weights in blocks of 4 bits, a fifth of the size, for machines short of memory.",
)
@click.option(
    "--target",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    help="cuda: for a GPU; the judge (bf16, fp16, int4) multiplies in 16 bits and adds in float32. cpu: float32.",
)
@click.option(
    "--reasoning",
    is_flag=True,
    help="Let the judge write feedback before it grades (lager score --reasoning); best with --template reasoning. Its "
    "other grades stay the same to the bit.",
)
@click.option("--no-verify", is_flag=True, help="Do not compare the judge with PyTorch and float32; keep it.")
@click.option(
    "--max-memory",
    type=MEMORY,
    help="Memory that the export may hold of its own, such as 8GB; one that needs more is refused before it starts. By "
    "default, what is free.",
)
@click.option("--overwrite", is_flag=True, help="Replace a judge that is there already.")
@click.option("--revision", help="Branch, tag or commit of a hub id.")
@click.option("--trust-remote-code", is_flag=True, help="Run the Python code that ships with the checkpoint.")
def export(checkpoint: str, judge_dir: Path, no_verify: bool, **options: Any) -> None:
    """Export CHECKPOINT as a judge into the new folder JUDGE_DIR.

    CHECKPOINT is a directory in Hugging Face format, a .gguf file or a hub id; or an .onnx file that optimum wrote, for
    which the extra [onnx] is enough. The judge is compared layer by layer with PyTorch, or with the ONNX file as it was
    given, and nothing is kept of one that disagrees.

    \b
    Examples:
        lager export ./my-checkpoint judges/mine
        lager export model.Q8_0.gguf judges/mine --scale 1-9
        lager export decoder/model.onnx judges/mine --precision int8
        lager export Qwen/Qwen2.5-7B-Instruct judges/qwen --precision bf16 --layers upper-half
    """
    try:
        from lager_onnx.export.exporter import export_judge  # noqa: PLC0415
    except ImportError as error:
        missing = missing_package(error, "export", extra=ONNX_EXTRA if checkpoint.endswith(".onnx") else "")
        if missing is None:
            raise
        raise missing from error
    export_judge(checkpoint, judge_dir, verify_judge=not no_verify, **options)
