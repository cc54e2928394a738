"""Inputs cut into parts hold the same rows as whole ones."""

import json
from pathlib import Path

import pytest

from lager_onnx.integrations.parts import parts_of
from lager_onnx.models.errors import RecordError
from lager_onnx.runtime.records import Source, read_rows


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
@pytest.mark.parametrize("end", ["\n", ""])
@pytest.mark.parametrize("lines", [1, 7, 21])
def test_json_lines(tmp_path: Path, rows: int, end: str, lines: int) -> None:
    content = "\n".join(json.dumps({"number": number, "text": "é\u2028" * number}) for number in range(lines)) + end
    (tmp_path / "all.jsonl").write_text(content, encoding="utf-8")
    source = Source(str(tmp_path / "all.jsonl"))
    parts = parts_of(source, rows)
    assert len(parts) == -(-lines // rows)
    assert [part.number for part in parts] == list(range(len(parts)))
    got = [row for part in parts for row in part.rows(source)]
    expected = list(read_rows(source))
    assert [row.record for row in got] == [row.record for row in expected]
    assert [row.where for row in got] == [row.where for row in expected]


def test_parquet_and_folders(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"number": list(range(25))}), tmp_path / "a.parquet", row_group_size=4)
    (tmp_path / "b.csv").write_text("number\n25\n26\n")
    (tmp_path / "c.jsonl").write_text('{"number": 27}\n\n{"number": 28}\n')
    (tmp_path / "_run.json").write_text("{}")
    source = Source(str(tmp_path))
    parts = parts_of(source, 8)
    assert [part.path.rsplit(".", 1)[1] for part in parts] == ["parquet"] * 4 + ["csv", "jsonl"]
    got = [row for part in parts for row in part.rows(source)]
    assert [int(row.record["number"]) for row in got] == list(range(29))
    assert got[8].where.endswith("a.parquet, row 9")
    assert got[-1].where.endswith("c.jsonl, line 3")


def test_what_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.jsonl", tmp_path):
        with pytest.raises(RecordError, match="there is no such file, or none in it"):
            parts_of(Source(str(path)), 10)
    (tmp_path / "empty.jsonl").touch()
    assert parts_of(Source(str(tmp_path / "empty.jsonl")), 10) == []
