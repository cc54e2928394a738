"""inspect_ai: a `@scorer` that grades what the model under test answered.

    python docs/integrations/with_inspect_ai.py judges/smollm2 records.jsonl

The records' own responses are graded here (the solver hands them on); with a model, use `generate()` as the solver.
"""

import json
import sys
from tempfile import TemporaryDirectory

from inspect_ai import Task
from inspect_ai import eval as evaluate
from inspect_ai.dataset import FieldSpec, json_dataset
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from lager_onnx import Judge


@scorer(metrics=[mean(), stderr()])
def lager(judge_dir: str, criterion: str = "correctness") -> Scorer:
    """The LAGER score; the target is the reference."""
    judge = Judge.load(judge_dir)

    async def score(state: TaskState, target: Target) -> Score:
        record = {"instruction": state.input_text, "response": state.output.completion, "criterion": criterion}
        (grade,) = await judge.ascore([record | {"reference": target.text or None}])
        return Score(value=grade.score, answer=state.output.completion, metadata=grade.probabilities)

    return score


@solver
def recorded() -> Solver:
    """Answers what the record says."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:  # noqa: ARG001
        state.output = ModelOutput.from_content("recorded", state.metadata["response"])
        return state

    return solve


def main(judge_dir: str, records: str) -> None:
    """Runs the task, prints one line a sample."""
    fields = FieldSpec(input="instruction", target="reference", metadata=["response"])
    task = Task(dataset=json_dataset(records, fields), solver=recorded(), scorer=lager(judge_dir))
    with TemporaryDirectory() as logs:
        (log,) = evaluate(task, model="mockllm/model", display="none", log_dir=logs)
        if log.error:
            raise SystemExit(log.error.message)
        for sample in log.samples or []:
            print(json.dumps({"id": sample.id, "score": (sample.scores or {})["lager"].value}))


if __name__ == "__main__":
    main(*sys.argv[1:])
