"""Finds the token of every score label, and proves that each is one token after the answer prefix."""

from dataclasses import replace

from tokenizers import Tokenizer

from lager_onnx.models.chat import ChatWrapper
from lager_onnx.models.errors import ScaleError
from lager_onnx.models.scale import Scale

_TURN = "Grade this."


def find_score_tokens(
    tokenizer: Tokenizer, wrapper: ChatWrapper, scale: Scale
) -> tuple[ChatWrapper, tuple[str, ...], tuple[int, ...]]:
    """Texts and ids of the score tokens, with the wrapper whose answer prefix they follow.

    The tokens of prefix + label must be the tokens of the prefix and then one more. Where they are not, the
    space that ends the prefix is tried as the beginning of the label: most tokenisers write "score: good" as
    "score", ":", " good".

    Raises:
        ScaleError: a label that is not a single token, with the tokens that it has.
    """
    prefix = wrapper.answer_prefix
    complaints = []
    for kept, lead in {prefix: "", prefix.rstrip(): prefix[len(prefix.rstrip()) :]}.items():
        asked = replace(wrapper, answer_prefix=kept)
        texts = tuple(lead + label for label in scale.labels)
        rows = [_tail(tokenizer, asked, text) for text in texts]
        bad = [label for label, row in zip(scale.labels, rows, strict=True) if row is None or len(row) != 1]
        ids = tuple(row[0] for row in rows if row)
        if not bad and len(set(ids)) == len(ids):
            return asked, texts, ids
        label = (
            bad[0] if bad else next(label for label, id_ in zip(scale.labels, ids, strict=True) if ids.count(id_) > 1)
        )
        complaints.append(f"after {kept!r} it is {_tokens(tokenizer, asked, lead + label)}")
    raise ScaleError(
        f"the label {label!r} is not a single token of its own: {'; '.join(complaints)}. "
        "Choose a scale of labels that are one token each (1-5, 1-9, letters, short words) or another answer prefix"
    )


def _tail(tokenizer: Tokenizer, wrapper: ChatWrapper, text: str) -> list[int] | None:
    """Ids that `text` adds to the prompt; None where it changes the tokens before it."""
    prompt = wrapper.wrap(_TURN)
    head = tokenizer.encode(prompt, add_special_tokens=False).ids
    joined = tokenizer.encode(prompt + text, add_special_tokens=False).ids
    return joined[len(head) :] if joined[: len(head)] == head else None


def _tokens(tokenizer: Tokenizer, wrapper: ChatWrapper, text: str) -> list[str]:
    """Tokens of the end of prefix + `text` from the first one that touches `text`."""
    prompt = wrapper.wrap(_TURN)
    encoding = tokenizer.encode(prompt + text, add_special_tokens=False)
    start = len(prompt)
    return [token for token, (_, end) in zip(encoding.tokens, encoding.offsets, strict=True) if end > start]
