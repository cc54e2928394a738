"""The command line. Every command imports what it needs when it runs, so that `--help` is quick."""

import logging
import os
import sys
from typing import Any

import click

from lager_onnx.commands.bench import bench
from lager_onnx.commands.cut import cut
from lager_onnx.commands.doctor import doctor
from lager_onnx.commands.evaluate import evaluate
from lager_onnx.commands.export import export
from lager_onnx.commands.inspect import inspect
from lager_onnx.commands.prompt import prompt
from lager_onnx.commands.pull import pull
from lager_onnx.commands.push import push
from lager_onnx.commands.score import score
from lager_onnx.commands.select import select
from lager_onnx.commands.serve import serve
from lager_onnx.commands.tune import tune
from lager_onnx.extras import missing_package
from lager_onnx.models.cure import Interface, Notice
from lager_onnx.models.errors import LagerError, OutputError, ReaderGoneError, StoppedError
from lager_onnx.models.values import visible

_CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True, "auto_envvar_prefix": "LAGER"}


class _Group(click.Group):
    """Prints our errors without a traceback; exits with 2 for bad input or usage, 1 for failed work, 130 for Ctrl-C.

    Where the reader of a pipe has gone, as `head` does, it ends without a word, with 141.
    """

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*args, **options)
        except OSError as error:  # of --version and --help, which print before a command is invoked
            ours = _ours(error, "")
            _say(ours)
            raise SystemExit(ours.exit_code) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except LagerError as error:
            _fail(ctx, error)
        except (Exception, KeyboardInterrupt) as error:
            _fail(ctx, _ours(error, ctx.invoked_subcommand or ""))
        else:
            return result


def _ours(error: BaseException, command: str) -> LagerError:
    """What an error is that is none of ours; one that nobody expects is raised again."""
    if isinstance(error, KeyboardInterrupt):
        return StoppedError("stopped")
    missing = missing_package(error, command) if isinstance(error, ImportError) else None
    if missing is not None:
        return missing
    if isinstance(error, OSError):  # of files, all are told apart where they are opened
        _discard_output()
        if isinstance(error, BrokenPipeError):
            return ReaderGoneError()
        return OutputError(f"cannot write standard output: {error.strerror or error}")
    raise error


def _fail(ctx: click.Context, error: LagerError) -> None:
    _say(error)
    ctx.exit(error.exit_code)


def _say(error: LagerError) -> None:
    if isinstance(error, ReaderGoneError):
        _discard_output()
        return
    lines = [visible(line) for line in error.told("command").split("\n")]  # text of records may be in it
    click.echo("Error: " + "\n".join(lines), err=True)


def _discard_output() -> None:
    """Lets what is still buffered go nowhere: Python would try to write it once more when it ends."""
    with open(os.devnull, "w") as nowhere:
        try:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        except (OSError, ValueError):  # no real file behind it
            return


@click.group(cls=_Group, context_settings=_CONTEXT)
@click.version_option(package_name="lager-onnx")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Grade responses with a language model's layers, from one ONNX model.

    \b
    Export a judge once (needs the extra [export]), then score without PyTorch:
        lager export HuggingFaceTB/SmolLM2-135M-Instruct judges/smollm2
        lager score judges/smollm2 records.jsonl -o scores.jsonl

    Every option can also be set as an environment variable, such as LAGER_SCORE_THREADS.
    """
    log = logging.getLogger("lager_onnx")
    if not log.handlers:
        log.addHandler(_Handler())
    for handler in log.handlers:
        if isinstance(handler, _Handler):  # a server's notices are of requests
            handler.setFormatter(_OneLine("http" if ctx.invoked_subcommand == "serve" else "command"))
    log.setLevel(logging.INFO)


class _Handler(logging.Handler):
    """Writes to what is standard error now, above a progress bar that is drawn there."""

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if "tqdm" in sys.modules:
            from tqdm import tqdm  # noqa: PLC0415

            tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr)


class _OneLine(logging.Formatter):
    """Formats a message as one line, whatever text of a record is in it, with the cures of an interface."""

    def __init__(self, interface: Interface):
        super().__init__("%(message)s")
        self._interface = interface

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.msg, Notice):
            return visible(record.msg.told(self._interface))
        return visible(super().format(record))


for _command in (export, prompt, score, select, tune, cut, evaluate, inspect, bench, doctor, serve, push, pull):
    main.add_command(_command)
