"""Spark: `mapInPandas`, with one judge a partition.

    python docs/integrations/with_spark.py judges/smollm2 records.jsonl graded

Opening a judge takes half a second or more: let partitions hold thousands of rows.
"""

import os
import sys
from collections.abc import Iterator

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql.types import DoubleType, StringType, StructField, StructType

from lager_onnx.integrations.actor import JudgeActor

ADDED = (StructField("score", DoubleType()), StructField("error", StringType()))


def main(judge_dir: str, records: str, graded: str) -> None:
    """Reads JSON lines, adds `score` and `error`, writes JSON lines."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = SparkSession.builder.appName("lager").getOrCreate()
    frame = spark.read.json(records)

    def grade(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        actor = JudgeActor(judge_dir, threads=1)  # one core, as a Spark task has
        for batch in batches:
            yield pd.DataFrame(actor(batch.to_dict("list"))).drop(columns="probabilities")

    schema = StructType([*frame.schema.fields, *ADDED])
    frame.mapInPandas(grade, schema).write.json(graded, mode="overwrite")
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
