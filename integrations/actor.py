"""Grades batches of columns, as engines hand them over."""

from typing import Any

import numpy as np

from lager_onnx.models.cure import Notice
from lager_onnx.models.device import Device
from lager_onnx.models.errors import RecordError
from lager_onnx.runtime.judge import Judge


class JudgeActor:
    """A judge that stays open from batch to batch: adds `score`, `probabilities` and `error` to every row.

    In Ray Data:

        graded = dataset.map_batches(
            JudgeActor, fn_constructor_args=("judges/smollm2",), fn_constructor_kwargs={"threads": 4},
            num_cpus=4, compute=ray.data.ActorPoolStrategy(size=2), batch_size=256,
        )

    In Spark's `mapInPandas`, see docs/integrations/with_spark.py.

    Args:
        judge: folder of it, or an id on the hub.
        device: as `Judge.load` takes it.
        threads: as `Judge.load` takes it.
    """

    def __init__(self, judge: str, *, device: Device = "cpu", threads: int | None = 1):
        self._judge = Judge.load(judge, device=device, threads=threads)
        self._told = set[Notice]()  # once for all batches

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Columns in, columns out; a row that cannot be graded has an `error` and NaN for its score."""
        columns = [list(column) for column in batch.values()]
        records = [dict(zip(batch, row, strict=True)) for row in zip(*columns, strict=True)]
        grades = list(self._judge.score_stream(records, told=self._told))
        bad = [isinstance(grade, RecordError) for grade in grades]
        return batch | {
            "score": np.array([np.nan if isinstance(grade, RecordError) else grade.score for grade in grades]),
            "probabilities": [None if isinstance(grade, RecordError) else grade.probabilities for grade in grades],
            "error": [str(grade) if wrong else None for grade, wrong in zip(grades, bad, strict=True)],
        }
