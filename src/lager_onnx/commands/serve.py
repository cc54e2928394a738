"""Serves a judge over HTTP."""

from pathlib import Path
from typing import Any

import click

from lager_onnx.commands.options import JUDGE_DIR, runs_judge


@click.command()
@JUDGE_DIR
@click.option("--host", default="127.0.0.1", help="Address to listen at; 0.0.0.0 lets other machines ask.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="Port to listen at; 0 for any that is free.")
@click.option(
    "--model-name",
    "model_names",
    multiple=True,
    help="What the judge is called in answers; by default, the name of its folder. Given again, another name that "
    "requests may use, such as the one that a client always sends; a request for any other model gets 404.",
)
@click.option(
    "--api-key",
    envvar="LAGER_API_KEY",
    show_envvar=True,
    help="What clients must send as a bearer's token; better in the environment variable, where no list of processes "
    "shows it.",
)
@click.option("--cors", "origins", multiple=True, metavar="ORIGIN", help="Let pages of that origin ask; * for all.")
@click.option("--max-records", type=click.IntRange(min=1), default=1024, help="Records in one request.")
@click.option("--max-waiting", type=click.IntRange(min=1), default=8192, help="Records that may wait; beyond, 429.")
@click.option("--max-body", type=click.IntRange(min=1), default=16 * 2**20, help="Bytes of one request.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=300.0, help="Seconds for one request.")
@click.option(
    "--drain", type=click.IntRange(min=0), default=30, help="Seconds to end what is being graded, at SIGTERM."
)
@runs_judge
def serve(
    judge_dir: Path,
    host: str,
    port: int,
    model_names: tuple[str, ...],
    api_key: str | None,
    origins: tuple[str, ...],
    max_records: int,
    max_waiting: int,
    max_body: int,
    timeout: float,
    drain: int,
    running: dict[str, Any],
) -> None:
    """Answer requests over HTTP with the judge in JUDGE_DIR, until SIGTERM or Ctrl-C.

    POST /v1/score takes a record, or a list of records; /v1/decisions and /v1/systemone questions about a text with
    probabilities as answers; /rerank, /v1/rerank, /predict and /v1/chat/completions what other servers take.
    GET /openapi.json describes them all, / is a page to try. /health, /ready and /metrics are for monitoring: they
    need no API key, and hold counts and times, no text of any request. Requests that wait are graded together.

    \b
    Examples:
        lager serve judges/smollm2
        curl localhost:8000/v1/score -d '{"instruction": "Name a prime.", "response": "7"}'
        LAGER_API_KEY=secret lager serve judges/smollm2 --host 0.0.0.0 --port 80
    """
    from lager_onnx.runtime.judge import Judge  # noqa: PLC0415
    from lager_onnx.serve.run import serve as run  # noqa: PLC0415
    from lager_onnx.serve.service import Limits, Settings  # noqa: PLC0415

    judge = Judge.load(judge_dir, **running)
    limits = Limits(records=max_records, waiting=max_waiting, body=max_body, seconds=timeout)
    name, *aliases = model_names or [judge_dir.resolve().name]
    settings = Settings(name, limits, api_key or None, origins, tuple(aliases))
    run(judge, settings, host=host, port=port, drain=drain)
