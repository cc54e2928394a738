"""Grades records with judges and prints what came out as JSON; runs under emulation, with what scoring needs only."""

import json
import sys
from pathlib import Path

import onnxruntime

from lager_onnx import Judge
from lager_onnx.runtime.exact_products import wrong_sum


def main(judges: Path, records: Path) -> None:
    """Prints scores by judge, and whether products in 8 bits are exact without our session option."""
    rows = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    scores = {}
    for folder in sorted(judges.iterdir()):
        judge = Judge.load(folder, device="cpu", threads=1)
        scores[folder.name] = [grade.score for grade in judge.score(rows)]
        print(f"    {folder.name}", file=sys.stderr, flush=True)
    saturates = wrong_sum(onnxruntime.SessionOptions()) is not None
    print(json.dumps({"scores": scores, "saturates": saturates}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
