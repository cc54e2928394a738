"""Layer logits of a judge over labelled data, kept in a file: what every table of docs/alignment.md is made from."""

import json
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from plan import LabelledSet, Prompt

from lager_onnx.analysis.labels.labelled import Labelled, labelled_logits, written_feedback
from lager_onnx.analysis.labels.read import LabelledRecord, as_labelled
from lager_onnx.models.scale import Scale
from lager_onnx.runtime.feedback import Reasoning
from lager_onnx.runtime.judge import Judge

_UNNAMED = np.zeros(0, dtype=bool)  # of files from before judges wrote, too
_SYSTEM = re.compile(r"<\|im_start\|>system\n.*?<\|im_end\|>\n", re.DOTALL)


@dataclass(frozen=True)
class Graded:
    """What a judge says of a labelled set under a prompt.

    Attributes:
        judge, data, prompt: their names.
        labelled: logits and labels.
        groups: of every record.
        criteria: of every record, "" where it has none.
        seconds: that grading took, of those records that the last run graded.
        named: whether the judge's feedback named a grade, of every record; none of a judge that wrote none.
    """

    judge: str
    data: str
    prompt: str
    labelled: Labelled
    groups: list[str]
    criteria: npt.NDArray[np.str_]
    seconds: float
    named: npt.NDArray[np.bool_]

    def at(self, records: npt.NDArray[np.intp]) -> "Graded":
        """Some of the records."""
        groups = [self.groups[record] for record in records]
        named = self.named[records] if self.named.size else self.named
        return replace(
            self, labelled=self.labelled.at(records), groups=groups, criteria=self.criteria[records], named=named
        )

    def of_groups(self, groups: set[str]) -> "Graded":
        """The records of some groups."""
        return self.at(np.array([row for row, group in enumerate(self.groups) if group in groups], dtype=np.intp))


def file_of(folder: Path, judge: str, data: str, prompt: str) -> Path:
    """Where they are kept."""
    return folder / f"{judge}.{data}.{prompt}.npz"


def load(path: Path) -> Graded:
    """Reads what `grade` wrote."""
    judge, data, prompt = path.name.removesuffix(".npz").rsplit(".", 2)
    with np.load(path) as held:
        labelled = Labelled(held["logits"].astype(np.float64), held["labels"], held["values"])
        groups = [str(group) for group in held["groups"]]
        return Graded(
            judge, data, prompt, labelled, groups, held["criteria"], float(held["seconds"]), held.get("named", _UNNAMED)
        )


def grade(judge: Judge, data: LabelledSet, source: Path, prompt: Prompt, groups: int | None, target: Path) -> None:
    """Grades a labelled set and writes the logits; what an interrupted run graded is not graded again.

    Args:
        judge: that grades.
        data: what it grades.
        source: the set's file, JSON lines.
        prompt: how it is asked.
        groups: so many groups of records, spread over the file; None for all.
        target: file to write.
    """
    judge = _asked(judge.with_template(prompt.template), prompt)
    judge = judge.with_reasoning(Reasoning() if prompt.reasoning else None)
    rows = _some(_labelled(source, data, judge.spec.scale), groups)
    start = time.perf_counter()
    found = labelled_logits(judge, rows, target.parent / "partial")
    np.savez(
        target, logits=found.logits.astype(np.float32), labels=found.labels, values=found.values,
        groups=[row.group for row in rows], criteria=[str(row.record.get("criterion", "")) for row in rows],
        seconds=time.perf_counter() - start, named=_named(judge, rows, target.parent / "partial"),
    )  # fmt: skip


def _named(judge: Judge, rows: list[LabelledRecord], folder: Path) -> npt.NDArray[np.bool_]:
    written = written_feedback(judge, rows, folder)
    lines = written.read_text(encoding="utf-8").splitlines() if written else []
    return np.array([json.loads(line)["named"] is not None for line in lines], dtype=bool)


def _asked(judge: Judge, prompt: Prompt) -> Judge:
    """The judge under another answer prefix, or without the chat template's own system turn."""
    chat = judge.spec.chat
    if not prompt.system:
        found = _SYSTEM.match(chat.before)
        if not found:
            raise ValueError(f"the chat wrapper begins with {chat.before[:60]!r}: there is no system turn")
        chat = replace(chat, before=chat.before[found.end() :])
    if prompt.answer_prefix:
        chat = replace(chat, answer_prefix=prompt.answer_prefix)
    return judge.with_spec(replace(judge.spec, chat=chat))


def _labelled(source: Path, data: LabelledSet, scale: Scale) -> list[LabelledRecord]:
    with source.open(encoding="utf-8") as lines:
        records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    for record in records:
        if isinstance(record[data.label], bool):
            record[data.label] = max(scale.values) if record[data.label] else min(scale.values)
    return as_labelled(records, scale, field=data.label).rows


def _some(rows: list[LabelledRecord], groups: int | None) -> list[LabelledRecord]:
    names = list(dict.fromkeys(row.group for row in rows))
    kept = set(names if groups is None else names[:: max(1, len(names) // groups)][:groups])
    return [row for row in rows if row.group in kept]
