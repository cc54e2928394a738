"""lm-evaluation-harness: a task whose metric is the LAGER score of what the model wrote.

    python docs/integrations/with_lm_eval.py judges/smollm2 records.jsonl [MODEL] [MODEL_ARGS]

such as `hf pretrained=HuggingFaceTB/SmolLM2-135M-Instruct`; by default the harness's dummy model, which always answers
the same.
"""

import json
import sys
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.api.task import ConfigurableTask

from lager_onnx import Judge


def task(judge: Judge, records: str, criterion: str = "helpfulness") -> ConfigurableTask:
    """Generates until an empty line, then grades."""

    def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
        record = {"instruction": doc["instruction"], "response": results[0], "criterion": criterion}
        return {"lager": judge.score([record])[0].score}

    return ConfigurableTask(
        config={
            "task": "lager",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": records}},
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_text": "{{instruction}}",
            "doc_to_target": "",
            "process_results": process_results,
            "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 256},
            "metric_list": [{"metric": "lager", "aggregation": "mean", "higher_is_better": True}],
        }
    )


def main(judge_dir: str, records: str, model: str = "dummy", model_args: str = "") -> None:
    """Runs the task, prints one line a record."""
    with Judge.load(judge_dir) as judge:
        found = simple_evaluate(model, model_args, tasks=[task(judge, records)], log_samples=True)
    for sample in found["samples"]["lager"]:
        print(json.dumps({"response": sample["resps"][0][0], "score": sample["lager"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
