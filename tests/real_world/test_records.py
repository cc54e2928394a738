"""Files and tables as programs and spreadsheets write them: each cell once as plain Python, each column once."""

import importlib
import json
import math
from collections.abc import Callable
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lager_onnx import Judge
from lager_onnx.analysis import compare, evaluate, tune
from lager_onnx.models.errors import RecordError
from lager_onnx.models.rubric import read_rubric
from lager_onnx.models.scale import Scale
from lager_onnx.models.values import plain
from lager_onnx.runtime.records import Row, Source, as_record, read_rows
from lager_onnx.serve.endpoint import parse
from lager_onnx.serve.errors import RequestError
from lager_onnx.serve.protocols.score import Scored

RECORD: dict[str, Any] = {"instruction": "Name a prime.", "response": "Seven."}
SCALE = Scale.parse("1-5")


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Row]]:
    def reads(name: str, content: str | bytes, **how: Any) -> list[Row]:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return list(read_rows(Source(str(tmp_path / name), **how)))

    return reads


def array(*cells: Any) -> Any:
    made = np.empty(len(cells), object)
    made[:] = cells
    return made


# ── columns of one name ──


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('{"response": "first", "response": "second"}', "response"),
        ('{"messages": [{"role": "user", "content": "a", "content": "b"}]}', "content"),
        ('{"rubric": {"descriptions": {"1": "bad", "1": "worse"}}}', "1"),
    ],
)
def test_a_field_that_an_object_has_twice_is_refused(
    line: str, name: str, read: Callable[..., list[Row]], tmp_path: Path
) -> None:
    said = f"has the field {name} twice"
    first, second = read("a.jsonl", f"{line}\n{json.dumps(RECORD)}\n")
    assert said in str(first.error)
    assert (second.error, second.record) == (None, RECORD)
    bad, good = read("a.json", f"[{line}, {json.dumps(RECORD)}]")
    assert said in str(bad.error)
    assert good.error is None
    with pytest.raises(RequestError, match=said):
        parse(Scored, line.encode())
    assert parse(Scored, json.dumps(RECORD).encode()).model_dump() == RECORD


def test_columns_of_json_that_have_one_name_are_refused(read: Callable[..., list[Row]]) -> None:
    with pytest.raises(RecordError, match=r"a\.json: an object has the field response twice"):
        read("a.json", '{"instruction": ["q"], "response": ["first"], "response": ["second"]}')
    (row,) = read("a.json", '{"instruction": "q", "response": {"a": 1, "a": 2}}')
    assert "has the field a twice" in str(row.error)


def test_columns_of_tables_that_have_one_name_are_refused(judge: Judge, tmp_path: Path) -> None:
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.Table.from_arrays(
        [pyarrow.array([text]) for text in "qab"], ["instruction", "response", "response"]
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(RecordError, match=r"a\.parquet has the column response twice"):
        list(read_rows(str(tmp_path / "a.parquet")))
    frame = pandas.DataFrame([["q", "a", "b", 3]], columns=["instruction", "response", "response", "human_score"])
    for refused in (judge.score, lambda found: evaluate(judge, found), lambda found: tune(judge, found)):
        with pytest.raises(RecordError, match="the DataFrame has the column response twice"):
            refused(frame)
    with pytest.raises(RecordError, match="column 1 twice"):
        judge.score(pandas.DataFrame([["a", "b"]], columns=[1, "1"]))


def test_names_are_exact_but_in_text_tables(read: Callable[..., list[Row]]) -> None:
    (row,) = read("a.jsonl", '{"response": "a", "Response": "b"}')
    assert row.record == {"response": "a", "Response": "b"}
    with pytest.raises(RecordError, match="column response twice"):
        read("a.csv", "response, Response \na,b\n")
    (row,) = read("a.csv", "Instruction,RESPONSE,Feedback\nq,a,good\n")
    assert row.record == {"instruction": "q", "response": "a", "Feedback": "good"}


# ── what spreadsheets write ──


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    "encode", [str.encode, lambda text: text.encode("utf-16"), lambda text: text.encode("utf-8-sig")]
)
def test_empty_columns_and_rows_are_passed_over(
    delimiter: str, encode: Callable[[str], bytes], read: Callable[..., list[Row]]
) -> None:
    table = [
        [" ", "", "", "", ""],
        ["instruction", "response", "", "id", ""],
        ["Name a prime.", "Seven.", "", "1", " "],
        ["", "", "", "", ""],
        ["Name a prime.", "Seven.", "", "1"],
        ["Name a prime.", "Seven.", "", "1", "", "", ""],
        ["", "", "", "", "", "", ""],
    ]
    rows = read("a.csv", encode("\r\n".join(delimiter.join(cells) for cells in table)))
    assert [row.error for row in rows] == [None] * 3
    assert [row.record for row in rows] == [RECORD | {"id": "1"}] * 3
    assert [row.where.rsplit(" ", 1)[1] for row in rows] == ["3", "5", "6"]


