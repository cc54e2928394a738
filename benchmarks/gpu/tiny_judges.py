"""Exports judges for CUDA in all precisions: SmolLM2-135M, and a tiny random one of every family.

PYTHONPATH=tests python benchmarks/gpu/tiny_judges.py judges/gpu "$(python samples/find_checkpoint.py)"
"""

import tempfile
from pathlib import Path

import click

from lager_onnx.export import export_judge
from lager_onnx.models.precisions import Precision
from support.tiny import HEAD, VARIANTS, make_checkpoint

PRECISIONS: tuple[Precision, ...] = ("bf16", "fp16", "int4")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("smollm2", type=click.Path(exists=True, path_type=Path))
def main(folder: Path, smollm2: Path) -> None:
    """Leaves judges alone that are there; they are not verified, which the tests do."""
    with tempfile.TemporaryDirectory() as checkpoints:
        for name in ("smollm2", *VARIANTS):
            for precision in PRECISIONS:
                judge = folder / f"{name}-{precision}"
                if (judge / "judge.json").exists():
                    continue
                checkpoint = smollm2
                if name != "smollm2":
                    checkpoint = make_checkpoint(Path(checkpoints) / f"{name}-{precision}", *VARIANTS[name], head=HEAD)
                export_judge(checkpoint, judge, precision=precision, target="cuda", verify_judge=False)


if __name__ == "__main__":
    main()
