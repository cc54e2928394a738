"""pandas: a column of scores beside the rows.

python docs/integrations/with_pandas.py judges/smollm2 records.jsonl
"""

import sys

import pandas as pd

from lager_onnx import Judge


def main(judge_dir: str, records: str) -> None:
    """Reads, grades, prints JSON lines."""
    frame = pd.read_json(records, lines=True)
    with Judge.load(judge_dir) as judge:
        grades = judge.score(frame, progress=True)
    frame["score"] = [grade.score for grade in grades]
    frame = frame.join(pd.DataFrame([grade.probabilities for grade in grades]).add_prefix("p_"))
    print(frame.to_json(orient="records", lines=True), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
