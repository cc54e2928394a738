"""Grades records with judges and prints what came out as JSON; runs under emulation, with what scoring needs only."""

import json
import sys
from pathlib import Path

import onnxruntime

from lager_onnx import Judge
from lager_onnx.models.errors import DeviceError
from lager_onnx.runtime.exact_products import prove_exact_products


def main(judges: Path, records: Path) -> None:
    """Prints scores by judge, and whether products in 8 bits are exact without our session option."""
    rows = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    scores = {}
    for folder in sorted(judges.iterdir()):
        judge = Judge.load(folder, device="cpu", threads=1)
        scores[folder.name] = [grade.score for grade in judge.score(rows)]
        print(f"    {folder.name}", file=sys.stderr, flush=True)
    try:
        prove_exact_products(onnxruntime.SessionOptions())
    except DeviceError:
        saturates = True
    else:
        saturates = False
    print(json.dumps({"scores": scores, "saturates": saturates}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
