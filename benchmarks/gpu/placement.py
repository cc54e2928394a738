"""What onnxruntime's CUDA provider does with judges, on stubs of CUDA (`stubs/build.sh`): no GPU, no numbers.

    LD_LIBRARY_PATH=STUBS python benchmarks/gpu/placement.py JUDGE_DIR... [--most-bytes 70000]

Of every judge: nodes that run on the CPU, copies between the two, launches and casts of a batch, and bytes a token over
the weights, from the first batch to the last of a hundred of mixed lengths. Ends with 1 where a node that is no
arithmetic of shapes runs on the CPU, where anything is copied to and fro, where memory exceeds the limit or what
`runtime/gpu_memory.py` counts on, or where it grows by more than 15% after the first twenty batches.
"""

import ctypes
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime

from lager_onnx.models.spec import CONFIG_FILE, JudgeSpec
from lager_onnx.runtime import session as sessions
from lager_onnx.runtime.engines.batches import reads_packed
from lager_onnx.runtime.gpu_memory import bytes_a_token
from lager_onnx.runtime.packed_batch import pack_batch

SHAPES = {"Shape", "Squeeze", "Unsqueeze", "Cast", "Concat", "Add", "Gather", "Reshape"}  # of a few integers each
PROMPTS, TOKENS, MIXED, SETTLED = 16, 512, 100, 20
GROWTH = 1.15  # one array of hidden states more, where the largest batch finds its place taken by halves
RUNTIME = "libcudart.so.13"


def counted() -> dict[str, Any]:
    """Allocations, copies and launches so far."""
    runtime = ctypes.CDLL(RUNTIME)
    runtime.fake_stats.restype = ctypes.c_char_p
    found: dict[str, Any] = json.loads(runtime.fake_stats())
    return found


def placed(profile: str) -> Counter[tuple[str, str]]:
    """How many nodes of a kind ran where, in one run."""
    events = json.loads(Path(profile).read_text(encoding="utf-8"))
    ran = [each["args"] for each in events if each.get("cat") == "Node" and each["name"].endswith("_kernel_time")]
    return Counter((each["op_name"], each["provider"].removesuffix("ExecutionProvider")) for each in ran)


def examine(judge: Path, most_bytes: int | None) -> list[str]:
    """Prints what it finds; returns what is wrong."""
    options = sessions.session_options(None, weights="mapped", provider="CUDAExecutionProvider")
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(tempfile.gettempdir()) / "placement")
    provider = ("CUDAExecutionProvider", sessions.provider_options("CUDAExecutionProvider"))
    opened = onnxruntime.InferenceSession(judge / "model.onnx", options, providers=[provider])
    packed = reads_packed(opened)
    ctypes.CDLL(RUNTIME).fake_reset()  # the peak of the judge before
    weights, rows, random = counted()["current"], [], np.random.default_rng(0)
    longest = min(TOKENS, JudgeSpec.load(judge).context_length)
    mixed = [(int(random.integers(1, PROMPTS)), int(random.integers(32, longest))) for _ in range(MIXED)]
    lengths = [(PROMPTS, longest), *mixed, (PROMPTS, longest)]
    for prompts, tokens in lengths:
        before = sum(counted()["kernels"].values())
        prompts_ids = [[number, *[1] * (tokens - 1)] for number in range(prompts)]  # which share nothing
        sessions.run_batch(opened, pack_batch(prompts_ids) if packed else sessions.pad_batch(prompts_ids))
        now = counted()
        launches = sum(now["kernels"].values()) - before
        rows.append((launches, (now["peak"] - weights) / (PROMPTS * longest)))
    profile = opened.end_profiling()
    nodes = placed(profile)
    os.unlink(profile)
    on_cpu = {name: count // len(lengths) for (name, where), count in nodes.items() if where == "CPU"}
    copies = sum(count for (name, _), count in nodes.items() if name.startswith("Memcpy")) // len(lengths)
    casts = nodes["Cast", "CUDA"] // len(lengths)
    (launches, first), (_, settled), (_, last) = rows[0], rows[SETTLED], rows[-1]
    print(f"{judge}: {launches} launches, {casts} casts, {first:,.0f} bytes a token, at last {last:,.0f}")
    print(f"    on the CPU: {on_cpu}, copies: {copies}")
    wrong = [f"{count} {name} on the CPU" for name, count in on_cpu.items() if name not in SHAPES]
    wrong += [f"{copies} copies"] * (copies > 0)
    bound = bytes_a_token(json.loads((judge / CONFIG_FILE).read_text(encoding="utf-8")))
    wrong += [f"{last:,.0f} bytes a token, counted on are {bound:,}"] * (last > bound)
    wrong += [f"{first:,.0f} bytes a token"] * (most_bytes is not None and first > most_bytes)
    wrong += [f"memory grows from {settled:,.0f} to {last:,.0f} bytes a token"] * (last > GROWTH * settled)
    return wrong


@click.command()
@click.argument("judges", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--most-bytes", type=int, help="Bytes a token that a judge may take beside its weights.")
def main(judges: tuple[Path, ...], most_bytes: int | None) -> None:
    """See the file."""
    onnxruntime.set_default_logger_severity(3)
    wrong = {judge: examine(judge, most_bytes) for judge in judges}
    for judge, found in wrong.items():
        for each in found:
            print(f"WRONG: {judge}: {each}")
    sys.exit(any(wrong.values()))


if __name__ == "__main__":
    main()
