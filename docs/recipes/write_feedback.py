"""Lets a judge write feedback before it grades: the paper's condition with reasoning.

    lager export CHECKPOINT judges/reasoning --template reasoning
    python docs/recipes/write_feedback.py CHECKPOINT judges/reasoning records.jsonl -o with_feedback.jsonl
    lager score judges/reasoning with_feedback.jsonl

PyTorch writes, greedily and 256 tokens at most; lager-onnx grades what was written. Any other program may write the
field `feedback` as well. Needs the extra [export].
"""

import json
from pathlib import Path

import click
import torch
from tqdm import tqdm

from lager_onnx.export.checkpoint import load_checkpoint
from lager_onnx.export.skeleton import whole_model
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.prompts import PromptEncoder
from lager_onnx.runtime.records import read_rows

_BEGINNING = "Feedback:"


@click.command(context_settings={"show_default": True})
@click.argument("checkpoint")
@click.argument("judge_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("records")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Records with `feedback`.")
@click.option("--batch", type=click.IntRange(min=1), default=16, help="Records that are written on at once.")
@click.option("--tokens", type=click.IntRange(min=1), default=256, help="Most tokens of one feedback.")
def main(checkpoint: str, judge_dir: Path, records: str, output: Path, batch: int, tokens: int) -> None:
    """Writes RECORDS with a field `feedback` each; goes on where OUTPUT ends."""
    judge, spec = load_checkpoint(checkpoint), JudgeSpec.load(judge_dir)
    model, tokenizer = whole_model(judge.model, judge.tensors, torch.bfloat16), judge.tokenizer
    if not getattr(judge.config, "attn_logit_softcapping", None):  # which PyTorch's own attention would leave out
        model.set_attn_implementation("sdpa")
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    encoder = PromptEncoder(judge_dir, spec)
    prefix = len(judge.backend.encode(spec.chat.answer_prefix, add_special_tokens=False).ids)
    begun = judge.backend.encode(_BEGINNING, add_special_tokens=False).ids
    rows = [row.record for row in read_rows(records)]
    with output.open("a+", encoding="utf-8") as file:
        file.seek(0)
        done = sum(1 for _ in file)
        for first in tqdm(range(done, len(rows), batch), unit=" batches"):
            some = rows[first : first + batch]
            turns = [encoder.turns({**record, "feedback": ""}) for record in some]
            prompts = [[*encoder.ids(each)[:-prefix], *begun] for each in turns]
            inputs = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
            with torch.inference_mode():
                written = model.generate(
                    **inputs, max_new_tokens=tokens, do_sample=False, tokenizer=tokenizer,
                    stop_strings=[spec.chat.answer_prefix.strip()],
                )  # fmt: skip
            for record, ids in zip(some, written[:, inputs["input_ids"].shape[1] :], strict=True):
                text = tokenizer.decode(ids, skip_special_tokens=True).partition(spec.chat.answer_prefix.strip())[0]
                file.write(json.dumps({**record, "feedback": text.strip()}, ensure_ascii=False) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
