"""F1 of finding the questions that cannot be answered, from the scores of `lager score --details`.

    python docs/recipes/knowledge_boundary.py scores.jsonl

A question counts as unanswerable where the score is below min + 0.75 (max - min) of the scale. Needs records with a
field `answerable`, true or false.
"""

import json
import sys
from pathlib import Path

THRESHOLD = 0.75


def f1(found: list[bool], true: list[bool]) -> float:
    """2 TP / (2 TP + FP + FN)."""
    both = sum(one and other for one, other in zip(found, true, strict=True))
    return 2 * both / (sum(found) + sum(true))


def main(scores_file: str) -> None:
    """Prints F1 of LAGER, of its baselines, and of calling every question unanswerable."""
    with Path(scores_file).open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    values = sorted(map(float, rows[0]["probabilities"]))
    limit = values[0] + THRESHOLD * (values[-1] - values[0])
    unanswerable = [not row["answerable"] for row in rows]
    for name in ("score", "vanilla", "expectation"):
        found = [row[name] < limit for row in rows]
        print(f"{name:12s} F1 {f1(found, unanswerable):.3f}, {sum(found)} of {len(rows)} below {limit:g}")
    print(f"{'all':12s} F1 {f1([True] * len(rows), unanswerable):.3f}, {sum(unanswerable)} are unanswerable")


if __name__ == "__main__":
    main(sys.argv[1])
