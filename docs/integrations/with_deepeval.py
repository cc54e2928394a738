"""deepeval: a metric that a judge on this machine grades.

python docs/integrations/with_deepeval.py judges/smollm2 records.jsonl
"""

import json
import sys
from pathlib import Path

from deepeval import evaluate
from deepeval.evaluate.configs import AsyncConfig, DisplayConfig
from deepeval.test_case import LLMTestCase

from lager_onnx import Judge
from lager_onnx.integrations.deepeval import LagerMetric


def main(judge_dir: str, records: str) -> None:
    """Grades every record as a test case, prints one line each."""
    with Path(records).open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    cases = [LLMTestCase(input=row["instruction"], actual_output=row["response"]) for row in rows]
    metric = LagerMetric(Judge.load(judge_dir), criterion="correctness", threshold=0.5)
    outcome = evaluate(
        cases,
        [metric],
        async_config=AsyncConfig(run_async=False),
        display_config=DisplayConfig(show_indicator=False, print_results=False),
    )
    for result in sorted(outcome.test_results, key=lambda result: result.index):
        (found,) = result.metrics_data
        print(json.dumps({"score": found.score, "success": found.success, "reason": found.reason}))


if __name__ == "__main__":
    main(*sys.argv[1:])
