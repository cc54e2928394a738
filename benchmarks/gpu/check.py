"""Judges on a GPU: right, placed as they should be, and how fast, beside transformers.

    python benchmarks/gpu/check.py FOLDER [--seconds 330] [--out check.json]

FOLDER is what `prepare_check.py` made. Needs numpy, onnxruntime-gpu and, for the last sections, torch and transformers.
Sections run in the order of their worth, and none begins after `--seconds`. What goes wrong in one is written down, and
the others run all the same; ends with 1 if a judge is wrong.
"""

import argparse
import gc
import json
import statistics
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from random_weights import write_weights

from lager_onnx.models.precisions import PARITY
from lager_onnx.runtime import session as sessions
from lager_onnx.runtime.engines.batches import BatchEngine
from lager_onnx.runtime.gpu_memory import free_gpu_memory
from lager_onnx.runtime.packed_batch import pack_batch

CUDA = "CUDAExecutionProvider"
SHAPES = {"Shape", "Squeeze", "Unsqueeze", "Cast", "Concat", "Add", "Gather", "Reshape"}
TOKENS = 512
BUDGETS = (8192, 16384, 32768, 65536)
# Of small and wide: layers, hidden, inner, heads, heads of keys, size of a head, vocabulary.
WIDTHS = {"small": (30, 576, 1536, 9, 3, 64, 49152), "wide": (8, 4096, 14336, 32, 8, 128, 128256)}
RANDOM = np.random.default_rng(1)


def opened(judge: Path, *, profile: Path | None = None, **provider: str) -> onnxruntime.InferenceSession:
    """As `open_session` does it, with what is asked for besides."""
    options = sessions.session_options(None, weights="mapped", provider=CUDA)
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    chosen = [(CUDA, sessions.provider_options(CUDA) | provider)]
    session = onnxruntime.InferenceSession(judge / "model.onnx", options, providers=chosen)
    if session.get_providers()[0] != CUDA:
        raise RuntimeError(f"CUDA does not run: {session.get_providers()}")
    return session


def apart(got: list[Any], expected: np.ndarray) -> float:
    """Largest difference of layer logits, of the largest of their row; infinite where one is not finite."""
    found = np.stack([outputs["layer_logits"] for outputs in got])
    if not np.isfinite(found).all():
        return float("inf")
    rows = np.abs(found - expected).max((0, 2)) / np.abs(expected).max((0, 2))
    return float(f"{rows.max():.2e}")


def correct(judge: Path) -> dict[str, Any]:
    """All prompts in one batch, each alone, and a few in a batch, against the CPU; twice, to the bit."""
    if (judge / "weights.json").exists():
        write_weights(judge)
    asked = json.loads((judge / "prompts.json").read_text())
    expected = np.load(judge / "layer_logits.npy")
    engine = BatchEngine([opened(judge)], CUDA)
    together, again = engine.submit(asked, 10**6)(), engine.submit(asked, 10**6)()
    spec = json.loads((judge / "judge.json").read_text())
    found = {
        "together": apart(together, expected),
        "few": apart(engine.submit(asked, 600)(), expected),
        "alone": apart([engine.submit([prompt])()[0] for prompt in asked], expected),
        "again": apart(again, np.stack([outputs["layer_logits"] for outputs in together if outputs])),
        "allowed": PARITY[spec["arithmetic"]].layer_logits * (3 if spec["precision"] == "int4" else 1),
    }
    found["right"] = all(found[how] <= found["allowed"] for how in ("together", "few", "alone"))
    engine.close()
    return found


def placed(judge: Path) -> dict[str, int]:
    """Nodes on the CPU that are no arithmetic of shapes, and copies between the two."""
    session = opened(judge, profile=judge / "profile")
    sessions.run_batch(session, pack_batch([RANDOM.integers(5, 290, 100).tolist() for _ in range(4)]))
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = [each["args"] for each in events if each.get("cat") == "Node" and each["name"].endswith("_kernel_time")]
    names = Counter(each["op_name"] for each in ran if each["provider"] != CUDA or each["op_name"].startswith("Memcpy"))
    return {name: count for name, count in names.items() if name not in SHAPES}


def ceiling() -> dict[str, float]:
    """TFLOP/s of a large product in bf16."""
    import torch  # noqa: PLC0415

    size = 8192
    one, other = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for repeat in range(13):
        if repeat == 3:
            torch.cuda.synchronize()
            begun = time.perf_counter()
        one @ other
    torch.cuda.synchronize()
    return {"TFLOP/s": round(10 * 2 * size**3 / (time.perf_counter() - begun) / 1e12, 1)}


def seconds_of(run: Callable[[], Any], repeats: int = 5) -> float:
    """Median, after two runs that do not count."""
    taken = []
    for _ in range(repeats + 2):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[2:])


