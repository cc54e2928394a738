"""Compares a judge with people."""

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
    runs_judge,
)


@click.command()
@JUDGE_DIR
@click.argument("labelled", metavar="LABELLED")
@DATA
@LABEL
@click.option("--by", default="dataset,criterion", help="Fields by whose values the records are split, with commas.")
@click.option("--ablations", is_flag=True, help="Add all combinations of max, expectation, logits and probabilities.")
@click.option("--resamples", type=click.IntRange(min=1), default=1000, help="Of the bootstrap behind the intervals.")
@click.option("--json", "json_file", type=PATH, help="Write the figures as JSON, too.")
@click.option("--csv", "csv_file", type=PATH, help="Write the figures as CSV, too.")
@click.option("--html", "html_file", type=PATH, help="Write one HTML page with plots, too.")
@reads_records("labelled")
@CRITERION
@ON_ERROR
@runs_judge
def evaluate(
    judge_dir: Path,
    source: Any,
    data: Any,
    label: str,
    by: str,
    ablations: bool,
    resamples: int,
    json_file: Path | None,
    csv_file: Path | None,
    html_file: Path | None,
    criterion: str | None,
    on_error: Any,
    running: dict[str, Any],
) -> None:
    """Compare the judge in JUDGE_DIR with the labels in LABELLED, beside every baseline.

    Figures are correlations (Spearman, Pearson, Kendall's tau-b), mean absolute error, Cohen's kappa with quadratic
    weights, expected calibration error and the number of different scores, with 95% intervals: whole groups of
    records are resampled. "lead" is LAGER's Spearman less the method's, on the same resamples. The best single layer
    is chosen by these very labels and named an oracle. Layer logits are kept in the cache folder.

    GPTScore, the likelihood of the response, is left out: a judge holds no unembedding but the score tokens' rows.

    \b
    Example:
        lager evaluate judges/smollm2 labelled.jsonl --by criterion --csv figures.csv
    """
    import numpy as np  # noqa: PLC0415

    from lager_onnx.analysis.evaluation import tables  # noqa: PLC0415
    from lager_onnx.analysis.evaluation.evaluate import evaluate as compare  # noqa: PLC0415
    from lager_onnx.analysis.labels.labelled import gradable, labelled_logits  # noqa: PLC0415
    from lager_onnx.analysis.labels.read import read_labelled  # noqa: PLC0415
    from lager_onnx.runtime.files import check_output, write_file  # noqa: PLC0415
    from lager_onnx.runtime.judge import Judge  # noqa: PLC0415

    for file in (json_file, csv_file, html_file):
        check_output(file, source.path)
    judge = Judge.load(judge_dir, **running)
    read = read_labelled(source, judge.spec.scale, data=data, field=label, criterion=criterion, on_error=on_error)
    if on_error == "skip":
        read = gradable(judge, read)
    rows = read.rows
    fields = [field.strip() for field in by.split(",") if field.strip()]
    parts = {field: [str(row.record.get(field, "")) for row in rows] for field in fields}
    graded = labelled_logits(judge, rows)
    found = compare(
        graded, [row.group for row in rows], np.asarray(judge.spec.layer_weights), parts,
        ablations=ablations, resamples=resamples,
    )  # fmt: skip
    for file, written in ((json_file, tables.as_json), (csv_file, tables.as_csv)):
        if file:
            write_file(file, written(found), source.path)
    if html_file:
        from lager_onnx.analysis.pages.evaluation import evaluation_page  # noqa: PLC0415

        write_file(html_file, evaluation_page(judge.spec, rows, graded, found), source.path)
    click.echo(tables.as_text(found))
    if read.left_out:
        click.echo(read.describe(), err=True)
