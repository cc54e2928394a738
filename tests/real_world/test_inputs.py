"""Inputs that cannot be read as they are: refused with the flag or the column that mends them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lager_onnx import Judge
from lager_onnx.cli import main
from lager_onnx.models.errors import RecordError
from lager_onnx.runtime.records import Source, read_rows
from lager_onnx.serve.endpoint import parse
from lager_onnx.serve.errors import RequestError
from lager_onnx.serve.protocols.chat import Chat, Message, _text
from lager_onnx.serve.protocols.score import Scored

RECORD = {"instruction": "Name a prime.", "response": "Seven."}
CSV = "instruction,response\nName a prime.,Seven.\n"


# ── which column a missing field may be in ──


@pytest.mark.parametrize(
    ("record", "fields", "missing", "column"),
    [
        ({"question": "q", "answer": "a"}, {}, "instruction", "question"),
        ({"answer": "a", "id": "1", "ask": "q"}, {}, "instruction", "ask"),
        ({"id": "1", "instruction": "q", "model_answer": "a"}, {}, "response", "model_answer"),
        ({"instruction": "q", "story": "s", "text": "a"}, {}, "response", "text"),
        ({"instruction": "q", "label": "good", "essay": "a"}, {}, "response", "essay"),
        ({"prompt": "q", "completion": "a", "question": "x"}, {"response": "completion"}, "instruction", "prompt"),
        ({"query": "q", "answer": "a", "text": "x"}, {"instruction": "query"}, "response", "answer"),
        ({"instruction": "q", "reference_answer": "r", "id": "1"}, {}, "response", None),
        ({"instruction": "q", "output": None, "answer": 7}, {}, "response", None),
    ],
)
def test_a_missing_field_suggests_a_column_that_fits(
    judge: Judge, record: dict[str, Any], fields: dict[str, str], missing: str, column: str | None
) -> None:
    with pytest.raises(RecordError, match=f"'{missing}' is missing") as refused:
        judge.prompt(record, fields=fields)
    assert refused.value.told("command").endswith(f"add --field {missing}={column or 'COLUMN'}")
    assert refused.value.told("http").endswith(f"send it as '{missing}'")
    assert (f"such as {column}," in str(refused.value)) == (column is not None)
    if column:
        judge.prompt({"instruction": "q", "response": "a"} | record, fields=fields | {missing: column})


# ── encodings ──


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", CSV), ("a.jsonl", json.dumps(RECORD) + "\n"), ("a.json", json.dumps([RECORD]))],
)
def test_wide_text_without_a_mark_is_named(name: str, text: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    with pytest.raises(RecordError, match=f"looks like {encoding.upper()} without a byte order mark") as refused:
        list(read_rows(str(tmp_path / name)))
    assert refused.value.told("command").endswith(f"add --encoding {encoding}")
    (row,) = read_rows(Source(str(tmp_path / name), encoding=encoding))
    assert row.record == RECORD


def test_a_nul_in_text_is_no_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(json.dumps(RECORD).encode() + b"\n\0\0\0\n")
    good, bad = read_rows(str(tmp_path / "a.jsonl"))
    assert good.record == RECORD
    assert "not JSON" in str(bad.error)


def test_a_request_may_begin_with_a_byte_order_mark() -> None:
    content = json.dumps(RECORD).encode()
    assert parse(Scored, b"\xef\xbb\xbf" + content) == parse(Scored, content)
    for broken in (b"\xef\xbb\xbf" * 2 + content, content + b"\xef\xbb\xbf"):
        with pytest.raises(RequestError):
            parse(Scored, broken)


# ── JSON ──


@pytest.mark.parametrize("twice", ["instruction", "response"])
def test_columns_of_json_that_have_a_row_twice_are_refused(twice: str, tmp_path: Path) -> None:
    columns = dict.fromkeys(RECORD, '{"0": "q", "1": "z"}') | {twice: '{"0": "q", "0": "z", "1": "y"}'}
    text = "{" + ", ".join(f'"{name}": {column}' for name, column in columns.items()) + "}"
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(RecordError, match=f"column {twice}: an object has the field 0 twice"):
        list(read_rows(str(tmp_path / "a.json")))
    (tmp_path / "a.json").write_text(text.replace('"0": "z", ', ""))
    assert [row.record[twice] for row in read_rows(str(tmp_path / "a.json"))] == ["q", "y"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"type": "text", "text": None}, {"type": "text", "text": "x"}], "x"),
        ([{"text": None}, {"text": "x"}, {"text": "y"}], "x\ny"),
        ([{"type": "text", "text": None}], ""),
    ],
)
def test_a_part_of_a_chat_without_text_is_passed_over(content: list[dict[str, Any]], expected: str) -> None:
    assert _text(Message(role="user", content=content), "m") == expected
    Chat(messages=[Message(role="user", content=content)]).check()


@pytest.mark.parametrize(
    "part", [{"type": "image_url", "image_url": {"url": "u"}}, {"type": "image_url", "text": None}, {"text": 3}]
)
def test_a_part_of_a_chat_that_is_no_text_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="text only"):
        _text(Message(role="user", content=[{"type": "text", "text": "x"}, part]), "m")


# ── no records ──


@pytest.mark.parametrize("command", ["score", "prompt", "select", "inspect"])
@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "instruction,response\n"), ("a.json", "[]"), ("b.json", '{"data": []}')]
)
def test_an_input_without_records_is_refused(
    command: str, name: str, text: str, tiny_judge: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    more = {
        "score": ["-o", str(tmp_path / "out.jsonl")],
        "prompt": [],
        "select": ["-o", str(tmp_path / "out.jsonl"), "--keep", "1"],
        "inspect": ["--html", str(tmp_path / "out.html")],
    }[command]
    result = CliRunner().invoke(main, [command, str(tiny_judge), str(tmp_path / name), *more])
    assert result.exit_code == 2
    assert f"{name} holds no records" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_table_of_parquet_without_rows_is_refused(tiny_judge: Path, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"instruction": [], "response": []}), tmp_path / "a.parquet")
    result = CliRunner().invoke(main, ["score", str(tiny_judge), str(tmp_path / "a.parquet")])
    assert result.exit_code == 2
    assert "a.parquet holds no records" in result.stderr


# ── whose words a log uses ──


@pytest.mark.parametrize(("command", "words"), [("serve", "send fields: {'feedback'"), ("prompt", "--field feedback=")])
def test_a_log_uses_the_cures_of_its_interface(
    command: str,
    words: str,
    run: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    judge: Judge,
    tiny_judge: Path,
) -> None:
    record = RECORD | {"feedback": "5 of 5"}
    if command == "prompt":
        shown = run("prompt", [record]).stderr
    else:
        monkeypatch.setattr("lager_onnx.serve.run.serve", lambda *_args, **_options: judge.score([record]))
        shown = CliRunner().invoke(main, ["serve", str(tiny_judge)]).stderr
    assert words in shown
    assert ("--field" in shown) == (command == "prompt")
