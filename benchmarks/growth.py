"""How the cost of grading grows with the length of prompts, their number and the number of criteria."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from lager_onnx.models.spec import GRAPH_FILE
from lager_onnx.runtime.engine import Engine, open_engine

Make = Callable[[int], list[list[int]]]

REPEATS = 5
LENGTHS, NUMBERS, CRITERIA = (64, 128, 256, 512, 1024, 2048, 4096), (1, 2, 4, 8, 16, 32), (1, 2, 4, 7)
RESPONSE, RUBRIC = 560, 100  # tokens before and in what differs between criteria


def growth(judges: Path, threads: int) -> str:
    """Three tables, for float32 and int8."""
    engines = {
        name: open_engine(judges / name / GRAPH_FILE, device="cpu", threads=threads) for name in ("fp32", "int8")
    }
    random = np.random.default_rng(0)

    def text(tokens: int) -> list[int]:
        return random.integers(1000, 40_000, tokens).tolist()

    def rows(title: str, sizes: tuple[int, ...], prompts: Make) -> str:
        lines = [f"| {title} | " + " | ".join(map(str, sizes)) + " |", "|---|" + "---|" * len(sizes)]
        for name, engine in engines.items():
            figures = [seconds(engine, lambda size=size: prompts(size)) for size in sizes]
            lines.append(f"| {name}, ms | " + " | ".join(f"{1000 * figure:.0f}" for figure in figures) + " |")
        return "\n".join(lines)

    def criteria(number: int) -> list[list[int]]:
        response = text(RESPONSE)
        return [response + text(RUBRIC) for _ in range(number)]

    return "\n\n".join(
        [
            rows("tokens of one prompt", LENGTHS, lambda size: [text(size)]),
            rows("prompts of 512 tokens", NUMBERS, lambda size: [text(512) for _ in range(size)]),
            rows(f"criteria ({RUBRIC} tokens each) for one response ({RESPONSE} with its task)", CRITERIA, criteria),
        ]
    )


def seconds(engine: Engine, prompts: Callable[[], list[list[int]]]) -> float:
    """Median time to grade new prompts."""
    engine.start(prompts(), 4096)()
    measured = []
    for _ in range(REPEATS):
        fresh = prompts()
        start = time.perf_counter()
        engine.start(fresh, 4096)()
        measured.append(time.perf_counter() - start)
    return median(measured)
