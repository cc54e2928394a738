"""Compares judges with people."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from lager_onnx.commands.options import (
    CRITERION,
    DATA,
    LABEL,
    ON_ERROR,
    PATH,
    reads_records,
    reasons,
    runs_judge,
)


@click.command()
@click.argument("judge_dirs", metavar="JUDGE_DIR...", nargs=-1, required=True, type=PATH)
@click.argument("labelled", metavar="LABELLED")
@DATA
@LABEL
@click.option(
    "--by",
    default="dataset,criterion",
    help="Fields by whose values the records are split, with commas. A dotted name goes into an object: meta.lang.",
)
@click.option("--templates", help="Compare these prompt templates, with commas: built-in names, or files.")
@click.option("--ablations", is_flag=True, help="Add all combinations of max, expectation, logits and probabilities.")
@click.option("--resamples", type=click.IntRange(min=1), default=1000, help="Of the bootstrap behind the intervals.")
@click.option("--json", "json_file", type=PATH, help="Write the figures as JSON, too.")
@click.option("--csv", "csv_file", type=PATH, help="Write the figures as CSV, too; with tabs if it ends in .tsv.")
@click.option("--html", "html_file", type=PATH, help="Write one HTML page with plots, too.")
@reads_records("labelled")
@CRITERION
@ON_ERROR
@reasons
@runs_judge
def evaluate(
    judge_dirs: tuple[Path, ...],
    source: Any,
    data: Any,
    label: str,
    by: str,
    templates: str | None,
    ablations: bool,
    resamples: int,
    json_file: Path | None,
    csv_file: Path | None,
    html_file: Path | None,
    criterion: str | None,
    on_error: Any,
    running: dict[str, Any],
    reasoning: Any,
) -> None:
    """Compare the judge in JUDGE_DIR with the labels in LABELLED, beside every baseline.

    Figures are correlations (Spearman, Pearson, Kendall's tau-b), mean absolute error, Cohen's kappa with quadratic
    weights, expected calibration error and the number of different scores, with 95% intervals: whole groups of
    records are resampled. "lead" is LAGER's Spearman less the method's, on the same resamples. The best single layer
    is chosen by these very labels and named an oracle. Layer logits are kept in the cache folder.

    With several judges, or --templates, these are compared with each other instead, each by its score alone; "lead" is
    then of the first one.

    GPTScore, the likelihood of the response, is left out: it needs the unembedding at every token.

    \b
    Examples:
        lager evaluate judges/smollm2 labelled.jsonl --by criterion --csv figures.csv
        lager evaluate judges/smollm2 judges/tuned judges/qwen labelled.jsonl
        lager evaluate judges/qwen labelled.jsonl --templates direct,paper,my_prompt.txt
    """
    from lager_onnx.analysis.evaluation import tables  # noqa: PLC0415
    from lager_onnx.analysis.evaluation.evaluate import compare  # noqa: PLC0415
    from lager_onnx.analysis.evaluation.evaluate import evaluate as evaluate_judge  # noqa: PLC0415
    from lager_onnx.analysis.labels.labelled import gradable, labelled_logits, written_feedback  # noqa: PLC0415
    from lager_onnx.analysis.labels.read import read_labelled  # noqa: PLC0415
    from lager_onnx.runtime.file_names import Form, check_name, ending  # noqa: PLC0415
    from lager_onnx.runtime.files import check_output, write_file  # noqa: PLC0415
    from lager_onnx.runtime.judge import Judge  # noqa: PLC0415

    several = len(judge_dirs) > 1 or templates is not None
    if several and (ablations or html_file):
        raise click.UsageError("--ablations and --html show one judge under its own template")
    outputs: dict[Form, Path | None] = {"JSON": json_file, "CSV": csv_file, "HTML": html_file}
    for form, file in outputs.items():
        check_output(file, source.path)
        check_name(file, form)
    fields = _names(by)
    first = Judge.load(judge_dirs[0], **running).with_reasoning(reasoning)
    read = read_labelled(source, first.spec.scale, data=data, field=label, criterion=criterion, on_error=on_error)
    contenders = _contenders(first, judge_dirs, _names(templates or ""), running)
    if on_error == "skip":
        for _, judge in contenders():
            read = gradable(judge, read)
    if several:
        found = compare(contenders(), read, by=fields, resamples=resamples)
    else:
        found = evaluate_judge(first, read, by=fields, ablations=ablations, resamples=resamples)
    if json_file:
        write_file(json_file, tables.as_json(found), source.path)
    if csv_file:
        delimiter = "\t" if ending(csv_file) == "tsv" else ","
        write_file(csv_file, tables.as_csv(found, delimiter), source.path)
    if html_file:
        from lager_onnx.analysis.pages.evaluation import evaluation_page  # noqa: PLC0415

        page = evaluation_page(first.spec, read.rows, labelled_logits(first, read.rows), found)
        write_file(html_file, page, source.path)
    click.echo(tables.as_text(found))
    if not several and (feedback := written_feedback(first, read.rows)):
        click.echo(f"what the judge wrote: {feedback}", err=True)
    if read.left_out:
        click.echo(read.describe("command"), err=True)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _contenders(
    first: Any, judge_dirs: tuple[Path, ...], templates: list[str], running: dict[str, Any]
) -> Callable[[], Iterator[tuple[str, Any]]]:
    """Judges under templates with their names, one after another, so that one is in memory at a time."""
    names = {folder: folder.name for folder in judge_dirs}
    if len(set(names.values())) < len(names):
        names = {folder: str(folder) for folder in judge_dirs}

    def contenders() -> Iterator[tuple[str, Any]]:
        for number, folder in enumerate(judge_dirs):
            judge = first if number == 0 else type(first).load(folder, **running).with_reasoning(first.reasoning)
            if not templates:
                yield names[folder], judge
            for template in templates:
                yield f"{names[folder]}, {template}", judge.with_template(template)

    return contenders
