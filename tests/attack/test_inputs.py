"""Random inputs, in every format, with every kind of value: rows or errors in one line, never a traceback."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from attack.amount import amount, report
from lager_onnx import Judge
from lager_onnx.cli import main

VALUES: list[Any] = [
    None, True, 0, -1, 7, 2.5, 1e308, float("nan"), float("inf"), 10**40, "", " ", "Seven.", "x" * 3000, "\x00",
    "\x1b[2J", "\ud800", "\u2028", "a\r\nb", "<|end|>", "<s>", "{response}", "NaN", [], ["a"], [["a"]], [None], {},
    {"a": 1}, {"question": "?"}, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    "correctness", "[4, 5]",
]  # fmt: skip
FIELDS = [
    "instruction", "response", "criterion", "rubric", "score_descriptions", "reference", "context", "feedback",
    "prompt", "messages", "input", "output", "human_score", "group", "id", "score", "error", "dataset",
    "\x1b]0;x\x07", "\ud800", "",
]  # fmt: skip


def record(chance: random.Random) -> Any:
    if chance.random() < 0.05:
        return chance.choice(VALUES)
    base = {"instruction": "Name a prime.", "response": "Seven.", "human_score": 3} if chance.random() < 0.7 else {}
    return base | {chance.choice(FIELDS): chance.choice(VALUES) for _ in range(chance.randrange(4))}


def json_lines(chance: random.Random) -> bytes:
    rows = [json.dumps(record(chance)) for _ in range(chance.randrange(5))]
    return "\n".join(rows).encode()


def json_text(chance: random.Random) -> bytes:
    rows = [record(chance) for _ in range(chance.randrange(4))]
    forms = [rows, {"data": rows}, {name: chance.choice(VALUES) for name in FIELDS[:3]}, record(chance)]
    return json.dumps(chance.choice(forms), indent=chance.choice([None, 1])).encode()


def csv_text(chance: random.Random) -> bytes:
    delimiter = chance.choice(",;\t|")
    names = chance.sample(["instruction", "response", "Criterion", " context", "human_score", "id", "x"], 4)
    cells = ["Name a prime.", "Seven.", '"quoted"', '"open', 'in "side', "", "a\rb", "é", "=1+1", "3"]
    rows = [delimiter.join(names)]
    rows += [delimiter.join(chance.choices(cells, k=chance.choice([3, 4, 4, 4]))) for _ in range(chance.randrange(6))]
    text = chance.choice(["", "sep=;\n"]) + chance.choice(["\n", "\r\n", "\r"]).join(rows)
    return text.encode(chance.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))


def parquet_bytes(chance: random.Random) -> bytes:
    import io

    import pyarrow
    from pyarrow import parquet

    file = io.BytesIO()
    columns = {"instruction": ["a", None], "response": ["b", "c"], "context": [["x"], None], "blob": [b"\xff", None]}
    parquet.write_table(pyarrow.table(dict(chance.sample(list(columns.items()), 3))), file)
    return file.getvalue()


FORMATS: dict[str, Callable[[random.Random], bytes]] = {
    "jsonl": json_lines, "json": json_text, "csv": csv_text, "parquet": parquet_bytes
}  # fmt: skip


def damaged(content: bytes, chance: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data) + 1)
        if chance.random() < 0.4:
            data[at : at + chance.randrange(5)] = chance.randbytes(chance.randrange(5))
        elif chance.random() < 0.5:
            del data[at:]
        else:
            data[at:at] = chance.choice([b"\x00", b"\xff", b'"', b"\n", b"[", b"{", b"\\", b"\xed\xa0\x80"])
    return bytes(data)


OPTIONS: list[list[str]] = [
    [], [], [], ["--criterion", "fluency"], ["--criterion", "\x1b[1m"], ["--field", "response=output"],
    ["--field", "=x"], ["--field", "response=\ud800"], ["--encoding", "utf-16"], ["--encoding", "rot13"],
    ["--encoding", "nowhere"], ["--delimiter", ";"], ["--delimiter", "\n"], ["--format", "csv"], ["--format", "jsonl"],
]  # fmt: skip


def command(chance: random.Random, judge: Path, file: Path, folder: Path) -> list[str]:
    options, output = chance.choice(OPTIONS), str(folder / "out")
    kind = chance.random()
    if kind < 0.6:
        extra = ["--on-error", "skip"] if chance.random() < 0.7 else []
        return ["score", str(judge), str(file), *options, *extra, *(["--details"] if chance.random() < 0.2 else [])]
    if kind < 0.75:
        return ["prompt", str(judge), str(file), *options, *(["--json"] if chance.random() < 0.5 else [])]
    if kind < 0.85:
        keep = chance.choice(["1", "50%", "9" * 400, "-1", "\x00", "0.0%"])
        return ["select", str(judge), str(file), *options[:0], "-o", output, "--overwrite", "--keep", keep]
    data = chance.choice(["plain", "prometheus", "helpsteer", "biggen", "reference"])
    skip = chance.choice(["skip", "stop"])
    what = chance.choice([["evaluate", "--resamples", "2", "--csv", output + ".csv"], ["tune", "--dry-run"]])
    return [what[0], str(judge), str(file), *what[1:], "--data", data, "--on-error", skip, *options]


def test_random_inputs_end_in_rows_or_in_one_line(
    tiny_judge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    judge = Judge.load(tiny_judge, device="cpu", threads=1)
    monkeypatch.setattr(Judge, "load", lambda *_arguments, **_options: judge)
    codes: dict[int, int] = {}
    inputs = amount(200, 10_000)
    for seed in range(inputs):
        chance = random.Random(seed)
        suffix = chance.choice([*FORMATS, "jsonl", "csv"])
        content = FORMATS[suffix](chance)
        content = damaged(content, chance) if chance.random() < 0.4 else content
        content, suffix = (gzip.compress(content), suffix + ".gz") if chance.random() < 0.1 else (content, suffix)
        file = tmp_path / f"in.{suffix}"
        file.write_bytes(content)
        arguments = command(chance, tiny_judge, file, tmp_path)
        result = CliRunner().invoke(main, arguments)
        about = f"seed {seed}: {arguments}\n{result.stderr[-2000:]}"
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise AssertionError(about) from result.exception
        assert result.exit_code in (0, 2), about
        assert "\x1b" not in result.stderr, about
        for line in result.stdout.split("\n")[:-1] if arguments[0] == "score" else ():
            json.loads(line, parse_constant=pytest.fail)  # NaN and Infinity are no JSON
        codes[result.exit_code] = codes.get(result.exit_code, 0) + 1
    report(f"{inputs} random inputs, by exit code: {codes}; no traceback, no hang")
    assert set(codes) == {0, 2}
