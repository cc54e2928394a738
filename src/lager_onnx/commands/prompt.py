"""Shows what a judge reads."""

import json
from pathlib import Path
from typing import Any

import click

from lager_onnx.commands.options import CRITERION, FORMAT, JUDGE_DIR
from lager_onnx.models.errors import RecordError


@click.command()
@JUDGE_DIR
@click.argument("input", metavar="INPUT")
@FORMAT
@CRITERION
@click.option("--json", "as_json", is_flag=True, help='One JSON line a record, the whole text in "prompt".')
def prompt(judge_dir: Path, input: str, format_: Any, criterion: str | None, as_json: bool) -> None:  # noqa: A002
    """Show what the judge in JUDGE_DIR will read for every record in INPUT.

    The text is whole: chat wrapper, filled template and answer prefix.
    """
    from lager_onnx.runtime.folder import read_spec  # noqa: PLC0415
    from lager_onnx.runtime.prompts import PromptEncoder  # noqa: PLC0415
    from lager_onnx.runtime.records import read_rows  # noqa: PLC0415
    from lager_onnx.runtime.run import with_criterion  # noqa: PLC0415

    encoder = PromptEncoder(judge_dir, read_spec(judge_dir))
    for row in read_rows(input, format_):
        try:
            if row.error:
                raise row.error
            turns = encoder.turns(with_criterion(row.record, criterion))
        except RecordError as error:
            raise RecordError(f"{row.where}: {error}") from error
        text, tokens = encoder.spec.chat.wrap(turns.user, turns.feedback), len(encoder.encode([turns])[0])
        if as_json:
            identity = {"id": row.record["id"]} if "id" in row.record else {}
            click.echo(json.dumps({**identity, "prompt": text, "tokens": tokens}, ensure_ascii=False))
        else:
            click.echo(f"──── {row.where}: {tokens} tokens ────\n{text}\n")
