"""Records of a table in memory: a list of mappings, a pandas DataFrame, a `datasets.Dataset`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lager_onnx.models.errors import RecordError
from lager_onnx.models.values import names


def records_of(table: Iterable[Any]) -> Iterable[Any]:
    """Return the records of a table, one after another, as mappings from column to cell.

    Raises:
        RecordError: it is one record, or has two columns of one name.
    """
    if isinstance(table, Mapping):
        raise RecordError(
            "a list of records is needed: put the one record into a list, or choose one split of a DatasetDict"
        )
    if not hasattr(table, "itertuples"):
        return table
    columns = [str(name) for name in table.columns]  # type: ignore[attr-defined]
    refuse_twice(columns, "the DataFrame")
    return _rows(columns, table)


def refuse_twice(columns: Iterable[str], where: str) -> None:
    """Refuse a table in which two columns have one name: of which of them a cell is read is a guess.

    Raises:
        RecordError: names them.
    """
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise RecordError(f"{where} has the column {names(twice)} twice: rename one of them")


def _rows(columns: list[str], frame: Any) -> Iterator[dict[str, Any]]:  # its own iterator gives the columns' names
    for row in frame.itertuples(index=False, name=None):
        yield dict(zip(columns, row, strict=True))
