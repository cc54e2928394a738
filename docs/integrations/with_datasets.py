"""datasets: `map` with a judge, in several processes, cached by what the judge is.

    python docs/integrations/with_datasets.py judges/smollm2 records.jsonl

The judge is pickled to its path and options: `map` can tell whether it has run before, and each process opens it anew.
"""

import sys
from typing import Any

from datasets import Dataset

from lager_onnx import Judge


class AddScores:
    """Columns in, the column `score` out."""

    def __init__(self, judge: Judge):
        self.judge = judge

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[float]]:
        """Grades a batch."""
        records = [dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True)]
        return {"score": [grade.score for grade in self.judge.score(records)]}


def main(judge_dir: str, records: str) -> None:
    """Reads, grades, prints JSON lines."""
    dataset = Dataset.from_json(records)
    judge = Judge.load(judge_dir, threads=1)  # one core for each of the processes
    graded = dataset.map(AddScores(judge), batched=True, batch_size=64, num_proc=2)
    graded.to_json(sys.stdout.buffer)


if __name__ == "__main__":
    main(*sys.argv[1:])
