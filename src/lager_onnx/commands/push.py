"""Publishes a judge on the hub."""

import json
from pathlib import Path

import click

from lager_onnx.commands.options import JUDGE_DIR, PATH


@click.command()
@JUDGE_DIR
@click.argument("repository", metavar="REPO")
@click.option("--license", "license_", help="Of the checkpoint, as the hub names it: apache-2.0, llama3.1, gemma, ...")
@click.option("--evaluation", type=PATH, help="What lager evaluate --json wrote of this judge, for the card.")
@click.option("--dataset", default="labelled records", help="What that was measured on, in words.")
@click.option("--private", is_flag=True, help="Of a repository that is made: for you alone.")
@click.option("--revision", help="Branch to write to.")
def push(
    judge_dir: Path,
    repository: str,
    license_: str | None,
    evaluation: Path | None,
    dataset: str,
    private: bool,
    revision: str | None,
) -> None:
    """Publish the judge in JUDGE_DIR on the Hugging Face Hub as REPO, such as org/name.

    The repository is made where there is none. Its card says what the judge is, and with --evaluation how well it
    agrees with people. Needs a token that may write, in HF_TOKEN.

    \b
    Examples:
        lager push judges/qwen my-org/qwen-judge --license apache-2.0
        lager evaluate judges/qwen labelled.jsonl --json figures.json
        lager push judges/qwen my-org/qwen-judge --evaluation figures.json --dataset "our support tickets"
    """
    from lager_onnx.models.errors import HubError  # noqa: PLC0415
    from lager_onnx.runtime.hub import publish  # noqa: PLC0415

    rows = None
    if evaluation:
        try:
            rows = json.loads(evaluation.read_text(encoding="utf-8"))
            rows = [row for row in rows if {"part", "records", "method", "spearman", "pearson"} <= row.keys()]
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise HubError(f"{evaluation} is not what lager evaluate --json writes: {error}") from error
    address = publish(
        judge_dir, repository, license_=license_, evaluation=rows, dataset=dataset, private=private, revision=revision
    )
    click.echo(address)
