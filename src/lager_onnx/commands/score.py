"""Grades a file."""

from pathlib import Path
from typing import Any

import click

from lager_onnx.commands.options import CRITERION, JUDGE_DIR, PATH, reads_records, runs_judge


@click.command()
@JUDGE_DIR
@click.argument("input", metavar="INPUT")
@click.option("-o", "--output", type=PATH, help="JSON lines; standard output by default.")
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
    default=4096,
    help="Most tokens in a batch, padding included; eight batches are read ahead.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="ray: on many machines; OUTPUT is then a folder.",
)
@click.option("--address", help="Of a Ray cluster, such as ray://head:10001; by default, one on this machine.")
@click.option(
    "--actors", type=click.IntRange(min=1), help="Judges that Ray runs, with --threads cores each (or a GPU)."
)
@click.option("--part-rows", type=click.IntRange(min=1), default=10_000, help="Rows that Ray hands to a judge at once.")
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
        lager score judges/smollm2 millions/ -o graded --engine ray --threads 4 --on-error skip
    """
    from lager_onnx.runtime.files import check_output  # noqa: PLC0415
    from lager_onnx.runtime.jobs.results import ResultFile  # noqa: PLC0415
    from lager_onnx.runtime.jobs.score import Options, grade_rows  # noqa: PLC0415
    from lager_onnx.runtime.judge import Judge  # noqa: PLC0415
    from lager_onnx.runtime.records import read_rows  # noqa: PLC0415

    if resume and overwrite:
        raise click.UsageError("--resume keeps what --overwrite replaces: choose one")
    if resume and not output:
        raise click.UsageError("--resume needs the file to go on with: add -o OUTPUT")
    if engine == "ray":
        _score_on_ray(
            judge_dir,
            source,
            output,
            Options(**options, fields=source.fields),
            resume,
            running,
            address,
            actors,
            part_rows,
        )
        return
    check_output(output, source.path)
    rows = read_rows(source)
    judge = Judge.load(judge_dir, **running)
    with ResultFile(output, resume=resume, overwrite=overwrite) as results:
        summary = grade_rows(judge, rows, results, Options(**options, fields=source.fields))
    click.echo(summary.describe(judge.provider), err=True)


def _score_on_ray(
    judge_dir: Path,
    source: Any,
    output: Path | None,
    options: Any,
    resume: bool,
    running: dict[str, Any],
    address: str | None,
    actors: int | None,
    part_rows: int,
) -> None:
    from lager_onnx.integrations.ray import Cluster, score_on_ray  # noqa: PLC0415

    if output is None:
        raise click.UsageError("--engine ray writes a folder: add -o OUTPUT")
    device = "cuda" if running["device"] == "cuda" else "cpu"
    cluster = Cluster(address, actors, running["threads"] or 1, device)
    rows = score_on_ray(judge_dir, source, output, options, cluster, rows=part_rows, resume=resume)
    click.echo(f"{output}: {rows} rows graded", err=True)
