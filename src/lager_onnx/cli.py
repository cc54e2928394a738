"""The command line. Every command imports what it needs when it runs, so that `--help` is quick."""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lager_onnx.models.errors import LagerError, RecordError

_CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True, "auto_envvar_prefix": "LAGER"}


class _Group(click.Group):
    """Prints our errors without a traceback; exits with 2 for bad input or usage, 1 for failed work."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LagerError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Group, context_settings=_CONTEXT)
@click.version_option(package_name="lager-onnx")
def main() -> None:
    """Grade responses with a language model's layers, from one ONNX model.

    \b
    Export a judge once (needs the extra [export]), then score without PyTorch:
        lager export HuggingFaceTB/SmolLM2-135M-Instruct judges/smollm2
        lager score judges/smollm2 records.jsonl -o scores.jsonl

    Every option can also be set as an environment variable, such as LAGER_SCORE_THREADS.
    """
    log = logging.getLogger("lager_onnx")
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)


@main.command()
@click.argument("checkpoint")
@click.argument("judge_dir", type=click.Path(path_type=Path))
@click.option(
    "--scale", default="1-5", help="Range (1-5, 1-9), list (1,3,5) or labels with values (bad=0,ok=1,good=2)."
)
@click.option(
    "--lens",
    type=click.Choice(["raw", "norm"]),
    default="raw",
    help="raw reads every layer as it is, as the paper does; norm after the final norm (logit lens).",
)
@click.option("--layers", default="all", help="Rows that get weight: all, upper-half, or a list such as 0,12-20,-1.")
@click.option(
    "--template", default="direct", help="Prompt template: direct, brief, or a text file with {named} fields."
)
@click.option("--answer-prefix", default="score: ", help="How the judge's answer begins; the next token is the score.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "bf16", "int8", "int4"]),
    default="fp32",
    help="fp32, fp16, bf16: how the body's weights are stored; arithmetic is float32. int8: weights and "
    "activations in 8 bits, more than twice as fast on a CPU, with scores that differ a little. int4: weights in "
    "blocks of 4 bits, a fifth of the size, for machines short of memory.",
)
@click.option(
    "--target",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    help="cuda: an fp16 or bf16 judge multiplies in 16 bits too and adds in float32. cpu: arithmetic that every "
    "provider can do.",
)
@click.option("--no-verify", is_flag=True, help="Do not compare the judge with PyTorch after writing it.")
@click.option("--overwrite", is_flag=True, help="Replace a judge that is there already.")
@click.option("--revision", help="Branch, tag or commit of a hub id.")
@click.option("--trust-remote-code", is_flag=True, help="Run the Python code that ships with the checkpoint.")
def export(checkpoint: str, judge_dir: Path, no_verify: bool, **options: Any) -> None:
    """Export CHECKPOINT as a judge into the new folder JUDGE_DIR.

    CHECKPOINT is a directory in Hugging Face format, a .gguf file or a hub id. The judge is compared with
    PyTorch layer by layer, and nothing is kept of one that disagrees.

    \b
    Examples:
        lager export ./my-checkpoint judges/mine
        lager export model.Q8_0.gguf judges/mine --scale 1-9
        lager export Qwen/Qwen2.5-7B-Instruct judges/qwen --precision bf16 --layers upper-half
    """
    try:
        from lager_onnx.export import export_judge  # noqa: PLC0415
    except ImportError as error:
        raise click.UsageError(f"export needs more packages ({error}): pip install 'lager-onnx[cpu,export]'") from error
    export_judge(checkpoint, judge_dir, verify_judge=not no_verify, **options)


_FORMAT = click.option(
    "--format",
    "format_",
    type=click.Choice(["jsonl", "json", "csv"]),
    help="Format of INPUT; by default its ending tells, and standard input is JSON lines.",
)
_LABEL = click.option(
    "--label", default="human_score", help="Field that holds the label, a number on the judge's scale."
)
_DEVICE = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where to run.")
_THREADS = click.option(
    "--threads", type=click.IntRange(min=1), help="Cores to use; by default all that this process may."
)
_CRITERION = click.option("--criterion", help="Criterion for records that name neither criterion nor rubric.")


@main.command()
@click.argument("judge_dir", type=click.Path(path_type=Path))
@click.argument("input", metavar="INPUT")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON lines; standard output by default.")
@_FORMAT
@_CRITERION
@click.option("--details", is_flag=True, help="Add the baselines, the logits of every layer and the token count.")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    help="A record that cannot be graded stops the run, or becomes a row with the field error.",
)
@click.option("--resume", is_flag=True, help="Go on after the rows that OUTPUT holds already.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT.")
@click.option("--field-prefix", default="", help="Leads the names of the fields that are added.")
@click.option(
    "--batch-tokens",
    type=click.IntRange(min=1),
    default=4096,
    help="Most tokens in a batch, padding included; eight batches are read ahead.",
)
@_DEVICE
@_THREADS
def score(
    judge_dir: Path,
    input: str,  # noqa: A002
    output: Path | None,
    format_: Any,
    resume: bool,
    overwrite: bool,
    device: Any,
    threads: int | None,
    **options: Any,
) -> None:
    """Grade the records in INPUT with the judge in JUDGE_DIR.

    INPUT is a file of JSON lines, JSON or CSV, or - for standard input. A record has an instruction and a
    response, and optionally a criterion or a rubric, a reference, a context; or a finished prompt. All its
    fields are carried through; score and probabilities are added.

    \b
    Examples:
        lager score judges/smollm2 records.jsonl -o scores.jsonl
        lager score judges/smollm2 records.csv --criterion coherence --details > scores.jsonl
        echo '{"instruction": "Name a prime.", "response": "7"}' | lager score judges/smollm2 -
    """
    from lager_onnx.runtime.judge import Judge  # noqa: PLC0415
    from lager_onnx.runtime.records import read_rows  # noqa: PLC0415
    from lager_onnx.runtime.results import ResultFile  # noqa: PLC0415
    from lager_onnx.runtime.run import Options, grade_rows, same_file  # noqa: PLC0415

    if resume and overwrite:
        raise click.UsageError("--resume keeps what --overwrite replaces: choose one")
    if resume and not output:
        raise click.UsageError("--resume needs the file to go on with: add -o OUTPUT")
    same_file(input, output)
    rows = read_rows(input, format_)
    judge = Judge.load(judge_dir, device=device, threads=threads)
    with ResultFile(output, resume=resume, overwrite=overwrite) as results:
        try:
            summary = grade_rows(judge, rows, results, Options(**options))
        except KeyboardInterrupt:
            hint = f"; go on with --resume -o {output}" if output else ""
            click.echo(f"\nStopped. All rows that were graded so far are written{hint}", err=True)
            sys.exit(130)
    click.echo(summary.describe(judge.provider), err=True)


@main.command()
@click.argument("judge_dir", type=click.Path(path_type=Path))
@click.argument("input", metavar="INPUT")
@_FORMAT
@_CRITERION
@click.option("--json", "as_json", is_flag=True, help='One JSON line a record, the whole text in "prompt".')
def prompt(judge_dir: Path, input: str, format_: Any, criterion: str | None, as_json: bool) -> None:  # noqa: A002
    """Show what the judge in JUDGE_DIR will read for every record in INPUT.

    The text is whole: chat wrapper, filled template and answer prefix.
    """
    from lager_onnx.runtime.folder import read_spec  # noqa: PLC0415
    from lager_onnx.runtime.prompts import PromptEncoder  # noqa: PLC0415
    from lager_onnx.runtime.records import read_rows  # noqa: PLC0415
    from lager_onnx.runtime.run import with_criterion  # noqa: PLC0415

    encoder = PromptEncoder(judge_dir, read_spec(judge_dir))
    for row in read_rows(input, format_):
        try:
            if row.error:
                raise row.error
            turn = encoder.user_turn(with_criterion(row.record, criterion))
        except RecordError as error:
            raise RecordError(f"{row.where}: {error}") from error
        text, tokens = encoder.spec.chat.wrap(turn), len(encoder.encode([turn])[0])
        if as_json:
            identity = {"id": row.record["id"]} if "id" in row.record else {}
            click.echo(json.dumps({**identity, "prompt": text, "tokens": tokens}, ensure_ascii=False))
        else:
            click.echo(f"──── {row.where}: {tokens} tokens ────\n{text}\n")


@main.command()
@click.argument("judge_dir", type=click.Path(path_type=Path))
@click.argument("labelled", metavar="LABELLED")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder for the tuned judge; JUDGE_DIR by default."
)
@click.option("--overwrite", is_flag=True, help="Replace a judge that is at OUTPUT already.")
@click.option("--dry-run", is_flag=True, help="Estimate what tuning brings, and write nothing.")
@_LABEL
@click.option(
    "--recipe",
    type=click.Choice(["regularised", "paper"]),
    default="regularised",
    help="regularised: converged, drawn to uniform weights as strongly as does best on responses left out. "
    "paper: Adam, rate 0.01, batches of 4, the last layer first.",
)
@click.option("--alpha", type=click.FloatRange(0, 1), default=0.5, help="Share of the cross entropy in the loss.")
@click.option(
    "--distance", type=click.Choice(["mae", "mse"]), default="mae", help="The rest: |score - label|, or squared."
)
@click.option("--epochs", type=click.IntRange(min=1), default=1, help="Passes over the labels, in the paper's recipe.")
@click.option("--folds", type=click.IntRange(min=2), default=5, help="Of the cross-validation; no response is in two.")
@_FORMAT
@_CRITERION
@_DEVICE
@_THREADS
def tune(
    judge_dir: Path,
    labelled: str,
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    label: str,
    recipe: Any,
    alpha: float,
    distance: Any,
    epochs: int,
    folds: int,
    format_: Any,
    criterion: str | None,
    device: Any,
    threads: int | None,
) -> None:
    """Learn the layer weights of the judge in JUDGE_DIR from the labels in LABELLED.

    LABELLED holds records as for `lager score`, each with a label. Records of one `group` (or of the same
    instruction and response) belong together. What tuning brings is estimated by cross-validation and printed before
    the weights are written into the judge; its large weights stay as they are. Records are graded once: their layer
    logits are kept in the cache folder, and a second run takes a second.

    \b
    Examples:
        lager tune judges/smollm2 labelled.jsonl --dry-run
        lager tune judges/smollm2 labelled.jsonl -o judges/smollm2-tuned --label rating
    """
    try:
        from lager_onnx.runtime import reweigh  # noqa: PLC0415
        from lager_onnx.runtime import tune as tuning  # noqa: PLC0415
    except ImportError as error:
        raise click.UsageError(f"tuning needs more packages ({error}): pip install 'lager-onnx[cpu,tune]'") from error
    import numpy as np  # noqa: PLC0415

    from lager_onnx.runtime.judge import Judge  # noqa: PLC0415
    from lager_onnx.runtime.labels import labelled_logits, read_labelled  # noqa: PLC0415

    judge = Judge.load(judge_dir, device=device, threads=threads)
    rows = read_labelled(labelled, judge.spec.scale, field=label, format_=format_, criterion=criterion)
    data, groups = labelled_logits(judge, rows), [row.group for row in rows]
    learn = tuning.recipe(recipe, alpha=alpha, distance=distance, epochs=epochs)
    found = tuning.estimate(data, groups, np.asarray(judge.spec.layer_weights), learn, folds)
    click.echo(found.describe(len(rows), len(set(groups)), folds))
    if dry_run:
        return
    origin = f"tuned on {len(rows)} labels of {Path(labelled).name}, recipe {recipe}, alpha {alpha:g}, {distance}"
    weights = learn(data, groups).tolist()
    reweigh.reweigh(judge_dir, weights, origin, target=output, overwrite=overwrite)
    click.echo(f"{output or judge_dir}: {origin}", err=True)


@main.command()
@click.argument("judge_dir", type=click.Path(path_type=Path))
@click.argument("labelled", metavar="LABELLED")
@_LABEL
@click.option("--by", default="dataset,criterion", help="Fields by whose values the records are split, with commas.")
@click.option("--ablations", is_flag=True, help="Add all combinations of max, expectation, logits and probabilities.")
@click.option("--resamples", type=click.IntRange(min=1), default=1000, help="Of the bootstrap behind the intervals.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures as JSON, too.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write the figures as CSV, too.")
@_FORMAT
@_CRITERION
@_DEVICE
@_THREADS
def evaluate(
    judge_dir: Path,
    labelled: str,
    label: str,
    by: str,
    ablations: bool,
    resamples: int,
    json_file: Path | None,
    csv_file: Path | None,
    format_: Any,
    criterion: str | None,
    device: Any,
    threads: int | None,
) -> None:
    """Compare the judge in JUDGE_DIR with the labels in LABELLED, beside every baseline.

    Figures are correlations (Spearman, Pearson, Kendall's tau-b), mean absolute error, Cohen's kappa with quadratic
    weights, expected calibration error and the number of different scores, with 95% intervals: whole groups of
    records are resampled. "lead" is LAGER's Spearman less the method's, on the same resamples. The best single layer
    is chosen by these very labels and named an oracle. Layer logits are kept in the cache folder.

    GPTScore, the likelihood of the response, is left out: a judge holds no unembedding but the score tokens' rows.

    \b
    Example:
        lager evaluate judges/smollm2 labelled.jsonl --by criterion --csv figures.csv
    """
    try:
        from lager_onnx.runtime import evaluation_tables as tables  # noqa: PLC0415
        from lager_onnx.runtime.evaluate import evaluate as compare  # noqa: PLC0415
    except ImportError as error:
        raise click.UsageError(f"evaluating needs more packages ({error}): pip install 'lager-onnx[tune]'") from error
    import numpy as np  # noqa: PLC0415

    from lager_onnx.runtime.judge import Judge  # noqa: PLC0415
    from lager_onnx.runtime.labels import labelled_logits, read_labelled  # noqa: PLC0415

    judge = Judge.load(judge_dir, device=device, threads=threads)
    rows = read_labelled(labelled, judge.spec.scale, field=label, format_=format_, criterion=criterion)
    fields = [field.strip() for field in by.split(",") if field.strip()]
    parts = {field: [str(row.record.get(field, "")) for row in rows] for field in fields}
    found = compare(
        labelled_logits(judge, rows), [row.group for row in rows], np.asarray(judge.spec.layer_weights), parts,
        ablations=ablations, resamples=resamples,
    )  # fmt: skip
    for file, written in ((json_file, tables.as_json), (csv_file, tables.as_csv)):
        if file:
            file.write_text(written(found), encoding="utf-8")
    click.echo(tables.as_text(found))


@main.command()
@click.argument("judge_dir", type=click.Path(path_type=Path))
@_DEVICE
@_THREADS
@click.option("--repeats", type=click.IntRange(min=1), default=5, help="Times that every case is measured.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line a case, with the seconds of every repetition.")
def bench(judge_dir: Path, device: Any, threads: int | None, repeats: int, as_json: bool) -> None:
    """Measure how fast the judge in JUDGE_DIR grades on this machine.

    Prompts are of random tokens, of several lengths and numbers; the last case is one response under seven
    criteria. Figures are medians, with the slowest and the fastest repetition.

    \b
    Example:
        lager bench judges/smollm2 --threads 4
    """
    from lager_onnx.runtime.bench import Bench, peak_memory  # noqa: PLC0415

    opened = Bench.open(judge_dir, device=device, threads=threads)
    click.echo(f"{judge_dir}: loaded in {opened.load:.2f} s, runs on {opened.engine.provider}", err=True)
    for speed in opened.speeds(repeats):
        click.echo(json.dumps(asdict(speed)) if as_json else speed.describe())
    if peak := peak_memory():
        click.echo(f"Peak memory of this process: {peak / 1e6:.0f} MB", err=True)
