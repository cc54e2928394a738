"""Measures one contender in a process of its own; prints one line of JSON.

    python benchmarks/measure.py "lager-onnx fp32" JUDGE CHECKPOINT PROMPTS.json REFERENCE.json THREADS

PROMPTS.json maps the name of a set to its prompts, REFERENCE.json to PyTorch's scores of them: a contender whose
scores differ by more than its precision explains is an error, and its time is not printed. A first pass over two
prompts, then some one by one, warm up.
"""

import json
import resource
import sys
import time
from pathlib import Path

from agreement import check
from contenders import CONTENDERS

WARM_UP = 4  # lone prompts: ours packs its weights after 2,048 tokens of them


def main(name: str, judge: str, checkpoint: str, prompts_file: str, reference: str, threads: str) -> None:
    """Load, warm up, grade every set, check the scores, print."""
    sets = json.loads(Path(prompts_file).read_text())
    start = time.perf_counter()
    grade = CONTENDERS[name](Path(judge), checkpoint, int(threads))
    load = time.perf_counter() - start
    warm = next(iter(sets.values()))[0]
    # These begin otherwise than what is measured, so that nothing read here is known later.
    grade([[token, *warm[1:]] for token in (2, 3)])
    for token in range(4, 4 + WARM_UP):
        grade([[token, *warm[1:]]])
    measured = {}
    for title, prompts in sets.items():
        start = time.perf_counter()
        scores = grade(prompts)
        seconds = time.perf_counter() - start
        measured[title] = {"seconds": seconds} | {kind: list(map(float, values)) for kind, values in scores.items()}
    check(name, measured, Path(reference))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"load": load, "peak_mb": peak, "sets": measured}))


if __name__ == "__main__":
    main(*sys.argv[1:])
