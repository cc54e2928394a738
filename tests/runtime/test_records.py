"""Reading records: formats, encodings, layouts, and rows that are broken."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lager_onnx.models.errors import RecordError
from lager_onnx.runtime.records import Row, Source, as_judged, read_rows

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
GOOD = {"instruction": "Name a prime.", "response": "Seven."}


def read(folder: Path, name: str, content: bytes, **how: Any) -> list[Row]:
    (folder / name).write_bytes(content)
    return list(read_rows(Source(str(folder / name), **how)))


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
    with pytest.raises(RecordError, match="not JSON"):
        read(tmp_path, "a.json", b"[" * 100_000)


def test_line_ends_of_other_kinds_are_text_in_json_lines(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "a.jsonl", '{"a": "one\u2028two\u0085three"}\r\n'.encode())
    assert row.record == {"a": "one\u2028two\u0085three"}


def test_json_lines_in_a_json_file_are_understood(tmp_path: Path) -> None:
    assert [row.record for row in read(tmp_path, "a.json", b'{"a": 1}\n{"a": 2}\n')] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    "content",
    [
        {"data": [GOOD, GOOD]},
        {"version": 1, "records": [GOOD, GOOD]},
        {"instruction": ["Name a prime."] * 2, "response": ["Seven."] * 2},
        {"instruction": {"0": "Name a prime.", "1": "Name a prime."}, "response": {"0": "Seven.", "1": "Seven."}},
    ],
)
def test_json_of_other_forms(content: dict[str, Any], tmp_path: Path) -> None:
    for indent in (None, 2):
        rows = read(tmp_path, "a.json", json.dumps(content, indent=indent).encode())
        assert [row.record for row in rows] == [GOOD, GOOD]


def test_one_object_is_one_record(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "a.json", json.dumps(GOOD, indent=1).encode())
    assert row.record == GOOD
    with pytest.raises(RecordError, match="not of one length"):
        read(tmp_path, "a.json", b'{"instruction": ["a", "b"], "response": ["c"]}')


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


@pytest.mark.parametrize(
    ("content", "how"),
    [
        (b"instruction;response\nName a prime.;Seven.\n", {}),
        (b"instruction\tresponse\nName a prime.\tSeven.\n", {}),
        (b"instruction|response\nName a prime.|Seven.\n", {}),
        (b"instruction~response\nName a prime.~Seven.\n", {"delimiter": "~"}),
        (b"sep=;\r\ninstruction;response\r\nName a prime.;Seven.\r\n", {}),
        (b'\xef\xbb\xbfsep=,\r\nInstruction, RESPONSE\r\nName a prime., "Seven."\r\n', {}),
        ("instruction\tresponse\nName a prime.\tSeven.\n".encode("utf-16"), {}),
        (b"\xfe\xff" + "instruction,response\nName a prime.,Seven.\n".encode("utf-16-be"), {}),
        ("instruction,response\nName a prime.,Seven.\n".encode("utf-16-le"), {"encoding": "utf-16-le"}),
        (b"instruction,response\rName a prime.,Seven.\r", {}),
        (gzip.compress(b"instruction,response\nName a prime.,Seven.\n", mtime=0), {}),
    ],
)
def test_tables_as_programs_write_them(content: bytes, how: dict[str, Any], tmp_path: Path) -> None:
    (row,) = read(tmp_path, "a.csv", content, **how)
    assert row.error is None
    assert row.record == GOOD


def test_a_bad_row_costs_its_neighbours_nothing(tmp_path: Path) -> None:
    lines = [b"instruction,response", b'a,"never closed', b"b,fine", b'c,"x" y', b"d,\xff", b"e,fine"]
    rows = read(tmp_path, "a.csv", b"\n".join(lines))
    assert [row.record["instruction"] for row in rows if not row.error] == ["b", "e"]
    assert [row.record["line"] for row in rows if row.error] == [2, 4, 5]
    assert "quote" in str(rows[0].error)
    encoding = [row.error for row in rows if row.error][-1]
    assert encoding is not None
    assert "--encoding" in encoding.told("command")
    assert "--" not in str(encoding)


@given(rows=st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=6))
def test_what_python_writes_as_csv_is_read_back(rows, tmp_path_factory: pytest.TempPathFactory) -> None:
    import csv

    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("instruction", "response"), *rows])
    if any("\ud800" <= c <= "\udfff" for row in rows for cell in row for c in cell):
        return
    read_back = [(row.record.get("instruction"), row.record.get("response")) for row in read_rows(str(path))]
    assert read_back == rows


def test_cells_may_be_of_any_length(tmp_path: Path) -> None:
    long, short = read(tmp_path, "a.csv", b"instruction,response\na," + b"x" * 200_000 + b"\nb,y\n")
    assert len(long.record["response"]) == 200_000
    assert short.record["response"] == "y"


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="column response twice"):
        read(tmp_path, "a.csv", b"instruction,response,Response\na,b,c\n")
    with pytest.raises(RecordError, match="one character"):
        read(tmp_path, "a.csv", b"a,b\n1,2\n", delimiter="ab")


def test_other_encodings_when_named(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "a.csv", "instruction,response\nCafé?,“Oui”\n".encode("cp1252"), encoding="cp1252")
    assert row.record == {"instruction": "Café?", "response": "“Oui”"}
    with pytest.raises(RecordError, match="there is no encoding 'klingon'"):
        read(tmp_path, "a.csv", b"a\n1\n", encoding="klingon")


def test_gzip_of_every_format_and_broken_ones(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps(GOOD).encode() + b"\n")
    (row,) = read(tmp_path, "a.jsonl.gz", packed)
    assert row.record == GOOD
    with pytest.raises(RecordError, match=r"cannot read .*a\.jsonl\.gz"):
        read(tmp_path, "a.jsonl.gz", packed[:-12])


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"instruction": ["a", None], "response": ["b", "c"], "context": [["x", "y"], None]})
    parquet.write_table(table, tmp_path / "a.parquet")
    first, second = read_rows(str(tmp_path / "a.parquet"))
    assert first.record == {"instruction": "a", "response": "b", "context": ["x", "y"]}
    assert second.record["instruction"] is None
    with pytest.raises(RecordError, match="not Parquet"):
        read(tmp_path, "b.parquet", b"PAR1 not really")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such file"):
        read_rows(str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(RecordError, match="give Source a format: jsonl") as refused:
        read_rows("records.xlsx")
    assert "add --format jsonl" in refused.value.told("command")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(RecordError, match="directory"):
        list(read_rows(str(tmp_path / "folder.jsonl")))
    with pytest.raises(RecordError, match="cannot read"):
        read_rows("a\0b.jsonl")


MESSAGES = [{"role": "user", "content": "Name a prime."}, {"role": "assistant", "content": "Seven."}]


@pytest.mark.parametrize(
    ("record", "fields", "instruction"),
    [
        ({"messages": MESSAGES}, {}, "Name a prime."),
        (
            {"messages": [{"role": "system", "content": "Be brief."}, *MESSAGES]},
            {},
            "system: Be brief.\n\nuser: Name a prime.",
        ),
        ({"messages": [MESSAGES[0], {"role": "assistant", "content": [{"type": "text", "text": "Seven."}]}]}, {}, None),
        ({"instruction": "Name a prime.", "input": "", "output": "Seven."}, {}, "Name a prime."),
        ({"instruction": "Name it.", "input": "A prime.", "output": "Seven."}, {}, "Name it.\n\nA prime."),
        ({"q": "Name a prime.", "a": "Seven."}, {"instruction": "q", "response": "a"}, "Name a prime."),
    ],
)
def test_layouts(record: dict[str, Any], fields: dict[str, str], instruction: str | None) -> None:
    judged = as_judged(record, fields)
    assert judged["response"] == "Seven."
    assert judged["instruction"] == (instruction or "Name a prime.")
    assert judged.original == record
    assert as_judged(judged) is judged
    assert all(judged[name] == record[name] for name in record if name not in {"instruction", *fields.values()})
    assert not set(fields.values()) & set(judged)


@pytest.mark.parametrize(
    ("record", "fields", "message"),
    [
        ({"messages": MESSAGES[:1]}, {}, "the last turn must be the assistant's"),
        ({"messages": [MESSAGES[1]]}, {}, "after at least one"),
        ({"messages": ["hello"]}, {}, "no object with role and content"),
        ({"q": 1}, {"response": "answer"}, "field answer is missing; the record has q"),
    ],
)
def test_layouts_that_are_broken_say_how(record: dict[str, Any], fields: dict[str, str], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        as_judged(record, fields)
