"""Grades the same prompts with every contender and writes BENCHMARKS.md.

    python benchmarks/run.py JUDGES CHECKPOINT [--records newsroom.jsonl]

JUDGES is the folder that holds the judges fp32, int8 and int4 of the checkpoint. Runs are interleaved: round after
round, every contender in a fresh process. What was measured is in JUDGES/peers/runs.jsonl as it comes.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from agreement import write_reference
from ceiling import ceilings
from contenders import CONTENDERS, REFERENCE
from growth import growth
from report import report

from lager_onnx.export.calibrate.sample_prompts import built_in_records
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.prompts import PromptEncoder, Turns

FOLDER = Path(__file__).parent
ONE, MANY = "one prompt of 512 tokens", "8 prompts of 512 tokens"
SETS = {ONE: (512, 1), MANY: (512, 8), "16 prompts of 128 tokens": (128, 16), "2 prompts of 1500 tokens": (1500, 2)}
PATIENCE = 400  # seconds for one process
PRECISIONS = ("fp32", "int8", "int4")


@click.command()
@click.argument("judges", type=click.Path(path_type=Path, exists=True))
@click.argument("checkpoint")
@click.option("--records", type=click.Path(path_type=Path, exists=True), help="JSON lines to grade.")
@click.option("--first", default=12, show_default=True, help="So many of the records.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--only", help="Contenders whose name holds this.")
@click.option("--report", "only_report", is_flag=True, help="Measure nothing, but write of what runs.jsonl holds.")
@click.option("--grow/--no-grow", default=True, help="Measure how cost grows, too: five minutes.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default="BENCHMARKS.md", show_default=True)
def main(
    judges: Path, checkpoint: str, records: Path | None, first: int, rounds: int, threads: int, only: str | None,
    only_report: bool, grow: bool, output: Path,
) -> None:  # fmt: skip
    """Benchmarks on this machine."""
    encoder = PromptEncoder(judges / "fp32", JudgeSpec.load(judges / "fp32"))
    sets = {title: prompts_of(encoder, *size) for title, size in SETS.items()}
    if records:
        rows = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()[:first]]
        sets[f"{len(rows)} records of {records.stem}"] = [encoder.ids(encoder.turns(row)) for row in rows]
    (judges / "peers").mkdir(exist_ok=True)
    names = [name for name in CONTENDERS if not only or only in name]
    log = judges / "peers" / "runs.jsonl"
    if not only_report:
        with log.open("w") as file:
            for name, found in measure(judges, checkpoint, sets, names, rounds, threads):
                file.write(json.dumps({"contender": name, **found}) + "\n")
                file.flush()
                speeds = [tokens(sets[title]) / of_set["seconds"] for title, of_set in found["sets"].items()]
                click.echo(f"{name}: {', '.join(f'{speed:.0f}' for speed in speeds)} tokens/s", err=True)
    runs: dict[str, list[dict[str, Any]]] = {}
    for line in log.read_text().splitlines():
        found = json.loads(line)
        runs.setdefault(found.pop("contender"), []).append(found)
    text = report(sets, runs, ceilings(threads), growth(judges, checkpoint, threads) if grow else "", judges, threads)
    output.write_text(text + "\n" + (FOLDER / "notes.md").read_text())
    click.echo(text)


def measure(
    judges: Path, checkpoint: str, sets: dict[str, list[list[int]]], names: list[str], rounds: int, threads: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Contenders in turn, `rounds` times; the first time of each makes what it needs and does not count."""
    files = {name: judges / "peers" / f"prompts-{number}.json" for number, name in enumerate(("all", "some"))}
    reference = judges / "peers" / "reference.json"
    write_reference(checkpoint, judges / "fp32", sets, reference)
    files["all"].write_text(json.dumps(sets))
    files["some"].write_text(json.dumps({MANY: sets[MANY]}))
    for number in range(-1, rounds):
        for name in names:
            if number < 0 and "lager" in name:
                continue
            judge = judges / next((precision for precision in PRECISIONS if name.endswith(f"onnx {precision}")), "fp32")
            file = files["some" if name == REFERENCE or number < 0 else "all"]
            if number < 0 and (name == REFERENCE or name.startswith("transformers")):
                continue
            command = [sys.executable, FOLDER / "measure.py", name, judge, checkpoint, file, reference, threads]
            line = run(name, list(map(str, command)))
            if number >= 0:
                yield name, json.loads(line)


def run(name: str, command: list[str]) -> bytes:
    """The last line that a contender prints. One that hangs is started once more."""
    for attempt in ("hung, is started again", "hung twice"):
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            click.echo(f"{name} {attempt}", err=True)
            continue
        if done.returncode:
            raise click.ClickException(f"{name} failed:\n{done.stderr.decode()[-2000:]}")
        return done.stdout.splitlines()[-1]
    raise click.ClickException(f"{name} does not end")


def prompts_of(encoder: PromptEncoder, length: int, count: int) -> list[list[int]]:
    """Real text of an exact length, no two prompts beginning alike."""
    texts = [f"{record['instruction']} {record['response']}" for record in built_in_records("calibration")]
    made = []
    for number in range(count):
        order = texts[number % len(texts) :] + texts[: number % len(texts)]
        ids = encoder.ids(Turns(f"{number} " + " ".join(order * 3)))
        made.append([1000 + 100 * length + number, *ids[: length - 9], *ids[-8:]])
    return [[token % 49_000 for token in prompt] for prompt in made]


def tokens(prompts: list[list[int]]) -> int:
    """How many tokens prompts have."""
    return sum(map(len, prompts))


if __name__ == "__main__":
    main()
