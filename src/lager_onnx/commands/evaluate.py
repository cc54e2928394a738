"""Compares a judge with people."""

from pathlib import Path
from typing import Any

import click

from lager_onnx.commands.options import CRITERION, DATA, DEVICE, FORMAT, JUDGE_DIR, LABEL, THREADS


@click.command()
@JUDGE_DIR
@click.argument("labelled", metavar="LABELLED")
@DATA
@LABEL
@click.option("--by", default="dataset,criterion", help="Fields by whose values the records are split, with commas.")
@click.option("--ablations", is_flag=True, help="Add all combinations of max, expectation, logits and probabilities.")
@click.option("--resamples", type=click.IntRange(min=1), default=1000, help="Of the bootstrap behind the intervals.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures as JSON, too.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write the figures as CSV, too.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write one HTML page with plots, too.")
@FORMAT
@CRITERION
@DEVICE
@THREADS
def evaluate(
    judge_dir: Path,
    labelled: str,
    data: Any,
    label: str,
    by: str,
    ablations: bool,
    resamples: int,
    json_file: Path | None,
    csv_file: Path | None,
    html_file: Path | None,
    format_: Any,
    criterion: str | None,
    device: Any,
    threads: int | None,
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
    try:
        from lager_onnx.runtime.evaluation import tables  # noqa: PLC0415
        from lager_onnx.runtime.evaluation.evaluate import evaluate as compare  # noqa: PLC0415
    except ImportError as error:
        raise click.UsageError(f"evaluating needs more packages ({error}): pip install 'lager-onnx[tune]'") from error
    import numpy as np  # noqa: PLC0415

    from lager_onnx.runtime.judge import Judge  # noqa: PLC0415
    from lager_onnx.runtime.labels.labelled import labelled_logits  # noqa: PLC0415
    from lager_onnx.runtime.labels.read import read_labelled  # noqa: PLC0415

    judge = Judge.load(judge_dir, device=device, threads=threads)
    rows = read_labelled(labelled, judge.spec.scale, data=data, field=label, format_=format_, criterion=criterion)
    fields = [field.strip() for field in by.split(",") if field.strip()]
    parts = {field: [str(row.record.get(field, "")) for row in rows] for field in fields}
    graded = labelled_logits(judge, rows)
    found = compare(
        graded, [row.group for row in rows], np.asarray(judge.spec.layer_weights), parts,
        ablations=ablations, resamples=resamples,
    )  # fmt: skip
    for file, written in ((json_file, tables.as_json), (csv_file, tables.as_csv)):
        if file:
            file.write_text(written(found), encoding="utf-8")
    if html_file:
        from lager_onnx.runtime.evaluation.page import evaluation_page  # noqa: PLC0415

        html_file.write_text(evaluation_page(judge.spec, rows, graded, found), encoding="utf-8")
    click.echo(tables.as_text(found))
