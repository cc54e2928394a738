"""Times a judge."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lager_onnx.commands.options import JUDGE_DIR, runs_judge


@click.command()
@JUDGE_DIR
@runs_judge
@click.option("--repeats", type=click.IntRange(min=1), default=5, help="Times that every case is measured.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line a case, with the seconds of every repetition.")
def bench(judge_dir: Path, running: dict[str, Any], repeats: int, as_json: bool) -> None:
    """Measure how fast the judge in JUDGE_DIR grades on this machine.

    Prompts are of random tokens, of several lengths and numbers; the last case is one response under seven
    criteria. Figures are medians, with the slowest and the fastest repetition.

    \b
    Example:
        lager bench judges/smollm2 --threads 4
    """
    from lager_onnx.runtime.bench import Bench  # noqa: PLC0415
    from lager_onnx.runtime.memory import held  # noqa: PLC0415

    opened = Bench.open(judge_dir, **running)
    click.echo(f"{judge_dir}: loaded in {opened.load:.2f} s, runs on {opened.engine.provider}", err=True)
    memory = held()
    for speed in opened.speeds(repeats):
        click.echo(json.dumps(asdict(speed)) if as_json else speed.describe())
        memory = held() or memory
    if memory is not None:
        mapped = f"{memory.mapped / 1e6:.0f} MB of mapped files"
        click.echo(f"Memory of this process: {memory.anonymous / 1e6:.0f} MB of its own, {mapped}", err=True)
