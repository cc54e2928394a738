"""How `lager serve` stands beside `lager score` on the same records, and how long clients wait.

    python benchmarks/serve.py load JUDGE_DIR RECORDS [--rows 480] [--rounds 3] [--infinity PROGRAM --classifier FOLDER]
    python benchmarks/serve.py classifier CHECKPOINT FOLDER
    python benchmarks/serve.py wait JUDGE_DIR RECORDS [--rows 480]
    python benchmarks/serve.py soak JUDGE_DIR RECORDS [--minutes 30]

`load` prints rows a second: of `lager score`, of one client that sends all records, and of 64 clients that send one
each after another; and of infinity-emb (`pip install 'infinity-emb[torch,optimum,server]'` into an environment of its
own), to which they send the same prompts for a classifier with the same body, which `classifier` makes. `wait` prints
milliseconds that 1, 8, 64 and 512 clients wait for one record. `soak` kills clients every minute and prints the
anonymous memory of the server, which must stay flat.
"""

import asyncio
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import click
import httpx2
from peers import loaded_whole
from tqdm import tqdm

from lager_onnx import Judge

LAGER = (sys.executable, "-c", "from lager_onnx.entry import main; main()")
Rows = list[dict[str, Any]]


@contextmanager
def running(command: Sequence[str], ready: str) -> Iterator[tuple[str, int]]:
    """Address, which its log tells, and process id of a server."""
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        found = None
        while not found:
            time.sleep(0.2)
            log.seek(0)
            said = log.read()
            found = re.search(ready, said)
            if process.poll() is not None:
                raise RuntimeError(said)
        try:
            yield found[1], process.pid
        finally:
            process.send_signal(signal.SIGTERM)


def server(judge: Path, *options: str) -> AbstractContextManager[tuple[str, int]]:
    """A running `lager serve`."""
    return running([*LAGER, "serve", str(judge), "--port", "0", "--device", "cpu", *options], r"at (http://\S+)")


def infinity(program: Path, classifier: Path) -> AbstractContextManager[tuple[str, int]]:
    """A running infinity-emb."""
    options = ["--model-id", str(classifier), "--served-model-name", "classifier", "--device", "cpu"]
    # The quickest that were tried: on a CPU with AMX, batches of 8 and float32 take longer.
    options += [
        "--host",
        "127.0.0.1",
        "--port",
        "7997",
        "--engine",
        "torch",
        "--dtype",
        "bfloat16",
        "--batch-size",
        "1",
    ]
    options += ["--no-bettertransformer", "--no-compile", "--no-model-warmup"]
    return running([str(program), "v2", *options], r"running on (http://\S+)")


def read(records: Path, rows: int) -> Rows:
    """The first rows of a file of JSON lines."""
    return [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()[:rows]]


async def ask(url: str, rows: Rows, clients: int, path: str = "/v1/score") -> tuple[list[float], dict[int, int], float]:
    """So many clients share the rows, each sends its next when the last is answered.

    Returns:
        Seconds that each answered request took, how often each status came, and the seconds that all took.
    """
    todo, took, statuses = iter(rows), [], {}
    limits = httpx2.Limits(max_connections=clients, max_keepalive_connections=clients)

    async def client() -> None:
        for row in todo:
            while True:
                begin = time.perf_counter()
                answer = await http.post(path, json=row)
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                if answer.status_code != 429:
                    break
                await asyncio.sleep(float(answer.headers["retry-after"]))
            took.append(time.perf_counter() - begin)

    async with httpx2.AsyncClient(base_url=url, timeout=None, limits=limits) as http:
        begin = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        return took, statuses, time.perf_counter() - begin


