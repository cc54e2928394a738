"""The command line. Every command imports what it needs when it runs, so that `--help` is quick."""

import logging
from typing import Any

import click

from lager_onnx.commands.bench import bench
from lager_onnx.commands.evaluate import evaluate
from lager_onnx.commands.export import export
from lager_onnx.commands.inspect import inspect
from lager_onnx.commands.prompt import prompt
from lager_onnx.commands.score import score
from lager_onnx.commands.select import select
from lager_onnx.commands.tune import tune
from lager_onnx.models.errors import LagerError

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


for _command in (export, prompt, score, select, tune, evaluate, inspect, bench):
    main.add_command(_command)
