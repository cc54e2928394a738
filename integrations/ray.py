"""Grades millions of rows on a Ray cluster: `lager score --engine ray`, and an actor for your own pipelines.

    input ──parts──► Ray Data ──one part a task──► GradePart (one judge an actor) ──► FOLDER/part-000000.jsonl, ...

A part is written under another name and renamed when it is whole, so a worker that is killed loses nothing and doubles
nothing: the part goes on where its rows end, on whatever worker gets it next. All nodes must see the folder.
"""

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import ray
import ray.data
import ray.exceptions
from tqdm import tqdm

from lager_onnx.integrations.actor import JudgeActor
from lager_onnx.integrations.parts import Part, parts_of
from lager_onnx.models.cure import Cure
from lager_onnx.models.device import Device
from lager_onnx.models.errors import DeviceError, GradingError, OutputError, RecordError
from lager_onnx.models.spec import SPEC_FILE
from lager_onnx.runtime.files import shown
from lager_onnx.runtime.folder import read_spec
from lager_onnx.runtime.jobs.results import ResultFile
from lager_onnx.runtime.jobs.score import Options, grade_rows
from lager_onnx.runtime.judge import Judge
from lager_onnx.runtime.records import Source

__all__ = ["Cluster", "GradePart", "JudgeActor", "file_of", "score_on_ray"]

logger = logging.getLogger(__name__)

_MANIFEST: Final = "_run.json"
_MAY_CHANGE: Final = ("on_error", "batch_tokens")  # of a run that goes on: neither changes a score


@dataclass(frozen=True)
class Cluster:
    """Where a run runs.

    Attributes:
        address: of a cluster, such as `ray://head:10001` or `auto`; None starts one on this machine.
        actors: that hold a judge each; None for as many as the cluster's CPUs (or GPUs) allow.
        device: "cuda" takes a GPU for each; "auto" does where the cluster has one.
        threads: CPUs of each; None for 1.
        max_memory: of each, in bytes, as `Judge.load` takes it.
    """

    address: str | None = None
    actors: int | None = None
    device: Device = "auto"
    threads: int | None = None
    max_memory: int | None = None


class GradePart:
    """Grades whole parts into files; the judge is loaded once an actor."""

    def __init__(self, judge: str, folder: str, source: Source, options: Options, running: dict[str, Any]):
        self._judge = Judge.load(judge, **running)
        self._folder, self._source, self._options = Path(folder), source, options

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """A part's description in; out, how many rows that were, or what is wrong with one: no retry would mend it."""
        part = Part(**row)
        done = file_of(self._folder, part.number)
        partial = done.with_suffix(".partial")
        try:
            with ResultFile(partial, resume=True) as results:
                summary = grade_rows(self._judge, part.rows(self._source), results, self._options)
        except RecordError as error:
            cure = error.cure or Cure("", "")
            return {"rows": 0, "wrong": error.problem, "command": cure.command, "python": cure.python}
        partial.replace(done)
        return {"rows": summary.graded + summary.resumed + summary.failed, "wrong": "", "command": "", "python": ""}


def file_of(folder: Path, number: int) -> Path:
    """The file of a part's results."""
    return folder / f"part-{number:06d}.jsonl"


