"""What tuning brings with few and with many labels, on responses that it has not seen.

    python benchmarks/learning_curve.py JUDGE LABELLED --sizes 50,200,1000

For every fold, weights are learned from some of the labels in the other folds (whole groups, drawn at random) and
score the fold that was left out. Prints a Markdown table.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import click
import numpy as np

from lager_onnx.analysis.evaluation.metrics import METRICS
from lager_onnx.analysis.labels.groups import rows_by_group
from lager_onnx.analysis.labels.labelled import Array, Labelled, labelled_logits
from lager_onnx.analysis.labels.read import read_labelled
from lager_onnx.analysis.tuning import recipe
from lager_onnx.analysis.tuning.cross_validation import left_out_scores
from lager_onnx.analysis.tuning.recipes import Fit
from lager_onnx.runtime.judge import Judge

RECIPES: dict[str, Fit] = {
    "untuned": lambda data, _: data.uniform(),
    "regularised": recipe("regularised", epochs=1),
    "regularised, alpha 0.5, mae": recipe("regularised", epochs=1, alpha=0.5, distance="mae"),
    "paper": recipe("paper", epochs=1),
    "paper, 2 epochs": recipe("paper", epochs=2),
}
FOLDS = 5


@click.command()
@click.argument("judge_dir", type=click.Path(path_type=Path, exists=True))
@click.argument("labelled")
@click.option("--label", default="human_score", show_default=True)
@click.option("--sizes", default="50,200,1000", show_default=True, help="Numbers of labels to learn from.")
@click.option("--repeats", default=3, show_default=True, help="Ways to draw folds and labels.")
def main(judge_dir: Path, labelled: str, label: str, sizes: str, repeats: int) -> None:
    """Learning curves of the recipes."""
    judge = Judge.load(judge_dir)
    rows = read_labelled(labelled, judge.spec.scale, field=label).rows
    data, groups = labelled_logits(judge, rows), [row.group for row in rows]
    click.echo("| labels | recipe | " + " | ".join(METRICS) + " |\n|---|---|" + "---|" * len(METRICS))
    for size in map(int, sizes.split(",")):
        for name, learn in RECIPES.items():
            scores = [
                left_out_scores(data, groups, from_few(learn, size, seed), FOLDS, seed=seed) for seed in range(repeats)
            ]
            cells = []
            for metric in METRICS.values():
                figures = [metric(each, data.labels)(np.arange(len(rows))) for each in scores]
                cells.append(f"{mean(figures):.3f} ({min(figures):.3f} to {max(figures):.3f})")
            click.echo(f"| {size} | {name} | " + " | ".join(cells) + " |")


def from_few(learn: Fit, size: int, seed: int) -> Fit:
    """Learns from about `size` of the labels given, in whole groups but for the last one."""

    def learned(data: Labelled, groups: Sequence[str]) -> Array:
        members = list(rows_by_group(groups).values())
        np.random.default_rng(seed).shuffle(members)
        rows = [row for group in members for row in group][:size]
        return learn(data.at(np.asarray(rows)), [groups[row] for row in rows])

    return learned


if __name__ == "__main__":
    main()
