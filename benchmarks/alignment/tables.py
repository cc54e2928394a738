"""The tables of docs/alignment.md, made from stored layer logits.

python benchmarks/alignment/tables.py judges/alignment/*.npz > tables.md
"""

from collections import defaultdict
from pathlib import Path

import click
import numpy as np
from logits import Graded, load

from lager_onnx.analysis.evaluation.agreement import FIGURES
from lager_onnx.analysis.evaluation.methods import Method, best_layer, methods, weighted
from lager_onnx.analysis.evaluation.metrics import Resamples
from lager_onnx.analysis.tuning import recipe
from lager_onnx.analysis.tuning.calibrate import fit_calibration
from lager_onnx.analysis.tuning.cross_validation import estimate
from lager_onnx.analysis.tuning.learned import Learn, Learned
from lager_onnx.models.method import spearman

FOLDS = 5


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True), required=True)
def main(files: tuple[Path, ...]) -> None:
    """Print all tables."""
    by_data: dict[tuple[str, str], list[Graded]] = defaultdict(list)
    for file in files:
        graded = load(file)
        by_data[graded.data, graded.template].append(graded)
    for (data, template), judges in sorted(by_data.items()):
        click.echo(f"## {data}, template `{template}`\n")
        click.echo("| Spearman (95% interval) | " + " | ".join(graded.judge for graded in judges) + " |")
        click.echo("|---|" + "---|" * len(judges))
        columns = [_agreement(graded) for graded in judges]
        for name in columns[0]:
            click.echo(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")
        click.echo("")
        columns = [_tuning(graded) for graded in judges]
        click.echo("| left out, 5 folds | " + " | ".join(graded.judge for graded in judges) + " |")
        click.echo("|---|" + "---|" * len(judges))
        for name in columns[0]:
            click.echo(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")
        click.echo("")


def _agreement(graded: Graded) -> dict[str, str]:
    """Every method's correlation with the labels, and by how much LAGER leads."""
    data = graded.labelled
    resamples = Resamples.of_groups(graded.groups)
    lager = weighted("LAGER, raw", data, data.uniform())
    found: list[Method] = [each for each in methods(data, data.uniform(), ablations=True) if "LAGER" not in each.name]
    found = [*found[:2], lager, weighted("LAGER, norm", data, data.uniform("norm")), *found[2:]]
    found.append(best_layer(data, spearman))
    sampled = {method.name: resamples.sample(FIGURES["spearman"](method, data)) for method in found}
    cells = {
        ("best single layer (oracle)" if "oracle" in name else name): str(figure.interval)
        + (f", {name.removesuffix(' (oracle)')}" if "oracle" in name else "")
        for name, figure in sampled.items()
    }
    cells["LAGER, raw, leads expectation by"] = str((sampled["LAGER, raw"] - sampled["expectation"]).interval)
    cells["records, groups"] = f"{len(data.labels)}, {len(set(graded.groups))}"
    cells["time a record"] = f"{graded.seconds / len(data.labels):.2f} s"
    return cells


def _tuning(graded: Graded) -> dict[str, str]:
    """What tuning and calibration bring on responses that they have not seen."""
    data = graded.labelled
    found = estimate(data, graded.groups, data.uniform(), _learner(), FOLDS)
    cells = {}
    for name, figures in found.table.items():
        for figure in ("spearman", "mae", "ece"):
            if figure in figures:
                cells[f"{name}, {figure}"] = str(figures[figure])
    cells["tuning changes Spearman by"] = str(found.gain)
    return cells


def _learner() -> Learn:
    fit = recipe("regularised", epochs=1)

    def learn(data, groups):  # type: ignore[no-untyped-def]
        weights = fit(data, groups)
        return Learned(weights, fit_calibration(data.scores(weights), data.labels, groups, data.values))

    return learn


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
