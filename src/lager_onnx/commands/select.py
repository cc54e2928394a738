"""Keeps the best of a set of records."""

from pathlib import Path
from typing import Any

import click

from lager_onnx.commands.options import JUDGE_DIR, PATH, reads_records, runs_judge
from lager_onnx.models.criteria import SELECTION_CRITERIA


@click.command()
@JUDGE_DIR
@click.argument("records", metavar="RECORDS")
@click.option(
    "-o", "--output", type=PATH, required=True, help="JSON lines, a name such as best.jsonl: the records kept."
)
@click.option("--keep", default="10%", help="Share or number of records to keep.")
@click.option(
    "--criteria", default=",".join(SELECTION_CRITERIA), help="Built-in criteria, with commas; the paper's seven."
)
@click.option("--on-error", type=click.Choice(["stop", "skip"]), default="stop", help="skip: leave such records out.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on after the grades of an earlier run; of one that has ended, choose again by another --keep.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT and its grades.")
@reads_records("records")
@runs_judge
def select(
    judge_dir: Path,
    source: Any,
    output: Path,
    keep: str,
    criteria: str,
    on_error: Any,
    resume: bool,
    overwrite: bool,
    running: dict[str, Any],
) -> None:
    """Keep the best of RECORDS, such as an instruction set, by the mean score under several criteria.

    Every grade is written to OUTPUT.grades.jsonl as it comes, so that an interrupted run can go on with --resume. The
    records kept stay in their order; of equal ones the first are kept. Added to each are `scores`, by criterion, and
    `score`, their mean.

    \b
    Example:
        lager select judges/smollm2 instructions.jsonl --keep 10% -o best.jsonl
    """
    from lager_onnx.models.errors import OutputError  # noqa: PLC0415
    from lager_onnx.runtime.file_names import check_name  # noqa: PLC0415
    from lager_onnx.runtime.files import check_output, shown  # noqa: PLC0415
    from lager_onnx.runtime.jobs.results import ResultFile, join  # noqa: PLC0415
    from lager_onnx.runtime.jobs.select import best, grade_under_criteria, how_many  # noqa: PLC0415
    from lager_onnx.runtime.judge import Judge  # noqa: PLC0415
    from lager_onnx.runtime.records import some_rows  # noqa: PLC0415

    check_name(output, "JSON lines")
    grades = output.with_name(output.name + ".grades.jsonl")
    if output.exists() and not overwrite and not (resume and grades.exists()):  # its grades are there: made from them
        hint = f"; there are no grades {shown(grades)} to --resume from" if resume else ", or --resume with its grades"
        raise OutputError(f"{shown(output)} exists already: give another name, or --overwrite to replace it{hint}")
    for file in (output, grades):
        check_output(file, source.path)
    names = [name.strip() for name in criteria.split(",") if name.strip()]
    if not names:
        raise click.UsageError("--criteria names none")
    rows = list(some_rows(source))
    number = how_many(keep, len(rows))
    judge = Judge.load(judge_dir, **running)
    with ResultFile(grades, resume=resume, overwrite=overwrite) as results:
        graded = grade_under_criteria(judge, rows, names, results, on_error=on_error, fields=source.fields)
    chosen = best(graded, number)
    with ResultFile(output, overwrite=overwrite or resume) as kept:
        for each in chosen:
            kept.write(join(each.record, {"score": each.mean, "scores": each.scores}, None))
    failed = sum(each.error is not None for each in graded)
    click.echo(
        f"{shown(output)}: {len(chosen)} of {len(rows)} records"
        + (f", {failed} could not be graded" if failed else ""),
        err=True,
    )
