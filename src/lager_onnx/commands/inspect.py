"""Shows what a judge is, and what its layers say."""

from pathlib import Path
from typing import Any

import click

from lager_onnx.commands.options import CRITERION, DEVICE, FORMAT, JUDGE_DIR, THREADS


@click.command()
@JUDGE_DIR
@click.argument("records", metavar="[RECORDS]", required=False)
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Page to write for RECORDS.")
@click.option("--first", type=click.IntRange(min=1), default=5, help="So many of the records.")
@FORMAT
@CRITERION
@DEVICE
@THREADS
def inspect(
    judge_dir: Path,
    records: str | None,
    html_file: Path | None,
    first: int,
    format_: Any,
    criterion: str | None,
    device: Any,
    threads: int | None,
) -> None:
    """Show what the judge in JUDGE_DIR is: where it came from, how far it was checked, its weights by layer.

    With RECORDS and --html, also what every layer says of the first few: the probabilities of each layer alone, how the
    expected score moves through the layers, and what each adds to the final logits.

    \b
    Examples:
        lager inspect judges/smollm2
        lager inspect judges/smollm2 records.jsonl --html layers.html
    """
    from lager_onnx.runtime.folder import read_spec  # noqa: PLC0415
    from lager_onnx.runtime.inspect import describe  # noqa: PLC0415

    if bool(records) != bool(html_file):
        raise click.UsageError("RECORDS and --html go together: the layers of responses are shown in a page")
    click.echo(describe(read_spec(judge_dir)))
    if records is None or html_file is None:
        return
    try:
        from lager_onnx.runtime.inspect_page import inspect_page  # noqa: PLC0415
    except ImportError as error:
        raise click.UsageError(f"a page needs more packages ({error}): pip install 'lager-onnx[cpu,tune]'") from error
    from itertools import islice  # noqa: PLC0415

    from lager_onnx.models.errors import RecordError  # noqa: PLC0415
    from lager_onnx.runtime.judge import Judge  # noqa: PLC0415
    from lager_onnx.runtime.records import read_rows  # noqa: PLC0415
    from lager_onnx.runtime.run import with_criterion  # noqa: PLC0415

    rows = list(islice(read_rows(records, format_), first))
    for row in rows:
        if row.error:
            raise RecordError(f"{row.where}: {row.error}") from row.error
    judge = Judge.load(judge_dir, device=device, threads=threads)
    grades = judge.score([with_criterion(row.record, criterion) for row in rows])
    names = [str(row.record.get("id") or row.where) for row in rows]
    html_file.write_text(inspect_page(judge.spec, names, grades), encoding="utf-8")
    click.echo(f"{html_file}: {len(rows)} responses", err=True)