def score_in_process(judge: Path, rows: Rows) -> float:
    """Rows a second of `lager score`, start-up left out, as it says itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        command = [*LAGER, "score", str(judge), str(path), "-o", str(path.with_suffix(".out")), "--device", "cpu"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    found = re.search(r"graded on \S+ in ([\d.]+) s", said)
    if not found:
        raise RuntimeError(said)
    return len(rows) / float(found[1])


def anonymous(pid: int) -> float:
    """MiB that a process holds of its own."""
    found = re.search(r"^Anonymous:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


@click.group()
def main() -> None:
    """See the file."""


@main.command()
@click.argument("judge", type=click.Path(path_type=Path))
@click.argument("records", type=click.Path(path_type=Path))
@click.option("--rows", "count", default=480)
@click.option("--rounds", default=3)
@click.option("--infinity", "program", type=click.Path(path_type=Path), help="infinity_emb, in its environment.")
@click.option("--classifier", type=click.Path(path_type=Path), help="What it serves.")
def load(judge: Path, records: Path, count: int, rounds: int, program: Path | None, classifier: Path | None) -> None:
    """Rows a second, medians of interleaved rounds."""
    rows = read(records, count)
    loaded = Judge.load(judge, device="cpu")
    prompts = [{"model": "classifier", "input": [loaded.prompt(row)]} for row in rows]
    loaded.close()
    found: dict[str, list[float]] = {"lager score": [], "one request": [], "64 clients": []}
    for _ in range(rounds):
        found["lager score"].append(score_in_process(judge, rows))
        with server(judge, "--max-records", str(count), "--timeout", "600") as (url, _):
            begin = time.perf_counter()
            httpx2.post(f"{url}/v1/score", json={"records": rows}, timeout=None).raise_for_status()
            found["one request"].append(count / (time.perf_counter() - begin))
        with server(judge) as (url, _):
            _, _, seconds = asyncio.run(ask(url, rows, 64))
            found["64 clients"].append(count / seconds)
        if program and classifier:
            with infinity(program, classifier) as (url, _):
                _, statuses, seconds = asyncio.run(ask(url, prompts, 64, "/classify"))
            if set(statuses) != {200}:
                raise RuntimeError(str(statuses))
            found.setdefault("infinity-emb", []).append(count / seconds)
    base = statistics.median(found["lager score"])
    for name, rates in found.items():
        print(f"{name:12} {statistics.median(rates):8.2f} rows/s  {statistics.median(rates) / base:.3f}")


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
def classifier(checkpoint: Path, folder: Path) -> None:
    """A classifier of five classes with the body of a GGUF file; its head is random, which costs the same time."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: PLC0415

    where = {"pretrained_model_name_or_path": str(checkpoint.parent), "gguf_file": checkpoint.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    found = AutoModelForSequenceClassification.from_pretrained(**where, num_labels=5, output_loading_info=True)
    model = loaded_whole(found, made={"score.weight"})
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@main.command()
@click.argument("judge", type=click.Path(path_type=Path))
@click.argument("records", type=click.Path(path_type=Path))
@click.option("--rows", "count", default=480)
def wait(judge: Path, records: Path, count: int) -> None:
    """Milliseconds that a client waits, by how many there are."""
    rows = read(records, count)
    print("clients   p50 ms   p95 ms   p99 ms   rows/s   statuses")
    for clients in (1, 8, 64, 512):
        some = (rows * 3)[: max(count // 4 if clients == 1 else count, clients * 2)]
        with server(judge) as (url, _):
            took, statuses, seconds = asyncio.run(ask(url, some, clients))
        cuts = [1000 * each for each in statistics.quantiles(took, n=100)]
        print(f"{clients:7} {cuts[49]:8.0f} {cuts[94]:8.0f} {cuts[98]:8.0f} {len(took) / seconds:8.2f}   {statuses}")


@main.command()
@click.argument("judge", type=click.Path(path_type=Path))
@click.argument("records", type=click.Path(path_type=Path))
@click.option("--minutes", default=30)
def soak(judge: Path, records: Path, minutes: int) -> None:
    """The server's memory, a line a minute, with 64 clients of which eight are killed every minute."""
    rows = read(records, 100_000)
    client = (sys.executable, __file__, "ask-for-ever")
    with server(judge) as (url, pid), tempfile.TemporaryDirectory() as folder:
        lasting = subprocess.Popen([*client, url, str(records), "56", f"{folder}/statuses.json", str(minutes * 60)])
        for minute in tqdm(range(minutes), unit=" min"):
            killed = subprocess.Popen([*client, url, str(records), "8", "/dev/null", "600"])
            time.sleep(60)
            killed.kill()
            killed.wait()
            print(f"minute {minute + 1:3}: {anonymous(pid):7.1f} MiB", flush=True)
        lasting.wait()
        print(Path(folder, "statuses.json").read_text(), f"of {len(rows)} records in turn")
        httpx2.get(f"{url}/ready", timeout=60).raise_for_status()


@main.command(hidden=True)
@click.argument("url")
@click.argument("records", type=click.Path(path_type=Path))
@click.argument("clients", type=int)
@click.argument("output", type=click.Path(path_type=Path))
@click.argument("seconds", type=float)
def ask_for_ever(url: str, records: Path, clients: int, output: Path, seconds: float) -> None:
    """Clients of `soak`."""
    rows, end, total = read(records, 100_000), time.monotonic() + seconds, {}
    while time.monotonic() < end:
        for start in range(0, len(rows), 480):
            if time.monotonic() >= end:
                break
            _, statuses, _ = asyncio.run(ask(url, rows[start : start + 480], clients))
            for status, times in statuses.items():
                total[status] = total.get(status, 0) + times
    output.write_text(json.dumps(total))


if __name__ == "__main__":
    main()
