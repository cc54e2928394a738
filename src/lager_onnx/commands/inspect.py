"""Shows what a judge is, and what its layers say."""

from pathlib import Path
from typing import Any

import click

from lager_onnx.commands.options import CRITERION, JUDGE_DIR, PATH, reads_records, runs_judge


@click.command()
@JUDGE_DIR
@click.argument("records", metavar="[RECORDS]", required=False)
@click.option("--html", "html_file", type=PATH, help="Page to write for RECORDS.")
@click.option("--first", type=click.IntRange(min=1), default=5, help="So many of the records.")
@reads_records("records")
@CRITERION
@runs_judge
def inspect(
    judge_dir: Path,
    source: Any,
    html_file: Path | None,
    first: int,
    criterion: str | None,
    running: dict[str, Any],
) -> None:
    """Show what the judge in JUDGE_DIR is: where it came from, how far it was checked, its weights by layer.

    With RECORDS and --html, also the layers of the first few: their texts, the probabilities of each layer
    alone, how the expected score moves through the layers, and what each adds to the final logits.

    \b
    Examples:
        lager inspect judges/smollm2
        lager inspect judges/smollm2 records.jsonl --html layers.html
    """
    from lager_onnx.analysis.inspect import describe  # noqa: PLC0415
    from lager_onnx.runtime.file_names import check_name  # noqa: PLC0415
    from lager_onnx.runtime.files import check_output  # noqa: PLC0415
    from lager_onnx.runtime.folder import read_spec  # noqa: PLC0415

    if bool(source) != bool(html_file):
        raise click.UsageError("RECORDS and --html go together: the layers of responses are shown in a page")
    check_output(html_file, *([source.path] if source else []))
    check_name(html_file, "HTML")
    click.echo(describe(read_spec(judge_dir)))
    if source is None or html_file is None:
        return
    from itertools import islice  # noqa: PLC0415

    from lager_onnx.analysis.pages.layers import inspect_page  # noqa: PLC0415
    from lager_onnx.runtime.files import shown, write_file  # noqa: PLC0415
    from lager_onnx.runtime.judge import Judge  # noqa: PLC0415
    from lager_onnx.runtime.records import as_record, some_rows  # noqa: PLC0415
    from lager_onnx.runtime.records.record import with_criterion  # noqa: PLC0415

    rows = list(islice(some_rows(source), first))
    for row in rows:
        if row.error:
            raise row.error.at(row.where) from row.error
    judge = Judge.load(judge_dir, **running)
    records = [with_criterion(as_record(row.record, source.fields), criterion) for row in rows]
    grades = judge.score(records)
    names = [str(row.record.get("id") or row.where) for row in rows]
    write_file(html_file, inspect_page(judge.spec, names, records, grades), source.path)
    click.echo(f"{shown(html_file)}: {len(rows)} responses", err=True)
