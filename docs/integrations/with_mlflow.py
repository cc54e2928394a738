"""mlflow: a scorer for `mlflow.genai.evaluate`, without a server.

    python docs/integrations/with_mlflow.py judges/smollm2 records.jsonl

With `lager serve judges/smollm2 --model-name lager` running, mlflow's own judges work too, by its System One client:

    os.environ["TYPESAFE_API_KEY"] = "none"
    make_judge(
        name="correct",
        instructions="Is {{ outputs }} a correct answer to {{ inputs }}?",
        feedback_value_type=bool,
        model="typesafe:/lager",
        base_url="http://127.0.0.1:8000/v1",
    )
"""

import json
import sys
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Feedback
from mlflow.genai import scorer

from lager_onnx import Judge


def main(judge_dir: str, records: str) -> None:
    """Evaluates the records in a new run, prints one line each."""
    judge = Judge.load(judge_dir)

    @scorer
    def lager(inputs: dict[str, Any], outputs: str) -> Feedback:
        (grade,) = judge.score([{**inputs, "response": outputs}])
        return Feedback(value=grade.score, metadata={"confidence": f"{grade.confidence:.3f}"})

    with Path(records).open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    data = [{"inputs": {"instruction": row["instruction"]}, "outputs": row["response"]} for row in rows]
    results = mlflow.genai.evaluate(data=data, scorers=[lager])
    print(json.dumps(results.metrics), file=sys.stderr)
    for response, value in results.result_df[["response", "lager/value"]].itertuples(index=False):
        print(json.dumps({"response": response, "score": value}))


if __name__ == "__main__":
    main(*sys.argv[1:])
