"""Grades the same prompts with every contender and writes their tables.

    python benchmarks/run.py FP32_JUDGE INT8_JUDGE CHECKPOINT [--records newsroom.jsonl]

Runs are interleaved: round after round, every contender in a fresh process. Figures are medians with their
smallest and largest value; ratios are to transformers in float32 of the same table.
"""

import json
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median

import click
from contenders import CONTENDERS

from lager_onnx.export.calibration_text import RECORDS
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.prompts import PromptEncoder

FOLDER = Path(__file__).parent
BASELINE = "transformers fp32"
LENGTHS = {128: 32, 512: 8, 1500: 4}  # tokens of a prompt: how many prompts


@click.command()
@click.argument("fp32_judge", type=click.Path(path_type=Path, exists=True))
@click.argument("int8_judge", type=click.Path(path_type=Path, exists=True))
@click.argument("checkpoint")
@click.option("--records", type=click.Path(path_type=Path, exists=True), help="JSON lines to grade, the first 64.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--slow-rounds", default=1, show_default=True, help="Rounds for the reference procedure.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default="BENCHMARKS.tables.md", show_default=True)
def main(
    fp32_judge: Path, int8_judge: Path, checkpoint: str, records: Path | None, rounds: int, threads: int,
    slow_rounds: int, output: Path,
) -> None:  # fmt: skip
    """Benchmarks on this machine."""
    encoder = PromptEncoder(fp32_judge, JudgeSpec.load(fp32_judge))
    sets = {"one prompt of 512 tokens": prompts_of(encoder, 512, 1)}
    sets |= {
        f"{count} prompts of {length} tokens": prompts_of(encoder, length, count) for length, count in LENGTHS.items()
    }
    if records:
        lines = records.read_text(encoding="utf-8").splitlines()[:64]
        sets[f"{len(lines)} records of {records.stem}"] = encoder.encode(
            [encoder.user_turn(json.loads(x)) for x in lines]
        )
    judges = {"lager-onnx int8": int8_judge}
    tables = [machine(threads)]
    for title, prompts in sets.items():
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(prompts, file)
            file.flush()
            runs: dict[str, list[dict[str, float | list[float]]]] = {}
            for number in range(rounds):
                for name in CONTENDERS:
                    if name == "reference procedure" and (number >= slow_rounds or max(map(len, prompts)) > 2048):
                        continue
                    command = [name, judges.get(name, fp32_judge), checkpoint, file.name, threads]
                    line = subprocess.check_output(
                        [sys.executable, FOLDER / "measure.py", *map(str, command)], stderr=subprocess.DEVNULL
                    )
                    runs.setdefault(name, []).append(json.loads(line.splitlines()[-1]))
        tables.append(table(title, prompts, runs))
        click.echo(tables[-1])
    output.write_text("\n\n".join(tables) + "\n")


def prompts_of(encoder: PromptEncoder, length: int, count: int) -> list[list[int]]:
    """Real text of an exact length, no two prompts beginning alike."""
    texts = [f"{record['instruction']} {record['response']}" for record in RECORDS]
    made = []
    for number in range(count):
        order = texts[number % len(texts) :] + texts[: number % len(texts)]
        (ids,) = encoder.encode([f"{number} " + " ".join(order * 3)])
        made.append([1000 + number, *ids[: length - 9], *ids[-8:]])
    return made


def table(title: str, prompts: list[list[int]], runs: dict[str, list[dict]]) -> str:
    """One table: a row a contender."""
    tokens = sum(map(len, prompts))
    base = median(run["seconds"] for run in runs[BASELINE])
    expected = runs[BASELINE][0]["scores"]
    lines = [
        f"### {title[0].upper()}{title[1:]}",
        "",
        "| | tokens/s (smallest-largest) | responses/s | ratio | load s | peak MB | score differs by |",
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for name, measured in runs.items():
        seconds = sorted(run["seconds"] for run in measured)
        middle = median(seconds)
        differs = sum(abs(a - b) for a, b in zip(measured[0]["scores"], expected, strict=True)) / len(expected)
        lines.append(
            f"| {name} | {tokens / middle:.0f} ({tokens / seconds[-1]:.0f}-{tokens / seconds[0]:.0f}) "
            f"| {len(prompts) / middle:.2f} | {base / middle:.2f} | {median(run['load'] for run in measured):.2f} "
            f"| {median(run['peak_mb'] for run in measured):.0f} | {differs:.1e} |"
        )
    return "\n".join(lines)


def machine(threads: int) -> str:
    """What the figures were measured on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    names = ("onnxruntime", "torch", "transformers", "numpy")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{cpu}, {threads} threads, {platform.system()}; Python {platform.python_version()}, {packages}."


if __name__ == "__main__":
    main()
