"""Grades a file."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from lager_onnx.commands.options import CRITERION, DROP_UNNAMED, JUDGE_DIR, PATH, reads_records, reasons, runs_judge


@click.command()
@JUDGE_DIR
@click.argument("input", metavar="INPUT")
@click.option(
    "-o", "--output", type=PATH, help="JSON lines, a name such as scores.jsonl; - or nothing for standard output."
)
@reads_records("input")
@CRITERION
@click.option("--details", is_flag=True, help="Add the baselines, the logits of every layer and the token count.")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    help="A record that cannot be graded stops the run, or becomes a row with the field error.",
)
@click.option("--resume", is_flag=True, help="Go on after the rows that OUTPUT holds already.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT.")
@click.option("--field-prefix", default="", help="Leads the names of the fields that are added.")
@click.option(
    "--batch-tokens",
    type=click.IntRange(min=1),
    help="Most tokens in a batch, padding included; sixteen batches are read ahead. By default 4096, on a GPU what its "
    "memory allows.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="ray: on many machines; OUTPUT is then a folder, INPUT a file or a folder of them.",
)
@click.option("--address", help="Of a Ray cluster, such as ray://head:10001; by default, one on this machine.")
@click.option(
    "--actors",
    type=click.IntRange(min=1),
    help="Judges that Ray runs, with --threads cores (1 by default) or a GPU each; by default as many as fit.",
)
@click.option(
    "--part-rows", type=click.IntRange(min=1), default=10_000, help="Rows of a part, which one of Ray's judges grades."
)
@reasons
@DROP_UNNAMED
@runs_judge
def score(
    judge_dir: Path,
    source: Any,
    output: Path | None,
    resume: bool,
    overwrite: bool,
    engine: str,
    address: str | None,
    actors: int | None,
    part_rows: int,
    running: dict[str, Any],
    reasoning: Any,
    drop_unnamed: bool,
    **options: Any,
) -> None:
    """Grade the records in INPUT with the judge in JUDGE_DIR.

    INPUT is a file of JSON lines, JSON, CSV or Parquet, perhaps packed by gzip, or - for standard input. A record has
    an instruction and a response, and optionally a criterion or a rubric, a reference, a context; or a finished prompt;
    or chat messages, or Alpaca's fields. All its fields are carried through; score and probabilities are added.

    \b
    Examples:
        lager score judges/smollm2 records.jsonl -o scores.jsonl
        lager score judges/smollm2 records.csv --criterion coherence --details > scores.jsonl
        lager score judges/smollm2 answers.parquet --field instruction=question --field response=answer -o scores.jsonl
        echo '{"instruction": "Name a prime.", "response": "7"}' | lager score judges/smollm2 -
        lager score judges/writing records.jsonl --reasoning -o scores.jsonl
        lager score judges/smollm2 millions/ -o graded --engine ray --threads 4 --on-error skip
    """
    from lager_onnx.runtime.file_names import check_name  # noqa: PLC0415
    from lager_onnx.runtime.files import check_output  # noqa: PLC0415
    from lager_onnx.runtime.jobs.results import ResultFile  # noqa: PLC0415
    from lager_onnx.runtime.jobs.score import Options, grade_rows  # noqa: PLC0415
    from lager_onnx.runtime.judge import Judge  # noqa: PLC0415
    from lager_onnx.runtime.records import at_least_one, read_rows  # noqa: PLC0415
    from lager_onnx.runtime.records.count import count_rows  # noqa: PLC0415

    if output is not None and str(output) == "-":
        output = None
    if resume and overwrite:
        raise click.UsageError("--resume keeps what --overwrite replaces: choose one")
    if resume and not output:
        raise click.UsageError("--resume needs the file to go on with: add -o OUTPUT")
    check_name(output, "JSON lines")
    chosen = Options(**options, fields=source.fields)
    if engine == "ray" and reasoning:
        raise click.UsageError("--reasoning is for one machine: choose --engine local")
    if engine == "ray":
        from lager_onnx.integrations.ray import Cluster, score_on_ray  # noqa: PLC0415

        if output is None or overwrite:
            raise click.UsageError("--engine ray writes a folder that is new, or --resume goes on: add -o OUTPUT")
        cluster = Cluster(address=address, actors=actors, **running)
        count = score_on_ray(judge_dir, source, output, chosen, cluster, rows=part_rows, resume=resume)
        click.echo(f"{output}: {count} rows graded", err=True)
        return
    check_output(output, source.path)
    rows = read_rows(source)
    judge = Judge.load(judge_dir, **running).with_reasoning(reasoning and replace(reasoning, drop=drop_unnamed))
    rows = rows if resume else at_least_one(rows, source)  # after the judge: standard input may come late
    with ResultFile(output, resume=resume, overwrite=overwrite) as results:
        total = count_rows(source) if sys.stderr.isatty() else None  # elsewhere no bar is shown
        summary = grade_rows(judge, rows, results, chosen, total=total)
    click.echo(summary.describe(judge.provider), err=True)
