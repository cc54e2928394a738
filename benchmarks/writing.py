"""Tokens a second of greedy generation: a judge that writes beside llama.cpp and transformers, in one run.

    python benchmarks/writing.py run --gguf MODEL.gguf --threads 2 --out writing.jsonl JUDGE_DIR...
    python benchmarks/writing.py table writing.jsonl

One prompt, as many as cores, and eight, at once; 128 tokens each, behind prompts of 300 that share nothing. Contenders
take turns, each in a process of its own; the table shows medians and the ratio to llama.cpp's best. All of them write
several prompts in one batch. llama.cpp runs with flash attention and without.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
from peers import loaded_whole

PROMPT, TOKENS, ROUNDS, MANY = 300, 128, 3, 8
Write = Callable[[list[list[int]]], int]


def lager(judge: str, threads: int) -> Write:
    """This project."""
    from lager_onnx.models.spec import JudgeSpec  # noqa: PLC0415
    from lager_onnx.runtime.decode import Text, Written  # noqa: PLC0415
    from lager_onnx.runtime.engines.open import open_judge_engine  # noqa: PLC0415

    spec = JudgeSpec.load(Path(judge))
    engine = open_judge_engine(Path(judge), spec, device="cpu", threads=threads, max_memory=None)

    def text(prompt: list[int]) -> Text:
        # The shortest prompt to grade: the others do not grade.
        return Text(prompt, TOKENS, lambda logits: int(logits.argmax()), lambda _: False, lambda _: prompt[:1])

    def write(prompts: list[list[int]]) -> int:
        written = engine.write([text(prompt) for prompt in prompts])
        return sum(len(each.tokens) for each in written if isinstance(each, Written))

    return write


def llama_cpp(file: str, threads: int, *, flash: bool = False) -> Write:
    """llama.cpp, all prompts in one batch."""
    import llama_cpp as llama  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    most = max(prompts_at_once(threads))
    model = llama.llama_model_load_from_file(file.encode(), llama.llama_model_default_params())
    options = llama.llama_context_default_params()
    options.n_ctx, options.n_batch, options.n_seq_max = most * (PROMPT + TOKENS), PROMPT, most
    options.n_threads = options.n_threads_batch = threads
    options.flash_attn_type = int(flash)
    context = llama.llama_init_from_model(model, options)
    vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    batch = llama.llama_batch_init(PROMPT, 0, 1)

    def run(tokens: list[tuple[int, int, int]]) -> list[int]:
        """The likeliest token behind the last one of each sequence, for (token, place, sequence)."""
        ends = [at for at, (_, _, number) in enumerate(tokens) if [*tokens, (0, 0, -1)][at + 1][2] != number]
        batch.n_tokens = len(tokens)
        for at, (token, place, number) in enumerate(tokens):
            batch.token[at], batch.pos[at], batch.n_seq_id[at] = token, place, 1
            batch.seq_id[at][0], batch.logits[at] = number, at in ends
        if llama.llama_decode(context, batch):
            raise RuntimeError("llama.cpp could not run")
        logits = [np.ctypeslib.as_array(llama.llama_get_logits_ith(context, at), shape=(vocabulary,)) for at in ends]
        return [int(each.argmax()) for each in logits]

    def write(prompts: list[list[int]]) -> int:
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        last = [
            run([(token, place, number) for place, token in enumerate(prompt)])[0]
            for number, prompt in enumerate(prompts)
        ]
        for place in range(PROMPT, PROMPT + TOKENS - 1):
            last = run([(token, place, number) for number, token in enumerate(last)])
        return TOKENS * len(prompts)

    return write


def transformers(file: str, threads: int) -> Write:
    """Transformers' generate in bfloat16, all prompts in one batch."""
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    torch.set_num_threads(threads)
    path = Path(file)
    options = {"gguf_file": path.name, "dtype": torch.bfloat16, "output_loading_info": True}
    model = loaded_whole(AutoModelForCausalLM.from_pretrained(path.parent, **options)).eval()

    def write(prompts: list[list[int]]) -> int:
        ids = torch.tensor(prompts)
        mask = torch.ones_like(ids)
        with torch.inference_mode():
            made = model.generate(
                ids, attention_mask=mask, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False, pad_token_id=0
            )
        return int(made.shape[1] - ids.shape[1]) * len(prompts)

    return write


OPENERS = {
    "lager-onnx": lager,
    "llama.cpp": llama_cpp,
    "llama.cpp, flash attention": partial(llama_cpp, flash=True),
    "transformers": transformers,
}


def prompts_at_once(threads: int) -> list[int]:
    """How many are measured."""
    return sorted({1, threads, MANY})


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
    for prompts in prompts_at_once(threads):
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
    contenders = [("lager-onnx", judge, sys.executable) for judge in judges]
    contenders += [(kind, file, llama_python) for file in files for kind in OPENERS if kind.startswith("llama.cpp")]
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
        best = max(
            (other for key, other in medians.items() if key[0] == prompts and key[1].startswith("llama.cpp")),
            default=rate,
        )
        click.echo(f"| {prompts} | {kind}, {what} | {rate:.1f} | {rate / best:.2f} |")


if __name__ == "__main__":
    main()
