"""Mends the pre-tokeniser of a GGUF file's tokeniser.

transformers rebuilds a GGUF file's byte-level tokenisers with GPT-2's splitting rule whatever the file says in
`tokenizer.ggml.pre`. Some then cut text differently from the checkpoint's own: SmolLM2, for one, splits digits
off before anything else, so that a blank line before "1." is one token, not two.
"""

import logging
from pathlib import Path

from gguf import GGUFReader
from tokenizers import Regex, Tokenizer, pre_tokenizers

from lager_onnx.models.errors import CheckpointError

logger = logging.getLogger(__name__)

# The published rules of Llama 3 and of Qwen 2 (their tokenizer.json), alike but for the length of numbers.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def _split_then_bytes(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def mend_pre_tokenizer(reader: GGUFReader, path: Path, tokenizer: Tokenizer) -> None:
    """Gives `tokenizer` the pre-tokeniser that the GGUF file at `path` names.

    Raises:
        CheckpointError: the file names a rule that is not known here, so tokens could silently be wrong.
    """
    kind = reader.get_field("tokenizer.ggml.model")
    if kind is not None and kind.contents() != "gpt2":
        return  # SentencePiece kinds have no splitting rule
    rule = reader.get_field("tokenizer.ggml.pre")
    name = rule.contents() if rule is not None else "default"
    if name == "smollm":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    elif name in ("llama-bpe", "llama3", "llama-v3"):
        tokenizer.pre_tokenizer = _split_then_bytes(_LLAMA3)
    elif name == "qwen2":
        tokenizer.pre_tokenizer = _split_then_bytes(_QWEN2)
    elif name not in ("gpt-2", "gpt2", "default"):
        raise CheckpointError(
            f"{path.name} splits text by the rule {name!r}, which is known for smollm, llama-bpe, qwen2 and gpt-2 "
            "only; export the checkpoint's Hugging Face directory instead"
        )
    logger.debug("pre-tokeniser of %s: %s", path.name, name)
