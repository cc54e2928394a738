"""Shows what a judge is."""

from pathlib import Path

import click

from lager_onnx.commands.options import JUDGE_DIR


@click.command()
@JUDGE_DIR
def inspect(judge_dir: Path) -> None:
    """Show what the judge in JUDGE_DIR is: where it came from, how far it was checked, its weights by layer."""
    from lager_onnx.runtime.folder import read_spec  # noqa: PLC0415
    from lager_onnx.runtime.inspect import describe  # noqa: PLC0415

    click.echo(describe(read_spec(judge_dir)))
