"""Fetches a judge from the hub."""

from pathlib import Path

import click

from lager_onnx.commands.options import PATH


@click.command()
@click.argument("repository", metavar="REPO")
@click.argument("judge_dir", type=PATH)
@click.option("--revision", help="Branch, tag or commit.")
def pull(repository: str, judge_dir: Path, revision: str | None) -> None:
    """Fetch the judge REPO, such as org/name, from the Hugging Face Hub into the folder JUDGE_DIR.

    Files that are there already, and the same, are not fetched again. Commands that only read a judge, such as score,
    evaluate and serve, take REPO itself, too; it is then kept in the cache folder. HF_TOKEN lets into what is not
    public, HF_ENDPOINT names another hub.

    \b
    Examples:
        lager pull my-org/qwen-judge judges/qwen
        lager score my-org/qwen-judge records.jsonl -o scores.jsonl
    """
    from lager_onnx.runtime.folder import read_spec  # noqa: PLC0415
    from lager_onnx.runtime.hub import fetch  # noqa: PLC0415

    spec = read_spec(fetch(repository, judge_dir, revision))
    click.echo(f"{judge_dir}: {spec.source.checkpoint}, {spec.precision}, scale {spec.scale}", err=True)
