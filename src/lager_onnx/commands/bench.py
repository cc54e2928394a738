"""Times a judge."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lager_onnx.commands.options import DEVICE, JUDGE_DIR, THREADS


@click.command()
@JUDGE_DIR
@DEVICE
@THREADS
@click.option("--repeats", type=click.IntRange(min=1), default=5, help="Times that every case is measured.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line a case, with the seconds of every repetition.")
def bench(judge_dir: Path, device: Any, threads: int | None, repeats: int, as_json: bool) -> None:
    """Measure how fast the judge in JUDGE_DIR grades on this machine.

    Prompts are of random tokens, of several lengths and numbers; the last case is one response under seven
    criteria. Figures are medians, with the slowest and the fastest repetition.

    \b
    Example:
        lager bench judges/smollm2 --threads 4
    """
    from lager_onnx.runtime.bench import Bench, peak_memory  # noqa: PLC0415

    opened = Bench.open(judge_dir, device=device, threads=threads)
    click.echo(f"{judge_dir}: loaded in {opened.load:.2f} s, runs on {opened.engine.provider}", err=True)
    for speed in opened.speeds(repeats):
        click.echo(json.dumps(asdict(speed)) if as_json else speed.describe())
    if peak := peak_memory():
        click.echo(f"Peak memory of this process: {peak / 1e6:.0f} MB", err=True)
