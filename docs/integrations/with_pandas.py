"""pandas: columns of scores and probabilities beside the rows, whatever the frame's index is.

python docs/integrations/with_pandas.py judges/smollm2 records.jsonl
"""

import json
import sys

import pandas as pd

from lager_onnx import Judge


def with_grades(judge: Judge, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the columns `score` and `p_LABEL`; of a filtered or sorted frame, too."""
    grades = judge.score(frame, progress=True)
    found = pd.DataFrame([{"score": grade.score} | _named(grade.probabilities) for grade in grades])
    return pd.concat([frame, found.set_axis(frame.index)], axis="columns")


def _named(probabilities: dict[str, float]) -> dict[str, float]:
    return {f"p_{label}": probability for label, probability in probabilities.items()}


def main(judge_dir: str, records: str) -> None:
    """Read, grade, print JSON lines."""
    with open(records, encoding="utf-8") as lines:  # pd.read_json would make numbers and dates of "007", "2024-01-31"
        frame = pd.DataFrame([json.loads(line) for line in lines])
    with Judge.load(judge_dir) as judge:
        print(with_grades(judge, frame).to_json(orient="records", lines=True), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
