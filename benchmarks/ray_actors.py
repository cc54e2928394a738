"""How throughput grows from one one-core actor to two, beside two plain processes: what the two cores can give.

    python benchmarks/ray_actors.py JUDGE_DIR RECORDS [--rows 960] [--rounds 3]

Rates are between the first part that is done and the last, so neither Ray's start nor the judge's counts.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from lager_onnx.integrations.ray import Cluster, score_on_ray
from lager_onnx.runtime.jobs.score import Options
from lager_onnx.runtime.records import Source

PART = 20


def rate(done: list[float]) -> float:
    """Rows a second, from the times at which parts were done."""
    return (len(done) - 1) * PART / (max(done) - min(done))


def on_ray(judge: Path, records: Path, actors: int) -> float:
    """With so many actors of one core each."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        cluster = Cluster(actors=actors, threads=1, device="cpu")
        score_on_ray(judge, Source(str(records)), out, Options(), cluster, rows=PART)
        return rate([file.stat().st_mtime for file in out.glob("part-*.jsonl")])


def plainly(judge: Path, records: Path, processes: int) -> float:
    """`lager score --threads 1` so many times at once, each over its share of the records."""
    lines = records.read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as folder:
        parts = [lines[start : start + PART] for start in range(0, len(lines), PART)]  # as Ray hands them out
        shares = [Path(folder) / f"{number}.jsonl" for number in range(processes)]
        for number, share in enumerate(shares):
            own = [line for part in parts[number::processes] for line in part]
            share.write_text("\n".join(own) + "\n", encoding="utf-8")
        start = "from lager_onnx.entry import main; main()"
        command = [sys.executable, "-c", start, "score", str(judge)]
        options = ["--threads", "1", "--device", "cpu", "--overwrite"]
        outs = [share.with_suffix(".out") for share in shares]
        running = [
            subprocess.Popen([*command, str(share), "-o", str(out), *options], stderr=subprocess.DEVNULL)
            for share, out in zip(shares, outs, strict=True)
        ]
        done: list[float] = []
        while any(process.poll() is None for process in running):
            graded = sum(out.read_bytes().count(b"\n") for out in outs if out.exists())
            now = time.time()
            done += [now] * (graded // PART - len(done))
            time.sleep(0.02)
        return rate(done)


@click.command()
@click.argument("judge", type=click.Path(path_type=Path))
@click.argument("records", type=click.Path(path_type=Path))
@click.option("--rows", default=960)
@click.option("--rounds", default=3)
def main(judge: Path, records: Path, rows: int, rounds: int) -> None:
    """Prints medians of the rounds, which are interleaved."""
    with tempfile.TemporaryDirectory() as folder:
        some = Path(folder) / "some.jsonl"
        some.write_text("\n".join(records.read_text(encoding="utf-8").splitlines()[:rows]) + "\n", encoding="utf-8")
        ways = {"actors": on_ray, "processes": plainly}
        found: dict[tuple[str, int], list[float]] = {}
        for _ in range(rounds):
            for name, way in ways.items():
                for number in (1, 2):
                    found.setdefault((name, number), []).append(way(judge, some, number))
    for (name, number), rates in found.items():
        times = statistics.median(rates) / statistics.median(found[name, 1])
        print(f"{number} {name:9}  {statistics.median(rates):7.2f} rows/s  {times:.2f}")


if __name__ == "__main__":
    main()
