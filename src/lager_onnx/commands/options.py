"""Options that several commands have."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click


class _Path(click.Path):
    """A path; what no system takes as one is an error of usage."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except ValueError as error:
            self.fail(f"{value!r} is no path: {error}", param, ctx)


PATH = _Path(path_type=Path)
JUDGE_DIR = click.argument("judge_dir", type=PATH)
LABEL = click.option(
    "--label",
    default="human_score",
    help="Field that holds the label: a number on the judge's scale, or a list of them, one a person. A dotted name "
    "goes into an object: human_score.mean, or human_score.* for the mean of all its values.",
)
DATA = click.option(
    "--data",
    type=click.Choice(["plain", "prometheus", "helpsteer", "biggen", "reference"]),
    default="plain",
    help="Form of LABELLED: plain records, or as published: Prometheus' flask_eval, vicuna_eval and mt_bench_eval; "
    "HelpSteer; BiGGen-Bench results; the reference repository's user_prompt and score.",
)


class _Memory(click.ParamType):  # type: ignore[type-arg]
    """A size such as 8GB, in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from lager_onnx.runtime.memory import parse_memory  # noqa: PLC0415

        try:
            return parse_memory(value)
        except ValueError:
            self.fail(f"{value!r} is no size such as 8GB or 500MB", param, ctx)


class _Device(click.ParamType):  # type: ignore[type-arg]
    """Where a judge runs."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from lager_onnx.models.device import gpus_of  # noqa: PLC0415
        from lager_onnx.models.errors import DeviceError  # noqa: PLC0415

        try:
            gpus_of(value)
        except DeviceError as error:
            self.fail(str(error), param, ctx)
        return str(value)


MEMORY = _Memory()
_RUNNING = (
    click.option(
        "--device",
        type=_Device(),
        default="auto",
        help="Where to run: auto, cpu, cuda, or GPUs by number, which share the records: cuda:0,cuda:1.",
    ),
    click.option("--threads", type=click.IntRange(min=1), help="Cores to use; by default all that this process may."),
    click.option(
        "--max-memory",
        type=MEMORY,
        help="Memory that the process may hold of its own, such as 8GB; mapped files do not count. By default, copies "
        "of weights, which make grading faster, may take 40% of what is free.",
    ),
)
CRITERION = click.option("--criterion", help="Criterion for records that name neither criterion nor rubric.")
ON_ERROR = click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    help="A record that cannot be used stops the run, or is left out; how many were, and why, is said at the end.",
)


def runs_judge(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say where and how a judge runs; the command gets one `running`, for `Judge.load`."""

    @wraps(command)
    def with_running(device: Any, threads: int | None, max_memory: int | None, **others: Any) -> Any:
        return command(running={"device": device, "threads": threads, "max_memory": max_memory}, **others)

    for option in reversed(_RUNNING):
        with_running = option(with_running)
    return with_running


_REASONING = (
    click.option(
        "--reasoning", is_flag=True, help="Let the judge write feedback before it grades (exported with --reasoning)."
    ),
    click.option(
        "--max-feedback-tokens",
        type=click.IntRange(min=1),
        default=256,
        help="Most tokens of a feedback, the grade that it names included.",
    ),
    click.option(
        "--samples", type=click.IntRange(min=1), default=1, help="Feedbacks for each record; its score is their mean."
    ),
    click.option("--temperature", type=click.FloatRange(min=0), default=0.0, help="Of feedback that is drawn."),
    click.option("--seed", type=click.IntRange(min=0), default=0, help="Of feedback that is drawn."),
)


DROP_UNNAMED = click.option(
    "--drop-unnamed",
    is_flag=True,
    help="With --reasoning: a record whose feedback names no grade is an error, as the paper drops such samples.",
)


def reasons(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say how a judge writes; the command gets one `reasoning`, for `Judge.with_reasoning`."""

    @wraps(command)
    def with_reasoning(
        reasoning: bool, max_feedback_tokens: int, samples: int, temperature: float, seed: int,
        **others: Any,
    ) -> Any:  # fmt: skip
        if not reasoning:
            return command(reasoning=None, **others)
        from lager_onnx.runtime.feedback import Reasoning  # noqa: PLC0415

        try:
            how = Reasoning(max_feedback_tokens, samples=samples, temperature=temperature, seed=seed)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        return command(reasoning=how, **others)

    for option in reversed(_REASONING):
        with_reasoning = option(with_reasoning)
    return with_reasoning


def reads_records(argument: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds an argument for a file of records and the options that say how to read it; the command gets one `source`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def with_source(
            format_: Any, encoding: str | None, delimiter: str | None, fields: tuple[str, ...], **others: Any
        ) -> Any:
            from lager_onnx.runtime.records.source import Source  # noqa: PLC0415

            path = others.pop(argument)
            pairs = dict(_pair(pair) for pair in fields)
            source = Source(path, format_, encoding, delimiter, pairs) if path is not None else None
            return command(source=source, **others)

        for option in reversed(_READING):
            with_source = option(with_source)
        return with_source

    return decorate


def _pair(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not (ours.strip() and equals and theirs.strip()):
        raise click.BadParameter(f"{text!r} is no pair such as response=output", param_hint="--field")
    return ours.strip(), theirs.strip()


_READING = (
    click.option(
        "--format",
        "format_",
        type=click.Choice(["jsonl", "json", "csv", "parquet"]),
        help="Format of the records; by default the file's ending tells, and standard input is JSON lines.",
    ),
    click.option("--encoding", help="Of a text file, such as cp1252; by default UTF-8, or what its mark says."),
    click.option("--delimiter", help="Between the cells of a CSV file; found by default. tab for a tabulator."),
    click.option(
        "--field",
        "fields",
        multiple=True,
        metavar="FIELD=NAME",
        help="Which field of a record the judge reads as what: response=output. Can be given several times.",
    ),
)
