"""Judge: loads a judge folder and grades records."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, overload

from tqdm import tqdm

from lager_onnx.models.chat import ChatWrapper
from lager_onnx.models.cure import Cure, Notice
from lager_onnx.models.device import Device
from lager_onnx.models.errors import GradingError, RecordError
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.models.template import Template
from lager_onnx.runtime.as_grade import as_grade, mean_grade
from lager_onnx.runtime.batching import windows
from lager_onnx.runtime.engines.base import Engine
from lager_onnx.runtime.engines.open import open_judge_engine
from lager_onnx.runtime.feedback import FeedbackWriter, Reasoning
from lager_onnx.runtime.folder import check_graph, read_spec, start_checking
from lager_onnx.runtime.grade import Grade
from lager_onnx.runtime.hub import find_judge
from lager_onnx.runtime.prepared import AnyRecord, Prepared, prepare, reported, tell
from lager_onnx.runtime.prompts import PromptEncoder
from lager_onnx.runtime.records.record import as_record, record_or_error
from lager_onnx.runtime.records.tables import records_of
from lager_onnx.runtime.repeats import Found, Repeats


@dataclass(frozen=True)
class _Opening:
    """What a judge was opened with: enough to open it again in another process."""

    path: Path
    device: Device
    threads: int | None
    max_memory: int | None

    def open(self, template: Template, chat: ChatWrapper, reasoning: Reasoning | None = None) -> "Judge":
        judge = Judge.load(self.path, device=self.device, threads=self.threads, max_memory=self.max_memory)
        return judge.with_spec(replace(judge.spec, template=template, chat=chat)).with_reasoning(reasoning)


class Judge:
    """A judge that is ready to grade.

        judge = Judge.load("judges/smollm2")
        grades = judge.score([{"instruction": "Name a prime.", "response": "Seven."}])
        grades[0].score

    It can be pickled, which takes along where it lies and not its weights: a process that reads it opens it there anew.
    As a context manager it closes when it is left.

    Attributes:
        spec: what `judge.json` says.
        provider: the onnxruntime provider that really runs, such as `CPUExecutionProvider`.
        reasoning: how it writes before it grades; None for not at all, unless it is asked to.
    """

    def __init__(
        self,
        spec: JudgeSpec,
        encoder: PromptEncoder,
        engine: Engine,
        opening: _Opening,
        reasoning: Reasoning | None = None,
    ):
        self.spec, self.provider, self.reasoning = spec, engine.provider, reasoning
        self._encoder, self._engine, self._opening = encoder, engine, opening
        self._submitted = set[Notice]()  # what was said of records that were submitted

    def __reduce__(self) -> tuple[Any, ...]:
        return self._opening.open, (self.spec.template, self.spec.chat, self.reasoning)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees its threads and its memory; it can grade no more. Those made from it by `with_spec` close with it."""
        self._engine.close()

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: Device = "auto",
        threads: int | None = None,
        max_memory: int | None = None,
        revision: str | None = None,
    ) -> "Judge":
        """Opens a judge folder.

        Args:
            path: the folder that `lager export` wrote; or, where there is no such folder, an id on the Hugging Face
                hub, from where it is fetched into the cache folder.
            device: "cpu", "cuda" (fails with the reason where it cannot run) or "auto"; or GPUs by number, which share
                the records: "cuda:0,cuda:1".
            threads: cores to use; None for all that this process may use.
            max_memory: bytes that the process may hold of its own on a CPU; by default, copies of weights, which make
                it faster, may take 40% of what is free.
            revision: branch, tag or commit of an id on the hub.

        Raises:
            HubError: it cannot be fetched.
            JudgeFolderError: not a judge, or a damaged one.
            DeviceError: CUDA was asked for and cannot run, or `max_memory` is too little.
        """
        folder = find_judge(path, revision)
        spec = read_spec(folder)
        finish_checking = start_checking(folder, spec)
        try:
            encoder = PromptEncoder(folder, spec)
            engine = open_judge_engine(folder, spec, device=device, threads=threads, max_memory=max_memory)
        finally:
            finish_checking()  # of a damaged file, its checksum says more than what came of reading it
        check_graph(spec, engine.session.get_modelmeta().custom_metadata_map, folder)
        return cls(spec, encoder, engine, _Opening(folder.absolute(), device, threads, max_memory))

    def with_template(self, template: str) -> "Judge":
        """This judge with other prompts; both run in one session, whose weights are in memory once.

        Args:
            template: name of a built-in template, or a text file with named fields.

        Raises:
            TemplateError: there is none, or it cannot be used.
        """
        return self.with_spec(replace(self.spec, template=Template.load(template)))

    def with_spec(self, spec: JudgeSpec) -> "Judge":
        """This judge with another template or chat wrapper; what else the spec says must be as it was."""
        return Judge(spec, self._encoder.with_spec(spec), self._engine, self._opening, self.reasoning)

    def with_reasoning(self, reasoning: Reasoning | None) -> "Judge":
        """This judge, writing feedback before every grade; None for one that does not.

        Raises:
            GradingError: it was exported without.
        """
        if reasoning is not None and self.spec.writing is None:
            raise GradingError(
                "this judge cannot write",
                Cure(command="export it with --reasoning", python="export it with reasoning=True"),
            )
        return Judge(self.spec, self._encoder, self._engine, self._opening, reasoning)

    def prompt(self, record: AnyRecord, *, fields: Mapping[str, str] | None = None) -> str:
        """The whole text that the judge reads for a record; `fields` as for `score`."""
        return self._encoder.text(as_record(record, fields))

    def problems(self, records: Iterable[AnyRecord]) -> list[RecordError | None]:
        """Why each record cannot be graded, None where it can; nothing is graded."""
        return [prepared.error for prepared in prepare(self._encoder, records)]

    def report_unread(self, records: Iterable[AnyRecord]) -> None:
        """Log which fields the user gave on purpose and the judge does not read, as grading does; nothing is graded."""
        told = set[Notice]()
        for record in records:
            try:
                tell(self._encoder.turns(record), told)
            except RecordError:  # grading says so
                continue

    @overload
    def score(
        self,
        records: Iterable[AnyRecord],
        *,
        batch_tokens: int | None = ...,
        on_error: Literal["raise"] = ...,
        progress: bool = ...,
        fields: Mapping[str, str] | None = ...,
        reasoning: bool | Reasoning | None = ...,
    ) -> list[Grade]: ...
    @overload
    def score(
        self,
        records: Iterable[AnyRecord],
        *,
        batch_tokens: int | None = ...,
        on_error: Literal["skip"],
        progress: bool = ...,
        fields: Mapping[str, str] | None = ...,
        reasoning: bool | Reasoning | None = ...,
    ) -> list[Grade | RecordError]: ...
    def score(
        self,
        records: Iterable[AnyRecord],
        *,
        batch_tokens: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        progress: bool = False,
        fields: Mapping[str, str] | None = None,
        reasoning: bool | Reasoning | None = None,
    ) -> Any:
        """Grades records.

        Args:
            records: mappings with `instruction` and `response` (and optionally `criterion` or `rubric`,
                `reference`, `context`), or with a finished `prompt`; or chat `messages`, or Alpaca's fields. With
                `levels` (a number, or a text for each level) the record is graded on those instead of the judge's own
                scale; with a `question` and `choices` (texts) the judge chooses. A list, a pandas DataFrame or a
                `datasets.Dataset`.
            batch_tokens: most tokens in a batch, padding included; by default 4096, on a GPU what its memory allows.
            on_error: "raise" at the first record that cannot be graded, or "skip" it.
            progress: show a progress bar on standard error.
            fields: which field of a record the judge reads as what: `{"response": "answer"}`; these win over fields of
                that name. `{"feedback": "said"}`: as if the judge had said that before it grades.
            reasoning: let the judge write feedback before it grades; `Reasoning` says how much. By default, as
                `with_reasoning` has it.

        Returns:
            One `Grade` a record, in order; with "skip", the `RecordError` in its place where there is none.

        Raises:
            RecordError: a record cannot be graded; says which and why.
        """
        if on_error not in ("raise", "skip"):
            raise GradingError(f"on_error = {on_error!r}; it must be 'raise' or 'skip'")
        total = len(records) if isinstance(records, Sized) else None
        records = records_of(records)
        results: list[Grade | RecordError] = []
        judged = (record_or_error(record, fields) for record in records) if fields else records
        if reasoning is not None:
            judge = self.with_reasoning((Reasoning() if reasoning is True else reasoning) or None)
        else:
            judge = self
        stream = judge.score_stream(judged, batch_tokens=batch_tokens, fail_fast=on_error == "raise")
        counted = tqdm(stream, total=total, disable=not progress, unit=" responses")
        for number, result in enumerate(counted):
            if isinstance(result, RecordError) and on_error == "raise":
                raise result.at(f"record {number}") from result
            results.append(result)
        return results

    async def ascore(self, records: Iterable[AnyRecord], **options: Any) -> list[Grade]:
        """`score` for asynchronous code: grades in another thread, while the event loop goes on."""
        return await asyncio.to_thread(lambda: self.score(records, **options))

    def score_stream(
        self,
        records: Iterable[AnyRecord | RecordError],
        *,
        batch_tokens: int | None = None,
        fail_fast: bool = False,
        told: set[Notice] | None = None,
    ) -> Iterator[Grade | RecordError]:
        """Grades records as they come, in order; never raises for a record, but yields its error.

        An error in the place of a record is handed through. With `fail_fast`, an error is yielded before anything that
        follows it is graded. The same prompt is graded once, and its records have the same grade to the bit; see
        `Repeats`. Fields that are given on purpose and not read are logged once: those in `told` were logged before,
        and others are added to it.
        """
        repeats = Repeats()
        started: deque[Iterator[Grade | RecordError]] = deque()
        limit = batch_tokens or self._engine.batch_tokens
        prepared = reported(prepare(self._encoder, records), set() if told is None else told)
        for window in windows(prepared, limit, end_at_errors=fail_fast):
            started.append(self._start(window, batch_tokens, repeats))
            # While one window is graded, the next is read and tokenised; behind an error nothing is.
            while len(started) > (0 if fail_fast and window[-1].error else 1):
                yield from started.popleft()
        for grades in started:
            yield from grades

    def submit(
        self, records: Iterable[AnyRecord | RecordError], *, batch_tokens: int | None = None
    ) -> Iterator[Grade | RecordError]:
        """Starts to grade records and returns at once; what it returns gives their grades, in order, as they come.

        For whoever feeds a judge: records that are submitted while others are graded keep its cores busy.
        """
        window = list(reported(prepare(self._encoder, records), self._submitted))
        return self._start(window, batch_tokens, Repeats())

    def _start(
        self, window: list[Prepared], batch_tokens: int | None, repeats: Repeats
    ) -> Iterator[Grade | RecordError]:
        asked, slots = repeats.once(window)
        if self.reasoning is None:
            found: Iterable[Found | None] = self._engine.submit([prepared.ids for prepared in asked], batch_tokens)
        else:
            found = FeedbackWriter(self._encoder, self.reasoning).write(self._engine, asked)
        return self._finish(window, repeats.shared(slots, found))

    def _finish(self, window: list[Prepared], graded: Iterable[Found | None]) -> Iterator[Grade | RecordError]:
        for prepared, outputs in zip(window, graded, strict=True):
            if prepared.error is not None:
                yield prepared.error
            elif isinstance(outputs, RecordError):
                yield outputs
            elif isinstance(outputs, list):
                yield mean_grade(self.spec, prepared, outputs)
            elif outputs is not None:
                yield as_grade(self.spec, prepared, outputs)
