"""What tuning brings with few and with many labels, on responses that it has not seen.

    python benchmarks/alignment/learning_curve.py judges/alignment/*.npz --sizes 50,200,1000

For every fold, weights are learned from some of the labels in the other folds (whole groups, drawn at random) and
score the fold that was left out. Prints a Markdown table: mean Spearman over ways to draw, smallest to largest.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import click
import numpy as np
from logits import load

from lager_onnx.analysis.labels.groups import rows_by_group
from lager_onnx.analysis.labels.labelled import Labelled
from lager_onnx.analysis.tuning import recipe
from lager_onnx.analysis.tuning.cross_validation import left_out
from lager_onnx.analysis.tuning.learned import Learn, Learned
from lager_onnx.analysis.tuning.recipes import Fit
from lager_onnx.models.method import spearman

RECIPES: dict[str, Fit] = {
    "uniform": lambda data, _: data.uniform(),
    "regularised": recipe("regularised", epochs=1),
    "regularised, norm": recipe("regularised", epochs=1, lens="norm"),
    "paper": recipe("paper", epochs=1),
    "paper, 2 epochs": recipe("paper", epochs=2),
}
FOLDS = 5


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--sizes", default="50,200,1000", show_default=True, help="Numbers of labels to learn from.")
@click.option("--repeats", default=3, show_default=True, help="Ways to draw folds and labels.")
def main(files: tuple[Path, ...], sizes: str, repeats: int) -> None:
    """Learning curves of the recipes."""
    click.echo("| judge | data | labels | " + " | ".join(RECIPES) + " |\n|---|---|---|" + "---|" * len(RECIPES))
    for file in files:
        graded = load(file)
        data = graded.labelled
        for size in map(int, sizes.split(",")):
            cells = []
            for fit in RECIPES.values():
                found = []
                for seed in range(repeats):
                    (tuned,) = left_out(data, graded.groups, from_few(fit, size, seed), FOLDS, seed=seed)
                    found.append(spearman(tuned.scores, data.labels))
                cells.append(f"{mean(found):.3f} ({min(found):.3f} to {max(found):.3f})")
            click.echo(f"| {graded.judge} | {graded.data} | {size} | " + " | ".join(cells) + " |")


def from_few(fit: Fit, size: int, seed: int) -> Learn:
    """Learns from about `size` of the labels given, in whole groups but for the last one."""

    def learn(data: Labelled, groups: Sequence[str]) -> Learned:
        members = list(rows_by_group(groups).values())
        np.random.default_rng(seed).shuffle(members)
        rows = [row for group in members for row in group][:size]
        return Learned(fit(data.at(np.asarray(rows)), [groups[row] for row in rows]))

    return learn


if __name__ == "__main__":
    main()
