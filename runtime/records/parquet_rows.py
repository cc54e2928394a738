"""Records from Parquet files, which pyarrow reads."""

import io
from collections.abc import Iterator
from typing import IO

from lager_onnx.models.errors import RecordError
from lager_onnx.runtime.records.row import Row
from lager_onnx.runtime.records.source import Source


def parquet_rows(stream: IO[bytes], source: Source) -> Iterator[Row]:
    """One record a row.

    Raises:
        RecordError: pyarrow is not installed, or the file is no Parquet.
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
        number = 0
        for batch in file.iter_batches():
            for record in batch.to_pylist():
                number += 1
                yield Row(f"{source.name}, row {number}", record)
    except ArrowException as error:
        raise RecordError(f"{source.name} is not Parquet ({error})") from error