def test_what_is_no_empty_column_is_refused_by_its_number(read: Callable[..., list[Row]]) -> None:
    table = "instruction,response,,\nq,a,,\nq,a,,note\nq,a,,,more\nq\n"
    good, noted, wide, short = read("a.csv", table)
    assert good.record == {"instruction": "q", "response": "a"}
    assert "column 4 has no name in line 1, and holds something here" in str(noted.error)
    assert "5 cells in a table of 4 columns" in str(wide.error)
    assert "1 cells in a table of 4 columns" in str(short.error)


def test_an_index_of_pandas_is_carried_through(read: Callable[..., list[Row]]) -> None:
    pandas = pytest.importorskip("pandas")
    first, second = read("a.csv", pandas.DataFrame([RECORD] * 2).to_csv())
    assert (first.record, second.record) == ({"": "0"} | RECORD, {"": "1"} | RECORD)


def test_quoted_emptiness_is_a_row(read: Callable[..., list[Row]]) -> None:
    (row,) = read("a.csv", 'instruction,response\n"",""\n,\n \n')
    assert row.record == {"instruction": "", "response": ""}
    with pytest.raises(RecordError, match="is empty"):
        read("a.csv", ",,,\n\n;;\n")


# ── cells ──


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (np.str_("a"), "a"),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array("a"), "a"),
        (array({"a": np.array([1.5, 2.5])}, None), [{"a": [1.5, 2.5]}, None]),
        (("a", {"b": (np.int8(1),)}), ["a", {"b": [1]}]),
        ({np.int64(1): np.str_("x")}, {1: "x"}),
        (Decimal("4"), 4),
        (Decimal("4.5"), 4.5),
    ],
)
def test_cells_become_plain_python(cell: Any, expected: Any) -> None:
    def kinds(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: kinds(each) for key, each in value.items()}
        return [kinds(each) for each in value] if isinstance(value, list) else type(value)

    found = plain(cell)
    assert found == expected
    assert kinds(found) == kinds(expected)


def test_dates_stay_and_pandas_missing_values_are_none() -> None:
    pandas = pytest.importorskip("pandas")
    assert plain([pandas.NA, pandas.NaT, {"a": pandas.NA}]) == [None, None, {"a": None}]
    assert plain(pandas.Series(["a", "b"])) == ["a", "b"]
    for date in (np.datetime64("2024-01-02"), pandas.Timestamp("2024-01-02")):
        assert plain(date) is date
    assert math.isnan(plain(np.float64("nan")))


def test_nesting_beyond_reason_is_an_error_of_its_record(judge: Judge) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    bad, good = judge.score([RECORD | {"deep": deep}, RECORD], on_error="skip")
    assert "nested too deeply" in str(bad)
    assert not isinstance(good, RecordError)


PLAIN: dict[str, dict[str, Any]] = {
    "context": {"context": ["One.", "Two."]},
    "choices": {"question": "Is it kind?", "choices": ["no", "yes"]},
    "levels": {"levels": ["bad", "good"]},
    "count": {"levels": 3},
    "rubric": {"rubric": {"name": "tone", "question": "Is it kind?", "descriptions": ["a", "b", "c", "d", "e"]}},
    "struct": {"rubric": {"name": "tone", "question": "Is it kind?", "descriptions": {"1": "rude", "5": "kind"}}},
    "reference": {"reference": 7},
}


def in_numpy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: in_numpy(each) for key, each in value.items()}
    if isinstance(value, list):
        return array(*map(in_numpy, value))
    return np.str_(value) if isinstance(value, str) else np.float64(value)


@pytest.mark.parametrize("kind", PLAIN)
def test_numpy_cells_are_read_as_plain_ones(judge: Judge, kind: str) -> None:
    found = judge.prompt(RECORD | {name: in_numpy(value) for name, value in PLAIN[kind].items()})
    expected = judge.prompt(RECORD | PLAIN[kind])
    assert found == (expected if kind != "reference" else expected.replace("7", "7.0"))
    assert found != judge.prompt(RECORD)


