"""How the cost of grading grows: length and number of prompts, criteria, layers."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from peers import hugging_face, loaded_whole

from lager_onnx.models.spec import GRAPH_FILE
from lager_onnx.runtime.engines.base import Engine
from lager_onnx.runtime.engines.open import open_engine

Make = Callable[[int], list[list[int]]]

REPEATS = 3
LENGTHS, NUMBERS, CRITERIA = (64, 128, 256, 512, 1024, 2048), (1, 2, 4, 8), (1, 2, 4, 7)
DEPTHS = (10, 20, 30)
# Tokens of the built-in template round a response of 400 and an instruction of 80: before a criterion, and from it on
# (mean of the seven criteria by which data is selected).
RESPONSE, RUBRIC = 596, 47


def growth(judges: Path, checkpoint: str, threads: int) -> str:
    """Four tables, for float32 and int8."""
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
            rows(
                f"criteria ({RUBRIC} tokens each) for one response ({RESPONSE} with its instruction)",
                CRITERIA,
                criteria,
            ),
            layers(judges, checkpoint, threads, lambda: [text(512) for _ in range(8)]),
        ]
    )


def layers(judges: Path, checkpoint: str, threads: int, prompts: Callable[[], list[list[int]]]) -> str:
    """The checkpoint without its upper layers, in float32."""
    figures = []
    for depth in DEPTHS:
        cut, judge = judges / "peers" / f"checkpoint-{depth}", judges / "peers" / f"fp32-{depth}"
        if not judge.exists():
            from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

            from lager_onnx.export import export_judge  # noqa: PLC0415

            whole = hugging_face(checkpoint, judges / "peers")
            found = AutoModelForCausalLM.from_pretrained(whole, num_hidden_layers=depth, output_loading_info=True)
            loaded_whole(found).save_pretrained(cut)
            AutoTokenizer.from_pretrained(whole).save_pretrained(cut)
            export_judge(cut, judge, verify_judge=False)
        figures.append(seconds(open_engine(judge / GRAPH_FILE, device="cpu", threads=threads), prompts))
    lines = [
        "| layers, 8 prompts of 512 tokens | " + " | ".join(map(str, DEPTHS)) + " |",
        "|---|" + "---|" * len(DEPTHS),
    ]
    return "\n".join([*lines, "| fp32, ms | " + " | ".join(f"{1000 * figure:.0f}" for figure in figures) + " |"])


def seconds(engine: Engine, prompts: Callable[[], list[list[int]]]) -> float:
    """Median time to grade new prompts."""
    engine.submit(prompts(), 4096)()
    measured = []
    for _ in range(REPEATS):
        fresh = prompts()
        start = time.perf_counter()
        engine.submit(fresh, 4096)()
        measured.append(time.perf_counter() - start)
    return median(measured)
