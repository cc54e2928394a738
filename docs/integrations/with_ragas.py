"""ragas: a metric that needs no language model of its own.

pip install 'lager-onnx[cpu]' ragas 'langchain-community<0.4'
python docs/integrations/with_ragas.py judges/smollm2 records.jsonl
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ragas import EvaluationDataset, SingleTurnSample, evaluate
from ragas.metrics.base import MetricType, SingleTurnMetric

from lager_onnx import Judge


@dataclass
class Lager(SingleTurnMetric):
    """The LAGER score, from 0 to 1."""

    judge: Judge | None = None
    criterion: str = "correctness"
    name: str = "lager"
    _required_columns: dict[MetricType, set[str]] = field(
        default_factory=lambda: {MetricType.SINGLE_TURN: {"user_input", "response"}}
    )

    def init(self, run_config: Any) -> None:
        """Nothing to set up."""

    async def _single_turn_ascore(self, sample: SingleTurnSample, callbacks: Any) -> float:  # noqa: ARG002
        assert self.judge
        record = {"instruction": sample.user_input, "response": sample.response, "criterion": self.criterion}
        context = {"context": sample.retrieved_contexts, "reference": sample.reference}
        (grade,) = await self.judge.ascore([record | context])
        return grade.normalized


def main(judge_dir: str, records: str) -> None:
    """Evaluates the records, prints one line each."""
    with Path(records).open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    samples = [SingleTurnSample(user_input=row["instruction"], response=row["response"]) for row in rows]
    found = evaluate(EvaluationDataset(samples), metrics=[Lager(judge=Judge.load(judge_dir))], raise_exceptions=True)
    for row in found.scores:
        print(json.dumps({"score": row["lager"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