@pytest.mark.parametrize("kind", PLAIN)
def test_parquet_gives_pandas_the_same_prompts(judge: Judge, kind: str, tmp_path: Path) -> None:
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    records = [RECORD | PLAIN[kind], RECORD | {"messages": None}]
    pandas.DataFrame(records).to_parquet(tmp_path / "a.parquet")
    frame = pandas.read_parquet(tmp_path / "a.parquet")
    assert kind == "count" or not isinstance(frame.iloc[0][list(PLAIN[kind])[-1]], list)
    prompts = [judge.prompt(row) for row in frame.to_dict("records")]
    from_file = [judge.prompt(row.record) for row in read_rows(str(tmp_path / "a.parquet"))]
    expected = [judge.prompt(record) for record in records]
    if kind == "reference":  # a column with a gap holds floats
        expected[0] = expected[0].replace("7", "7.0")
    assert prompts == from_file == expected
    grades = judge.score(frame)
    assert [grade.score for grade in grades] == pytest.approx(
        [grade.score for grade in judge.score(frame.to_dict("records"))], abs=1e-4
    )


def test_chats_of_tables_and_their_null_fields(judge: Judge) -> None:
    def turn(role: str, content: Any) -> dict[str, Any]:
        return {"role": role, "content": content, "name": None, "tool_calls": None}

    chat = array(turn("user", "Name a prime."), turn("assistant", array({"type": "text", "text": "Seven."})))
    assert judge.prompt({"messages": chat}) == judge.prompt(RECORD)
    calls = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}]}
    for null in (None, math.nan, "", [], [{"type": "text", "text": None}]):
        chat = array(
            turn("user", "Six times seven?"), calls | {"content": null}, turn("tool", "42"), turn("assistant", "42.")
        )
        expected = {"instruction": "user: Six times seven?\n\ntool: 42", "response": "42."}
        assert judge.prompt({"messages": chat}) == judge.prompt(expected)
    with pytest.raises(RecordError, match="'response' is empty"):
        judge.prompt({"messages": [turn("user", "Name a prime."), calls]})


@pytest.mark.parametrize(
    ("rubric", "same_as"),
    [
        ({"name": None, "question": "Is it kind?", "descriptions": {"1": "rude", "2": None, "9": None}},
         {"question": "Is it kind?", "descriptions": {"1": "rude"}}),
        ({"name": "tone", "question": None, "descriptions": None, "extra": None}, {"name": "tone"}),
        ({"question": "Is it kind?", "descriptions": ["rude", None, None, math.nan, "kind"]},
         {"question": "Is it kind?", "descriptions": {"1": "rude", "5": "kind"}}),
        ({"question": "Is it kind?", "descriptions": [("1", "rude"), ("5", "kind")]},
         {"question": "Is it kind?", "descriptions": {"1": "rude", "5": "kind"}}),
        ({"name": None, "question": None, "descriptions": {"1": None}}, None),
    ],
)  # fmt: skip
def test_null_in_a_rubric_is_as_if_it_were_not_there(rubric: dict[str, Any], same_as: dict[str, Any] | None) -> None:
    expected = read_rubric({"rubric": same_as}, SCALE) if same_as else None
    assert read_rubric(as_record({"rubric": rubric}), SCALE) == expected


def test_a_table_goes_wherever_a_list_of_records_does(
    judge: Judge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pandas = pytest.importorskip("pandas")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    records = [RECORD | {"response": f"good {n} " * n, "human_score": [n % 5 + 1, n % 5 + 1]} for n in range(1, 13)]
    frame = pandas.DataFrame(records)
    frame["human_score"] = [np.array(each) for each in frame["human_score"]]
    tables: list[Any] = [records, frame]
    if find_spec("datasets"):
        datasets = importlib.import_module("datasets")
        tables += [datasets.Dataset.from_list(records), datasets.Dataset.from_list(records).with_format("numpy")]
    expected, *others = (judge.score(table) for table in tables)
    for grades in others:
        assert [grade.score for grade in grades] == pytest.approx([grade.score for grade in expected], abs=1e-5)
    expected_figures, *figures = (evaluate(judge, table, resamples=10)[0].figures for table in tables)
    assert figures == [expected_figures] * len(figures)
    assert len(compare([("a", judge), ("b", judge)], frame, resamples=10)) >= 2
    assert tune(judge, frame, folds=2, recipe_name="regularised").learned.weights == pytest.approx(
        tune(judge, records, folds=2, recipe_name="regularised").learned.weights, abs=1e-5
    )
    one: Any = records[0]
    for call in (judge.score, lambda found: evaluate(judge, found)):
        with pytest.raises(RecordError, match="a list of records is needed"):
            call(one)
