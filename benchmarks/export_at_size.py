"""Exports a judge of real size, made of random weights, and says what it took. Everything is removed at the end.

    python benchmarks/export_at_size.py llama-3.1-8b --tokenizer SmolLM2.gguf --precision int8

Prints one line of JSON an export: seconds, and the peaks of anonymous memory of the export and of grading ten records.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from peak_memory import run
from random_checkpoint import CONFIGURATIONS

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int4")
RECORDS = Path(__file__).parents[1] / "samples" / "responses.jsonl"


@click.command()
@click.argument("name", type=click.Choice(list(CONFIGURATIONS)))
@click.option("--layers", type=int, help="How many; all by default.")
@click.option("--tokenizer", type=click.Path(path_type=Path, exists=True), required=True, help="A .gguf file.")
@click.option("--precision", "precisions", type=click.Choice(PRECISIONS), multiple=True, default=PRECISIONS)
@click.option("--folder", type=click.Path(path_type=Path, exists=True), help="Where there is room; a temporary one.")
def main(name: str, layers: int | None, tokenizer: Path, precisions: tuple[str, ...], folder: Path | None) -> None:
    """Export a judge of real size."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        checkpoint, judge = Path(scratch) / "checkpoint", Path(scratch) / "judge"
        make = [sys.executable, str(Path(__file__).with_name("random_checkpoint.py")), name, str(checkpoint)]
        make += ["--tokenizer", str(tokenizer)] + (["--layers", str(layers)] if layers else [])
        subprocess.run(make, check=True)
        lager = str(Path(sys.executable).with_name("lager"))
        for precision in precisions:
            status, seconds, peak = run([lager, "export", str(checkpoint), str(judge), "--precision", precision])
            figures = {"judge": name, "layers": layers, "precision": precision, "status": status}
            figures |= {"export_seconds": round(seconds), "export_gib": round(peak / 2**30, 2)}
            if status == 0:
                figures["gigabytes"] = round(sum(file.stat().st_size for file in judge.iterdir()) / 1e9, 2)
                output = str(Path(scratch) / "scores.jsonl")
                _, seconds, peak = run([lager, "score", str(judge), str(RECORDS), "-o", output, "--overwrite"])
                figures |= {"score_seconds": round(seconds, 1), "score_gib": round(peak / 2**30, 2)}
                shutil.rmtree(judge)
            click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
