"""Reads records from files, and finds instruction and response in the layouts that people have."""

from lager_onnx.runtime.records.layouts import as_judged
from lager_onnx.runtime.records.record import Record, as_record
from lager_onnx.runtime.records.row import Row
from lager_onnx.runtime.records.rows import at_least_one, read_rows, some_rows
from lager_onnx.runtime.records.source import Format, Source, format_of

__all__ = [
    "Format",
    "Record",
    "Row",
    "Source",
    "as_judged",
    "as_record",
    "at_least_one",
    "format_of",
    "read_rows",
    "some_rows",
]