def score_on_ray(
    judge: str | Path,
    source: Source,
    folder: Path,
    options: Options,
    cluster: Cluster,
    *,
    rows: int = 10_000,
    resume: bool = False,
) -> int:
    """Grades a file, or all files of a folder, into a folder of JSON lines; returns how many rows that took.

    Args:
        judge: folder of it, which all nodes see, or an id on the hub.
        source: what to read.
        folder: where to write `part-000000.jsonl` and so on.
        options: how to grade.
        cluster: where to run.
        rows: of a part, about.
        resume: go on with what an interrupted run left.

    Raises:
        JudgeFolderError: not a judge.
        OutputError: the folder holds something, or a run with another judge or input.
        RecordError: there is no input, or a row that cannot be graded.
        GradingError: Ray could not run it.
    """
    parts = parts_of(source, rows)
    flags = {name: flag for name, flag in asdict(options).items() if name not in _MAY_CHANGE}
    run = {"judge": _identity(judge), "options": flags, "parts": [part.as_row() for part in parts]}
    _begin(folder, run, resume=resume)
    todo = [part for part in parts if not file_of(folder, part.number).exists()]
    if not todo:
        return 0
    ray.init(address=cluster.address, ignore_reinit_error=True, logging_level=logging.WARNING, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    has, threads = ray.cluster_resources(), cluster.threads or 1
    gpus = int(has.get("GPU", 0))
    if ":" in cluster.device:
        raise DeviceError(
            "Ray gives every judge a GPU, so GPUs cannot be chosen by number",
            Cure(command="choose --device cuda", python='give Cluster device="cuda"'),
        )
    on_gpu = cluster.device == "cuda" or (cluster.device == "auto" and gpus > 0)
    most = gpus if on_gpu else int(has["CPU"]) // threads
    actors = min(cluster.actors or max(1, most), len(todo))
    logger.info("%d of %d parts on %d actors", len(todo), len(parts), actors)
    grading = {
        "judge": str(Path(judge).absolute()) if Path(judge).exists() else str(judge),
        "folder": str(folder.absolute()),
        "source": replace(source, path="-"),  # a part has its own
        "options": options,
        "running": {
            "device": "cuda" if on_gpu else "cpu",
            "threads": threads,
            "max_memory": cluster.max_memory,
        },
    }
    described = ray.data.from_items([part.as_row() for part in todo], override_num_blocks=len(todo))
    graded = described.map(
        GradePart,
        fn_constructor_kwargs=grading,
        num_cpus=threads,
        num_gpus=int(on_gpu),
        compute=ray.data.ActorPoolStrategy(size=actors),
    ).iter_rows()
    try:
        return _follow(graded, len(todo), len(parts))
    except ray.exceptions.RayError as error:
        raise GradingError(
            f"the run on Ray failed: {error}",
            Cure(command="--resume goes on with it", python="resume=True goes on with it"),
        ) from error


def _identity(judge: str | Path) -> str:
    """A checksum of what a folder's judge.json says, which holds those of its other files; or an id on the hub."""
    if not Path(judge).exists():
        return str(judge)
    read_spec(Path(judge))  # says what is wrong before a cluster is started
    return sha256((Path(judge) / SPEC_FILE).read_bytes()).hexdigest()


def _begin(folder: Path, manifest: dict[str, Any], *, resume: bool) -> None:
    path = folder / _MANIFEST
    if path.exists():
        if not resume:
            raise OutputError(
                f"{shown(folder)} holds a run already",
                Cure(
                    command="go on with --resume, or name another folder",
                    python="go on with resume=True, or name another folder",
                ),
            )
        if json.loads(path.read_text(encoding="utf-8")) != manifest:
            raise OutputError(
                f"{shown(folder)} holds a run with another judge, input, parts or flags: name another folder"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{shown(folder)} is not empty: name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _or_go_on(command: str, python: str) -> Cure:
    """Return a cure, or going on without such rows."""
    go_on = Cure(
        command="--resume --on-error skip goes on without such rows",
        python='resume=True with Options(on_error="skip") goes on without such rows',
    )
    return Cure(
        command="; or ".join(filter(None, (command, go_on.command))),
        python="; or ".join(filter(None, (python, go_on.python))),
    )


def _follow(done: Iterable[dict[str, Any]], todo: int, parts: int) -> int:
    total = 0
    with tqdm(total=parts, initial=parts - todo, unit=" parts") as bar:
        for part in done:
            if part["wrong"]:
                raise RecordError(part["wrong"], _or_go_on(part["command"], part["python"]))
            total += part["rows"]
            bar.set_postfix_str(f"{total} rows")
            bar.update()
    return total
