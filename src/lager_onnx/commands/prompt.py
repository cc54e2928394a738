"""Shows what a judge reads."""

import json
from pathlib import Path
from typing import Any

import click

from lager_onnx.commands.options import CRITERION, JUDGE_DIR, reads_records
from lager_onnx.models.cure import Notice
from lager_onnx.models.errors import RecordError


@click.command()
@JUDGE_DIR
@click.argument("input", metavar="INPUT")
@reads_records("input")
@CRITERION
@click.option("--json", "as_json", is_flag=True, help='One JSON line a record, the whole text in "prompt".')
def prompt(judge_dir: Path, source: Any, criterion: str | None, as_json: bool) -> None:
    """Show what the judge in JUDGE_DIR will read for every record in INPUT.

    The text is whole: chat wrapper, filled template and answer prefix. Control characters are shown as escapes, unless
    it is JSON.
    """
    from lager_onnx.models.values import visible  # noqa: PLC0415
    from lager_onnx.runtime.folder import read_spec  # noqa: PLC0415
    from lager_onnx.runtime.prepared import tell  # noqa: PLC0415
    from lager_onnx.runtime.prompts import PromptEncoder  # noqa: PLC0415
    from lager_onnx.runtime.records import as_record, some_rows  # noqa: PLC0415
    from lager_onnx.runtime.records.record import with_criterion  # noqa: PLC0415

    encoder = PromptEncoder(judge_dir, read_spec(judge_dir))
    told = set[Notice]()
    for row in some_rows(source):
        try:
            if row.error:
                raise row.error
            turns = encoder.turns(with_criterion(as_record(row.record, source.fields), criterion))
            ids = encoder.ids(turns)
            tell(turns, told)
        except RecordError as error:
            raise error.at(row.where) from error
        text = encoder.spec.chat.wrap(turns.user, turns.feedback)
        if as_json:
            identity = {"id": row.record["id"]} if "id" in row.record else {}
            click.echo(json.dumps({**identity, "prompt": text, "tokens": len(ids)}, ensure_ascii=False))
        else:
            shown = "\n".join(visible(line) for line in text.split("\n"))
            click.echo(f"──── {row.where}: {len(ids)} tokens ────\n{shown}\n")
