"""Learns layer weights."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from lager_onnx.commands.options import (
    CRITERION,
    DATA,
    JUDGE_DIR,
    LABEL,
    ON_ERROR,
    PATH,
    reads_records,
    reasons,
    runs_judge,
)


@click.command()
@JUDGE_DIR
@click.argument("labelled", metavar="LABELLED")
@click.option("-o", "--output", type=PATH, help="Folder for the tuned judge; JUDGE_DIR by default.")
@click.option("--overwrite", is_flag=True, help="Replace a judge that is at OUTPUT already.")
@click.option("--dry-run", is_flag=True, help="Estimate what tuning brings, and write nothing.")
@DATA
@LABEL
@click.option(
    "--recipe",
    type=click.Choice(["choose", "regularised", "paper"]),
    default="choose",
    help="choose: among lenses, bands of layers, depths and learned weights, what leads uniform weights on responses "
    "not seen, and uniform ones where nothing can be told from chance. regularised: learned, for the highest "
    "correlation, drawn to uniform weights the more, the fewer labels. paper: Adam, rate 0.01, batches of 4, the last "
    "layer first, cross entropy and squared error.",
)
@click.option(
    "--alpha", type=click.FloatRange(0, 1), help="Share of cross entropy in the loss. [regularised: 0; paper: 0.622]"
)
@click.option(
    "--distance",
    type=click.Choice(["correlation", "mae", "mse"]),
    help="The rest: 1 - Pearson's r, |score - label|, or its square. [regularised: correlation; paper: mse]",
)
@click.option("--epochs", type=click.IntRange(min=1), default=1, help="Passes over the labels, in the paper's recipe.")
@click.option(
    "--calibrate",
    is_flag=True,
    help="Learn, too, what people would say where the judge gives a score: a rising line, straight with few labels. "
    "Ranks stay, errors shrink.",
)
@click.option("--folds", type=click.IntRange(min=2), default=5, help="Of the cross-validation; no response is in two.")
@reads_records("labelled")
@CRITERION
@ON_ERROR
@reasons
@runs_judge
def tune(
    judge_dir: Path,
    source: Any,
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    data: Any,
    label: str,
    recipe: Any,
    criterion: str | None,
    on_error: Any,
    running: dict[str, Any],
    reasoning: Any,
    **options: Any,
) -> None:
    """Learn the layer weights of the judge in JUDGE_DIR from the labels in LABELLED.

    LABELLED holds records as for `lager score`, each with a label. Records of one `group` (or of the same
    instruction and response) belong together. What tuning brings is estimated by cross-validation and printed before
    the weights are written into the judge; its large weights stay as they are. Records are graded once: their layer
    logits are kept in the cache folder, and a second run takes seconds.

    \b
    Examples:
        lager tune judges/smollm2 labelled.jsonl --dry-run
        lager tune judges/smollm2 labelled.jsonl -o judges/smollm2-tuned --label rating --calibrate
    """
    from lager_onnx.models.errors import LabelError  # noqa: PLC0415
    from lager_onnx.runtime.files import shown  # noqa: PLC0415
    from lager_onnx.runtime.judge import Judge  # noqa: PLC0415

    # The judge's checksums take as long as importing SciPy: both at once.
    with ThreadPoolExecutor(max_workers=1) as pool:
        loading = pool.submit(Judge.load, judge_dir, **running)
        from lager_onnx.analysis.labels.labelled import gradable  # noqa: PLC0415
        from lager_onnx.analysis.labels.read import read_labelled  # noqa: PLC0415
        from lager_onnx.analysis.tuning.tune import tune as tune_judge  # noqa: PLC0415

        judge = loading.result().with_reasoning(reasoning)
    read = read_labelled(source, judge.spec.scale, data=data, field=label, criterion=criterion, on_error=on_error)
    if on_error == "skip":
        read = gradable(judge, read)
    try:
        tuned = tune_judge(judge, read, name=shown(Path(source.path).name), recipe_name=recipe, **options)
    except LabelError as error:
        raise error.at(source.name) from error
    click.echo(tuned.describe())
    if read.left_out:
        click.echo(read.describe("command"), err=True)
    if not dry_run:
        tuned.write(judge_dir, output, overwrite=overwrite)
        click.echo(f"{shown(output or judge_dir)}: {tuned.origin}", err=True)
