"""Makes docs/alignment.md's tables, in judges/alignment/tables.md: exports the judges and grades the labelled sets.

    python benchmarks/alignment/run.py DATA                       # all of it: hours on two cores
    python benchmarks/alignment/run.py DATA --judge smollm2       # of one judge
    python benchmarks/alignment/run.py DATA --part prompts        # only what the prompt is chosen by

DATA is a folder with newsroom.jsonl, vicuna_eval.jsonl, eq_bench.jsonl and self_aware.jsonl; a set that is not there is
left out, and said to be. Nothing is computed twice: a run that was interrupted goes on where it ended.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from figures import figures
from logits import Graded, file_of, grade, load
from plan import CHOSEN_ON, DEFAULT, IN_FLOAT32, JUDGES, PROMPTS, REASONED_ON, REASONING, SETS, LabelledSet, Prompt
from prompts import prompt_tables
from reasoning import reasoning_tables
from tables import precision_tables, tables
from tqdm import tqdm

from lager_onnx.runtime.judge import Judge

_PARTS = ("prompts", "sets", "float32", "reasoning")
_FIND = Path(__file__).parent.parent.parent / "samples" / "find_checkpoint.py"


@dataclass(frozen=True)
class Task:
    """One file of logits: a judge in some precision grades a set under a prompt."""

    judge: str
    precision: str
    data: LabelledSet
    prompt: Prompt
    groups: int | None
    part: str

    def target(self, folder: Path) -> Path:
        """The file."""
        return file_of(folder / self.part, f"{self.judge}-{self.precision}", self.data.name, self.prompt.name)

    def judge_folder(self, folder: Path) -> Path:
        """The judge; another one for every scale."""
        own = "" if self.data.scale == "1-5" else f"-{self.data.name}"
        own += "-writing" if self.part == "reasoning" else ""
        return folder.parent / f"{self.judge}-{self.precision}{own}"


def tasks(judge: str) -> Iterator[Task]:
    """All that one judge has to do."""
    for name, groups in CHOSEN_ON.items():
        for prompt in PROMPTS:
            yield Task(judge, "int8", SETS[name], prompt, groups, "prompts")
    for data in SETS.values():
        yield Task(judge, "int8", data, data.prompt or DEFAULT, None, "sets")
    for name, groups in IN_FLOAT32.items():
        yield Task(judge, "fp32", SETS[name], SETS[name].prompt or DEFAULT, groups, "float32")
    for name, groups in REASONED_ON.items():
        for prompt in REASONING:
            yield Task(judge, "int8", SETS[name], prompt, groups, "reasoning")


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--judge", "judges", multiple=True, type=click.Choice(JUDGES), default=JUDGES, help="All by default.")
@click.option(
    "--part", "parts", multiple=True, type=click.Choice(_PARTS), default=_PARTS, help="All by default.",
)  # fmt: skip
@click.option("--folder", type=click.Path(path_type=Path), default=Path("judges/alignment"), show_default=True)
def main(data: Path, judges: tuple[str, ...], parts: tuple[str, ...], folder: Path) -> None:
    """Export, grade, and write the tables."""
    wanted = [task for judge in judges for task in tasks(judge) if task.part in parts]
    for task in wanted:
        source, target = data / f"{task.data.name}.jsonl", task.target(folder)
        if target.exists():
            continue
        if not source.exists():
            click.echo(f"{source} is not there: left out", err=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        click.echo(target.name, err=True)
        judge = Judge.load(_exported(task, folder))
        grade(judge, task.data, source, task.prompt, task.groups, target)
    graded = {part: [load(file) for file in sorted((folder / part).glob("*.npz"))] for part in parts}
    sets = graded.get("sets", [])
    found = [_figures(each, folder) for each in tqdm(sets, "figures", unit=" judges on a set")]
    lines = [
        *prompt_tables(graded.get("prompts", [])), *tables(found), *precision_tables(sets, graded.get("float32", [])),
        *reasoning_tables(graded.get("reasoning", [])),
    ]  # fmt: skip
    (folder / "tables.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    click.echo(f"{folder / 'tables.md'}: {len(lines)} lines", err=True)


def _figures(graded: Graded, folder: Path) -> dict[str, Any]:
    """Those kept in a file, unless the logits are newer."""
    logits = file_of(folder / "sets", graded.judge, graded.data, graded.prompt)
    kept = logits.with_suffix(".json")
    if not kept.exists() or kept.stat().st_mtime < logits.stat().st_mtime:
        kept.write_text(json.dumps(figures(graded), indent=1) + "\n", encoding="utf-8")
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def _exported(task: Task, folder: Path) -> Path:
    path = task.judge_folder(folder)
    if not (path / "judge.json").exists():
        checkpoint = subprocess.run([sys.executable, _FIND, task.judge], check=True, stdout=subprocess.PIPE, text=True)
        options = ["--precision", task.precision, "--scale", task.data.scale]
        options += ["--reasoning"] if task.part == "reasoning" else []
        lager = Path(sys.executable).with_name("lager")
        subprocess.run([lager, "export", checkpoint.stdout.strip(), path, *options], check=True, stdout=sys.stderr)
    return path


if __name__ == "__main__":
    main()
