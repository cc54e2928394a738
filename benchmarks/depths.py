"""How much faster a judge is that was cut at a depth: interleaved, one prompt and many.

    python benchmarks/depths.py judges/smollm2-int8 15 25

Prints a Markdown table of ratios: median over rounds of the whole judge's time to the cut one's (smallest to largest).
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import click
import numpy as np

from lager_onnx.analysis import cut
from lager_onnx.models.spec import GRAPH_FILE, JudgeSpec
from lager_onnx.runtime.engines.base import Engine
from lager_onnx.runtime.engines.open import open_engine

CASES = {"1 prompt of 512 tokens": (1, 512), "8 prompts of 512 tokens": (8, 512), "32 of 128": (32, 128)}


@click.command()
@click.argument("judge", type=click.Path(path_type=Path, exists=True))
@click.argument("depths", type=int, nargs=-1, required=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("--threads", default=2, show_default=True)
def main(judge: Path, depths: tuple[int, ...], rounds: int, threads: int) -> None:
    """Cut and measure."""
    spec = JudgeSpec.load(judge)
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=judge.parent) as scratch:
        for depth in depths:
            cut(judge, Path(scratch) / str(depth), depth=depth)
        folders = {spec.num_layers: judge} | {depth: Path(scratch) / str(depth) for depth in depths}
        engines = {
            depth: open_engine(folder / GRAPH_FILE, device="cpu", threads=threads, precision=spec.precision)
            for depth, folder in folders.items()
        }
        seconds: dict[tuple[str, int], list[float]] = {}
        for measured in range(-1, rounds):  # the first one warms up
            for title, (number, length) in CASES.items():
                prompts = random.integers(0, spec.vocabulary, (number, length)).tolist()
                for depth, engine in engines.items():
                    taken = grade(engine, prompts)
                    if measured >= 0:
                        seconds.setdefault((title, depth), []).append(taken)
    click.echo(f"| layers kept | {' | '.join(CASES)} |\n|---|" + "---|" * len(CASES))
    for depth in depths:
        cells = []
        for title in CASES:
            whole = zip(seconds[title, spec.num_layers], seconds[title, depth], strict=True)
            ratios = [one / other for one, other in whole]
            cells.append(f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        click.echo(f"| {depth} of {spec.num_layers} ({spec.num_layers / depth:.2f}) | {' | '.join(cells)} |")


def grade(engine: Engine, prompts: Sequence[list[int]]) -> float:
    """Seconds."""
    start = time.perf_counter()
    for _ in engine.submit(list(prompts))():
        pass
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
