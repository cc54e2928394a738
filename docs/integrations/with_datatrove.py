"""datatrove: a filter that keeps documents whose score reaches a limit, for selecting data by the million.

python docs/integrations/with_datatrove.py judges/smollm2 records.jsonl kept 3.5
"""

import sys
from pathlib import Path

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

from lager_onnx import Judge


class JudgeFilter(BaseFilter):
    """Keeps documents of a score of `least` or more; the score stays in their metadata.

    The judge is opened in the process that runs the task: a step is pickled on its way there.
    """

    name = "LAGER"

    def __init__(self, judge_dir: str, least: float):
        super().__init__(batch_size=256)
        self.judge, self.least = Judge.load(judge_dir, threads=1), least

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Whether one document is kept."""
        return self.filter_batch([doc])[0]

    def filter_batch(self, batch: list[Document]) -> list[bool | tuple[bool, str]]:
        """Grades a batch; the text is the response, the rest of the record its metadata."""
        grades = self.judge.score([{**doc.metadata, "response": doc.text} for doc in batch])
        for doc, grade in zip(batch, grades, strict=True):
            doc.metadata["score"] = grade.score
        return [True if grade.score >= self.least else (False, "low_score") for grade in grades]


def main(judge_dir: str, records: str, kept: str, least: str) -> None:
    """Reads, filters, writes `kept/00000.jsonl`."""
    pipeline = [
        JsonlReader(str(Path(records).parent), glob_pattern=Path(records).name, text_key="response"),
        JudgeFilter(judge_dir, float(least)),
        JsonlWriter(kept, output_filename="${rank}.jsonl", compression=None),
    ]
    LocalPipelineExecutor(pipeline, logging_dir=f"{kept}/logs").run()


if __name__ == "__main__":
    main(*sys.argv[1:])
