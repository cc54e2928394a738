"""Records from Parquet files, which pyarrow reads."""

import io
from collections.abc import Iterator, Sequence
from typing import IO

from lager_onnx.models.errors import RecordError
from lager_onnx.runtime.records.row import Row
from lager_onnx.runtime.records.source import Source
from lager_onnx.runtime.records.tables import refuse_twice


def parquet_rows(
    stream: IO[bytes], source: Source, groups: Sequence[int] | None = None, *, first: int = 1
) -> Iterator[Row]:
    """One record a row; of some row groups only, whose first row is number `first` of the file.

    Raises:
        RecordError: pyarrow is not installed, the file is no Parquet, or has two columns of one name.
    """
    try:
        from pyarrow import ArrowException  # noqa: PLC0415
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415
    except ImportError as error:
        raise RecordError(
            f"{source.name} is Parquet, which needs pyarrow: pip install 'lager-onnx[parquet]'"
        ) from error
    try:
        file = ParquetFile(stream if stream.seekable() else io.BytesIO(stream.read()))
        refuse_twice(file.schema_arrow.names, source.name)
        number = first - 1
        for batch in file.iter_batches(row_groups=groups):
            for record in batch.to_pylist():
                number += 1
                yield Row(f"{source.name}, row {number}", record)
    except ArrowException as error:
        raise RecordError(f"{source.name} is not Parquet ({error})") from error
