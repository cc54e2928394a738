"""What was measured, as Markdown tables."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from lager_onnx.models.spec import JudgeSpec

Runs = dict[str, list[dict[str, Any]]]

BASELINE = "transformers fp32"
PACKAGES = (
    "onnxruntime", "onnxruntime-genai", "torch", "transformers", "openvino", "nncf", "llama_cpp_python", "optimum-onnx",
    "numpy",
)  # fmt: skip


def report(
    sets: dict[str, list[list[int]]],
    runs: Runs,
    ceilings: dict[str, float],
    growth: str,
    judges: Path,
    threads: int,
) -> str:
    """All tables, machine first."""
    parts = ["# Benchmarks", "", machine(threads), "", INTRODUCTION]
    for title, prompts in sets.items():
        parts += ["", f"### {title[0].upper()}{title[1:]}", "", speed(title, prompts, runs)]
    parts += ["", "### Memory and load time", "", footprint(runs)]
    parts += ["", "## The machine's own ceiling", "", ceiling(sets, runs, ceilings, judges)]
    if growth:
        parts += ["", "## How cost grows", "", growth]
    return "\n".join(parts) + "\n"


INTRODUCTION = f"""`make bench` writes this page. Every contender grades the same prompts in a fresh process, round
after round; figures are medians (smallest to largest), ratios are to {BASELINE} in the same table. "Differs by" is the
mean difference of the score from PyTorch in float32, in units of the scale: of LAGER's score where hidden states can be
seen (ours, transformers), of the last layer's expectation elsewhere. A contender that differs by more than its
precision explains (benchmarks/agreement.py), or whose scores are all alike, ends the run.

## Speed"""


def machine(threads: int) -> str:
    """What the figures were measured on."""
    about = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    about = {key.strip(): value.strip() for key, value in about.items()}
    instructions = [name for name in ("avx2", "avx512_vnni", "avx512_bf16", "amx_int8") if name in about["flags"]]
    return (
        f"{about['model name']} (family {about['cpu family']}, model {about['model']}; {', '.join(instructions)}), "
        f"{threads} threads, {platform.system()}. Python {platform.python_version()}, "
        + ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
        + "."
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def speed(title: str, prompts: list[list[int]], runs: Runs) -> str:
    """One row a contender that graded this set."""
    tokens = sum(map(len, prompts))
    lines = ["| | tokens/s | responses/s | ratio | differs by |", "|---|---|---|---|---|"]
    found = {name: [run["sets"][title] for run in each if title in run["sets"]] for name, each in runs.items()}
    base = found.get(BASELINE) or next(iter(found.values()))
    middle = median(run["seconds"] for run in base)
    for name, measured in found.items():
        if not measured:
            continue
        seconds = sorted(run["seconds"] for run in measured)
        kind = "lager" if "lager" in measured[0] else "expectation"
        apart = [abs(one - other) for one, other in zip(measured[0][kind], base[0][kind], strict=True)]
        typical = median(seconds)
        lines.append(
            f"| {name} | {tokens / typical:.0f} ({tokens / seconds[-1]:.0f}-{tokens / seconds[0]:.0f}) "
            f"| {len(prompts) / typical:.2f} | {middle / typical:.2f} | {sum(apart) / len(apart):.1e} |"
        )
    return "\n".join(lines)


def footprint(runs: Runs) -> str:
    """Load time and peak memory of the whole process."""
    lines = ["| | load, s | peak, MB |", "|---|---|---|"]
    for name, each in runs.items():
        load, peak = (median(run[key] for run in each) for key in ("load", "peak_mb"))
        lines.append(f"| {name} | {load:.2f} | {peak:.0f} |")
    return "\n".join(lines)


def ceiling(sets: dict[str, list[list[int]]], runs: Runs, ceilings: dict[str, float], judges: Path) -> str:
    """How much of the fastest matrix product is reached, attention and all else included."""
    lines = [
        "Multiply-adds a second of onnxruntime's own matrix products, all threads, weights packed (512 x 576 x 3072), "
        "and the share of it that the judge's projections reach while all else runs too (over 100% where what prompts "
        "share is read once):",
        "",
        "| | G multiply-adds/s | " + " | ".join(sets) + " |",
        "|---|---|" + "---|" * len(sets),
    ]
    for precision, rate in ceilings.items():
        measured = runs.get(f"lager-onnx {precision}")
        if not measured:
            continue
        weights = body_weights(judges / precision)
        shares = []
        for title, prompts in sets.items():
            seconds = median(run["sets"][title]["seconds"] for run in measured)
            shares.append(f"{weights * sum(map(len, prompts)) / seconds / rate / 1e9:.0%}")
        lines.append(f"| {precision} | {rate:.0f} | " + " | ".join(shares) + " |")
    return "\n".join(lines)


def body_weights(judge: Path) -> int:
    """Weights of the projections that every token meets: all layers but the last one's, where one token is enough."""
    config = json.loads((judge / "config.json").read_text())
    hidden, heads, kv = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]
    head = config.get("head_dim") or hidden // heads
    layer = hidden * head * (2 * heads + 2 * kv) + 3 * hidden * config["intermediate_size"]
    return (JudgeSpec.load(judge).num_layers - 1) * layer + 2 * hidden * head * kv
