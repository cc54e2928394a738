"""Reading records."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lager_onnx.models.errors import RecordError
from lager_onnx.runtime.records import Row, read_rows

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def read(folder: Path, name: str, content: bytes) -> list[Row]:
    (folder / name).write_bytes(content)
    return list(read_rows(str(folder / name)))


@given(records=st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=5))
def test_any_json_comes_through_in_both_forms(records, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("json")
    lines = read(folder, "a.jsonl", b"".join(json.dumps(record).encode() + b"\n" for record in records))
    array = read(folder, "a.json", json.dumps(records).encode())
    assert [row.record for row in lines] == [row.record for row in array] == records


def test_broken_lines_become_rows_with_an_error(tmp_path: Path) -> None:
    rows = read(tmp_path, "a.jsonl", b'\xef\xbb\xbf{"a": 1}\n\n{"a": \n[1]\n"x"\n\xff\n{"b": 2}')
    assert [row.record for row in rows if not row.error] == [{"a": 1}, {"b": 2}]
    broken = [row for row in rows if row.error]
    assert [row.record["line"] for row in broken] == [3, 4, 5, 6]
    assert [row.where.rsplit(", ")[1] for row in broken] == ["line 3", "line 4", "line 5", "line 6"]
    assert broken[0].record["input"] == '{"a": '
    for row, problem in zip(broken, ("not JSON", "but list", "but str", "not UTF-8"), strict=True):
        assert problem in str(row.error)


def test_nesting_beyond_reason_is_an_error_of_its_line(tmp_path: Path) -> None:
    deep, good = read(tmp_path, "a.jsonl", b"[" * 100_000 + b'\n{"a": 1}\n')
    assert deep.error
    assert not good.error


def test_json_lines_in_a_json_file_are_understood(tmp_path: Path) -> None:
    assert [row.record for row in read(tmp_path, "a.json", b'{"a": 1}\n{"a": 2}\n')] == [{"a": 1}, {"a": 2}]


def test_json_arrays_report_wrong_members_and_wrong_files(tmp_path: Path) -> None:
    good, bad = read(tmp_path, "a.json", b'[{"a": 1}, 7]')
    assert not good.error
    assert "record 2" in bad.where
    for content in (b"[1", b"7", b"\xff"):
        with pytest.raises(RecordError):
            read(tmp_path, "b.json", content)


def test_csv(tmp_path: Path) -> None:
    rows = read(tmp_path, "a.csv", '\ufeffinstruction,response\r\n"two\nlines","a, ""b"""\r\nx\r\nx,y,z\r\n'.encode())
    assert rows[0].record == {"instruction": "two\nlines", "response": 'a, "b"'}
    assert [row.error is not None for row in rows] == [False, True, True]
    assert "1 cells in a table of 2 columns" in str(rows[1].error)
    assert "3 cells in a table of 2 columns" in str(rows[2].error)
    with pytest.raises(RecordError, match="is empty"):
        read(tmp_path, "b.csv", b"")
    bad, good = read(tmp_path, "b.csv", b"a,b\n\xff,\xff\n1,2\n")
    assert "not UTF-8 (byte 0xff" in str(bad.error)
    assert good.record == {"a": "1", "b": "2"}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such file"):
        read_rows(str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(RecordError, match="--format"):
        read_rows("records.xlsx")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(RecordError, match="directory"):
        list(read_rows(str(tmp_path / "folder.jsonl")))
