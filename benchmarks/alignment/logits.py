"""Layer logits of judges over labelled data, on which every table of docs/alignment.md is made.

    python benchmarks/alignment/logits.py judges/smollm2 judges/qwen-0.5b --data data/newsroom.jsonl --template direct

Hours on two cores; a run that was interrupted goes on where it ended.
"""

import json
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from lager_onnx.analysis.labels.labelled import Labelled, labelled_logits
from lager_onnx.analysis.labels.read import LabelledRecord, read_labelled
from lager_onnx.runtime.judge import Judge

FOLDER = Path("judges/alignment")
_SYSTEM = re.compile(r"<\|im_start\|>system\n.*?<\|im_end\|>\n", re.DOTALL)


@dataclass(frozen=True)
class Graded:
    """What a judge says of a labelled set under a template.

    Attributes:
        judge, data, template: their names.
        labelled: logits and labels.
        groups: of every record.
        criteria: of every record, "" where it has none.
        seconds: that grading took, of those records that this run graded.
    """

    judge: str
    data: str
    template: str
    labelled: Labelled
    groups: list[str]
    criteria: npt.NDArray[np.str_]
    seconds: float


def file_of(judge: str, data: str, template: str, folder: Path = FOLDER) -> Path:
    """Where they are kept."""
    return folder / f"{judge}.{data}.{template}.npz"


def load(path: Path) -> Graded:
    """Reads what `main` wrote."""
    judge, data, template, _ = path.name.rsplit(".", 3)
    with np.load(path) as held:
        labelled = Labelled(held["logits"].astype(np.float64), held["labels"], held["values"])
        groups = [str(group) for group in held["groups"]]
        return Graded(judge, data, template, labelled, groups, held["criteria"], float(held["seconds"]))


@click.command()
@click.argument("judges", nargs=-1, type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--data", "files", multiple=True, type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--template", "templates", multiple=True, default=("direct",), help="A built-in's name, or a file.")
@click.option("--label", default="human_score", show_default=True)
@click.option("--groups", type=int, help="So many groups of records, spread over the file; all by default.")
@click.option("--answer-prefix", help="Another one than the judge's.")
@click.option("--no-system", is_flag=True, help="Leave out a system turn that the chat template adds by itself.")
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True)
def main(
    judges: tuple[Path, ...],
    files: tuple[Path, ...],
    templates: tuple[str, ...],
    label: str,
    groups: int | None,
    answer_prefix: str | None,
    no_system: bool,
    folder: Path,
) -> None:
    """Grade labelled data and keep the layer logits."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in judges:
        loaded = Judge.load(path)
        for file in files:
            for template in templates:
                name = Path(template).stem + (f"+{answer_prefix.strip(': ')}" if answer_prefix else "")
                target = file_of(path.name, file.stem, name + ("+nosystem" if no_system else ""), folder)
                if target.exists():
                    continue
                judge = _changed(loaded.with_template(template), answer_prefix, no_system=no_system)
                rows = _some(read_labelled(str(file), judge.spec.scale, field=label).rows, groups)
                start = time.perf_counter()
                found = labelled_logits(judge, rows, folder / "partial")
                seconds = time.perf_counter() - start
                criteria = [str(row.record.get("criterion", "")) for row in rows]
                np.savez(
                    target, logits=found.logits.astype(np.float32), labels=found.labels, values=found.values,
                    groups=[row.group for row in rows], criteria=criteria, seconds=seconds,
                )  # fmt: skip
                click.echo(json.dumps({"file": target.name, "records": len(rows), "seconds": round(seconds)}))


def _changed(judge: Judge, answer_prefix: str | None, *, no_system: bool) -> Judge:
    """The judge under another answer prefix, or without the chat template's own system turn."""
    chat = judge.spec.chat
    if no_system:
        found = _SYSTEM.match(chat.before)
        if not found:
            raise click.UsageError(f"the chat wrapper begins with {chat.before[:60]!r}: there is no system turn")
        chat = replace(chat, before=chat.before[found.end() :])
    if answer_prefix:
        chat = replace(chat, answer_prefix=answer_prefix)
    return judge.with_spec(replace(judge.spec, chat=chat))


def _some(rows: list[LabelledRecord], groups: int | None) -> list[LabelledRecord]:
    names = list(dict.fromkeys(row.group for row in rows))
    kept = set(names if groups is None else names[:: max(1, len(names) // groups)][:groups])
    return [row for row in rows if row.group in kept]


if __name__ == "__main__":
    main()
