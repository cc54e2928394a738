"""Tokens a second of greedy generation: a judge that writes beside llama.cpp and transformers, in one run.

    python benchmarks/writing.py run --gguf MODEL.gguf --threads 2 --out writing.jsonl JUDGE_DIR...
    python benchmarks/writing.py table writing.jsonl

One prompt with all cores, and as many as cores at once; 128 tokens each, from prompts of 300. Contenders take turns,
each in a process of its own; the table shows medians and the ratio to llama.cpp's best. llama.cpp writes several
prompts one after another, with all cores on each.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

PROMPT, TOKENS, ROUNDS = 300, 128, 3
Write = Callable[[list[list[int]]], int]


def lager(judge: str, threads: int) -> Write:
    """This project."""
    from lager_onnx.models.spec import JudgeSpec  # noqa: PLC0415
    from lager_onnx.runtime.engines.open import open_judge_engine  # noqa: PLC0415

    spec = JudgeSpec.load(Path(judge))
    engine = open_judge_engine(Path(judge), spec, device="cpu", threads=threads, max_memory=None)

    def work(prompt: list[int]) -> Any:
        return lambda prefill: prefill.write(prompt, TOKENS, lambda logits: int(logits.argmax()), lambda _: False)

    return lambda prompts: sum(map(len, engine.submit(prompts, works=[work(prompt) for prompt in prompts])))  # type: ignore[arg-type]


def llama_cpp(file: str, threads: int) -> Write:
    """llama.cpp, greedily."""
    import numpy as np  # noqa: PLC0415
    from llama_cpp import Llama  # noqa: PLC0415

    size = 512
    model = Llama(
        file, n_ctx=size, n_batch=size, n_threads=threads, n_threads_batch=threads, flash_attn=True, verbose=False
    )

    def write(prompts: list[list[int]]) -> int:
        for prompt in prompts:
            model.reset()
            model.eval(prompt)
            for number in range(TOKENS):
                logits = np.ctypeslib.as_array(model._ctx.get_logits(), shape=(model.n_vocab(),))
                if number < TOKENS - 1:
                    model.eval([int(logits.argmax())])
        return TOKENS * len(prompts)

    return write


def transformers(file: str, threads: int) -> Write:
    """Transformers' generate in bfloat16, all prompts in one batch."""
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    torch.set_num_threads(threads)
    path = Path(file)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.bfloat16).eval()

    def write(prompts: list[list[int]]) -> int:
        ids = torch.tensor(prompts)
        mask = torch.ones_like(ids)
        with torch.inference_mode():
            made = model.generate(
                ids, attention_mask=mask, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False, pad_token_id=0
            )
        return int(made.shape[1] - ids.shape[1]) * len(prompts)

    return write


OPENERS = {"lager": lager, "llama.cpp": llama_cpp, "transformers": transformers}


@click.group()
def main() -> None:
    """See the file."""


@main.command(hidden=True)
@click.argument("kind")
@click.argument("what")
@click.argument("threads", type=int)
def one(kind: str, what: str, threads: int) -> None:
    """One contender, one round: prompts at once and tokens a second, as JSON."""
    import numpy as np  # noqa: PLC0415

    random = np.random.default_rng(0)
    write = OPENERS[kind](what, threads)
    for prompts in sorted({1, threads}):
        write(random.integers(10, 40000, (prompts, PROMPT)).tolist())  # opens what it needs
        ids = random.integers(10, 40000, (prompts, PROMPT)).tolist()
        begun = time.perf_counter()
        tokens = write(ids)
        click.echo(json.dumps({"prompts": prompts, "tokens/s": tokens / (time.perf_counter() - begun)}))


@main.command()
@click.argument("judges", nargs=-1, type=click.Path(exists=True))
@click.option("--gguf", "files", multiple=True, type=click.Path(exists=True), help="For llama.cpp.")
@click.option("--checkpoint", type=click.Path(exists=True), help="For transformers: a GGUF file.")
@click.option("--llama-python", default=sys.executable, help="Of an environment with llama-cpp-python.")
@click.option("--threads", type=int, default=2)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def run(
    judges: tuple[str, ...], files: tuple[str, ...], checkpoint: str | None, llama_python: str, threads: int, out: Path
) -> None:
    """Measure all contenders in turn, three rounds."""
    contenders = [("lager", judge, sys.executable) for judge in judges]
    contenders += [("llama.cpp", file, llama_python) for file in files]
    contenders += [("transformers", checkpoint, sys.executable)] if checkpoint else []
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with out.open("a", encoding="utf-8") as file:
        for _ in range(ROUNDS):
            for kind, what, python in contenders:
                command = [python, __file__, "one", kind, what, str(threads)]
                said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
                for line in said.stdout.splitlines():
                    if line.startswith("{"):
                        file.write(json.dumps({"kind": kind, "what": Path(what).name, **json.loads(line)}) + "\n")
                        file.flush()


@main.command()
@click.argument("results", type=click.Path(exists=True, path_type=Path))
def table(results: Path) -> None:
    """Medians, and their ratio to the best of llama.cpp."""
    found: dict[tuple[int, str, str], list[float]] = defaultdict(list)
    for line in results.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found[row["prompts"], row["kind"], row["what"]].append(row["tokens/s"])
    medians = {key: statistics.median(rates) for key, rates in found.items()}
    click.echo("| prompts at once | | tokens/s | of llama.cpp's best |\n|---|---|---|---|")
    for (prompts, kind, what), rate in sorted(medians.items(), key=lambda item: (item[0][0], -item[1])):
        best = max((other for key, other in medians.items() if key[:2] == (prompts, "llama.cpp")), default=rate)
        click.echo(f"| {prompts} | {kind}, {what} | {rate:.1f} | {rate / best:.2f} |")


if __name__ == "__main__":
    main()
