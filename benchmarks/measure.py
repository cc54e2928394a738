"""Measures one contender in a process of its own; prints one line of JSON.

    python benchmarks/measure.py "lager-onnx fp32" JUDGE CHECKPOINT PROMPTS.json THREADS

Seconds are of the second pass over the prompts: the first one warms up, on at most two prompts.
"""

import json
import resource
import sys
import time
from pathlib import Path

from contenders import CONTENDERS


def main(name: str, judge: str, checkpoint: str, prompts_file: str, threads: str) -> None:
    """Loads, warms up, grades, prints."""
    prompts = json.loads(Path(prompts_file).read_text())
    start = time.perf_counter()
    grade = CONTENDERS[name](Path(judge), checkpoint, int(threads))
    loaded = time.perf_counter()
    grade([[0, *prompt[1:]] for prompt in prompts[:2]])  # begins otherwise, so that nothing read here is known later
    warm = time.perf_counter()
    scores = grade(prompts)
    seconds = time.perf_counter() - warm
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"load": loaded - start, "seconds": seconds, "peak_mb": peak, "scores": list(map(float, scores))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
