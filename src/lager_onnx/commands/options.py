"""Options that several commands have."""

from pathlib import Path

import click

JUDGE_DIR = click.argument("judge_dir", type=click.Path(path_type=Path))
FORMAT = click.option(
    "--format",
    "format_",
    type=click.Choice(["jsonl", "json", "csv"]),
    help="Format of INPUT; by default its ending tells, and standard input is JSON lines.",
)
LABEL = click.option(
    "--label",
    default="human_score",
    help="Field that holds the label: a number on the judge's scale, or a list of them, one a person.",
)
DATA = click.option(
    "--data",
    type=click.Choice(["plain", "prometheus", "helpsteer", "biggen", "reference"]),
    default="plain",
    help="Form of LABELLED: plain records, or as published: Prometheus' flask_eval, vicuna_eval and mt_bench_eval; "
    "HelpSteer; BiGGen-Bench results; the reference repository's user_prompt and score.",
)
DEVICE = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where to run.")
THREADS = click.option(
    "--threads", type=click.IntRange(min=1), help="Cores to use; by default all that this process may."
)
CRITERION = click.option("--criterion", help="Criterion for records that name neither criterion nor rubric.")