def tokens_a_second(engine: BatchEngine, prompts: list[list[int]], budget: int) -> dict[str, Any]:
    """Tokens of all prompts, shared ones counted each time, and memory that is left."""
    seconds = seconds_of(lambda: list(engine.submit(prompts, budget)))
    free = round((free_gpu_memory(0) or 0) / 1e9, 1)
    return {"tokens/s": round(sum(map(len, prompts)) / seconds), "GB free": free}


def speed(size: str, results: dict[str, Any]) -> dict[str, Any]:
    """Tokens a second: many prompts, by the tokens of a batch; then seven criteria for each of several responses."""
    import torch  # noqa: PLC0415

    judge = FOLDER / f"{size}-bf16"
    layers, _, _, heads, _, head, vocabulary = WIDTHS[size]
    flops = 2 * write_weights(judge, torch) + 4 * TOKENS / 2 * heads * head * layers
    top = results.get("ceiling", {}).get("TFLOP/s")
    found: dict[str, Any] = {}
    for how, provider in {"flash attention": {}, "onnxruntime's choice": {"sdpa_kernel": "0"}}.items():
        engine = BatchEngine([opened(judge, **provider)], CUDA)
        for budget in BUDGETS:
            prompts = RANDOM.integers(5, vocabulary, (4 * budget // TOKENS, TOKENS)).tolist()
            found[f"{how}, batches of {budget}"] = rate = tokens_a_second(engine, prompts, budget)
            rate["of the ceiling"] = round(rate["tokens/s"] * flops / top / 1e12, 3) if top else None
        responses = RANDOM.integers(5, vocabulary, (64, 448)).tolist()
        criteria = RANDOM.integers(5, vocabulary, (7, 64)).tolist()
        asked = [response + criterion for response in responses for criterion in criteria]
        found[f"{how}, seven criteria"] = tokens_a_second(engine, asked, 32768)
        engine.close()
        gc.collect()
    return found


def last_logits(model: Any, ids: Any) -> Any:
    """What a judge needs of transformers."""
    import torch  # noqa: PLC0415

    with torch.inference_mode():
        return model(ids, use_cache=False, logits_to_keep=1).logits.float().cpu()


def transformers(size: str) -> dict[str, Any]:
    """Tokens a second of the same widths in bf16 with SDPA, and logits of the last token alone."""
    import torch  # noqa: PLC0415
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415

    layers, hidden, inner, heads, kv_heads, head, vocabulary = WIDTHS[size]
    config = LlamaConfig(
        hidden_size=hidden, intermediate_size=inner, num_attention_heads=heads, num_key_value_heads=kv_heads,
        head_dim=head, num_hidden_layers=layers, vocab_size=vocabulary, attn_implementation="sdpa",
    )  # fmt: skip
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    found = {}
    for budget in BUDGETS[:3]:
        ids = torch.randint(5, vocabulary, (budget // TOKENS, TOKENS), device="cuda")

        found[f"batches of {budget}"] = {"tokens/s": round(budget / seconds_of(partial(last_logits, model, ids)))}
    del model
    torch.cuda.empty_cache()
    return found


def machine() -> dict[str, Any]:
    """What it runs on."""
    return {"onnxruntime": onnxruntime.__version__, "why no CUDA": sessions.why_no_cuda(), "GPU": _gpu_name()}


def _gpu_name() -> str:
    try:
        import torch  # noqa: PLC0415
    except ImportError:
        return "not known without torch"
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "none that torch knows"


def main() -> None:
    """Runs all sections."""
    results: dict[str, Any] = {}
    begun = time.time()
    judges = sorted(each for each in FOLDER.iterdir() if (each / "prompts.json").exists())
    sections: dict[str, Callable[[], Any]] = {"machine": machine}
    sections |= {f"correct: {judge.name}": lambda judge=judge: correct(judge) for judge in judges}
    sections |= {f"placed: {judge.name}": lambda judge=judge: placed(judge) for judge in judges}
    sections["ceiling"] = ceiling
    for size in WIDTHS:
        sections[f"transformers: {size}"] = lambda size=size: transformers(size)
        sections[f"speed: {size}"] = lambda size=size: speed(size, results)
    for name, section in sections.items():
        if time.time() - begun > OPTIONS.seconds:
            results[name] = "not run: no time left"
            continue
        try:
            results[name] = section()
        except Exception as error:
            results[name] = {"error": f"{type(error).__name__}: {error}"[:400], "at": traceback.format_exc()[-600:]}
        print(f"{time.time() - begun:6.1f} s  {name}: {json.dumps(results[name])}", flush=True)
        OPTIONS.out.write_text(json.dumps(results, indent=1))
    wrong = [name for name, found in results.items() if name.startswith("correct") and not found.get("right")]
    wrong += [name for name, found in results.items() if name.startswith("placed") and found]
    print("WRONG:", wrong or "nothing")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=330)
    parser.add_argument("--out", type=Path, default=Path("check.json"))
    OPTIONS = parser.parse_args()
    FOLDER: Path = OPTIONS.folder
    main()
