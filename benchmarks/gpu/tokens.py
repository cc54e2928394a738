"""How many tokens a GPU's packed batches compute for a file of records, and how many the CPU's engine does.

    python benchmarks/gpu/tokens.py JUDGE_DIR RECORDS [--field response=output] [--threads 1]

The CPU's engine really grades them; of the packed batches only the plan is made.
"""

from pathlib import Path

import click

from lager_onnx import Judge
from lager_onnx.commands.options import reads_records
from lager_onnx.models.graph import INPUT_IDS, ROW_TOKENS
from lager_onnx.runtime.batching import packed_batches, windows
from lager_onnx.runtime.packed_batch import pack_batch
from lager_onnx.runtime.prepared import prepare
from lager_onnx.runtime.records import Source, read_rows


@click.command()
@click.argument("judge_dir", type=click.Path(exists=True, path_type=Path))
@click.argument("records")
@reads_records("records")
@click.option("--threads", type=int, default=1)
def main(judge_dir: Path, source: Source, threads: int) -> None:
    """See the file."""
    judge = Judge.load(judge_dir, device="cpu", threads=threads)
    records = [row.record for row in read_rows(source)]
    prepared = list(prepare(judge._encoder, records))
    whole = sum(each.tokens for each in prepared)
    click.echo(f"{len(records)} records: {whole} tokens")
    for limit in (4096, 32768):
        tokens = rows = 0
        for window in windows(prepared, limit):
            prompts = [each.ids for each in window]
            for batch in packed_batches(prompts, limit):
                packed = pack_batch([prompts[index] for index in batch])
                tokens, rows = tokens + packed[INPUT_IDS].size, rows + packed[ROW_TOKENS].size
        click.echo(f"packed batches of {limit}: {tokens} tokens ({tokens / whole:.1%}), {rows} rows of attention")
    judge.score(records, on_error="skip")
    tokens = judge._engine.tokens
    click.echo(f"CPU, {threads} threads: {tokens} tokens ({tokens / whole:.1%})")


if __name__ == "__main__":
    main()
