"""Cuts a judge."""

from pathlib import Path

import click

from lager_onnx.commands.options import JUDGE_DIR, PATH


@click.command()
@JUDGE_DIR
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the shallower judge.")
@click.option(
    "--depth",
    type=click.IntRange(min=1),
    help="Decoder layers to keep; by default, up to the last that has weight.",
)
@click.option("--overwrite", is_flag=True, help="Replace a judge that is at OUTPUT already.")
def cut(judge_dir: Path, output: Path, depth: int | None, overwrite: bool) -> None:
    """Cut off the upper layers of the judge in JUDGE_DIR, those whose rows have no weight.

    Grading costs less by the layers that are cut off, and the score is the same as before: the two judges are compared,
    and nothing is kept where they differ. With --depth, rows above lose their weight. Neither checkpoint nor PyTorch is
    needed. The last layer that is left takes the place of the last one in the baselines vanilla and expectation.

    \b
    Examples:
        lager cut judges/tuned -o judges/shallow
        lager cut judges/smollm2 --depth 25 -o judges/smollm2-25
    """
    from lager_onnx.analysis.depth.cut import cut as cut_judge  # noqa: PLC0415
    from lager_onnx.runtime.files import shown  # noqa: PLC0415

    spec = cut_judge(judge_dir, output, depth=depth, overwrite=overwrite)
    size = sum(file.stat().st_size for file in output.iterdir())
    click.echo(f"{shown(output)}: {spec.describe_layers()}, {size / 1e6:.0f} MB", err=True)
