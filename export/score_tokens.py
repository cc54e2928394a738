"""Finds the token of every score label, and proves that each is one token after the answer prefix."""

from dataclasses import replace

from tokenizers import Tokenizer

from lager_onnx.models.chat import ChatWrapper
from lager_onnx.models.errors import ScaleError
from lager_onnx.models.scale import Scale

_TURN, _FEEDBACK = "Grade this.", "Fair."


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
    refused: list[tuple[ChatWrapper, list[str]]] = []
    for kept, lead in {prefix: "", prefix.rstrip(): prefix[len(prefix.rstrip()) :]}.items():
        asked = replace(wrapper, answer_prefix=kept)
        texts = tuple(lead + label for label in scale.labels)
        rows = [_tail(tokenizer, asked, text) for text in texts]
        ids = tuple(row[0] for row in rows if row and len(row) == 1)
        bad = [text for text, row in zip(texts, rows, strict=True) if not row or len(row) != 1 or ids.count(row[0]) > 1]
        if not bad:
            return asked, texts, ids
        refused.append((asked, bad))
    asked, bad = min(refused, key=lambda candidate: len(candidate[1]))
    raise ScaleError(
        f"the label {bad[0].strip()!r} is not a single token of its own: after {asked.answer_prefix!r} it is "
        f"{_tokens(tokenizer, asked, bad[0])}. Choose a scale of labels that are one token each "
        "(1-5, 1-9, letters, short words) or another answer prefix"
    )


def _tail(tokenizer: Tokenizer, wrapper: ChatWrapper, text: str) -> list[int] | None:
    """Ids that `text` adds to a prompt, with feedback and without; None where it changes the tokens before it."""
    tails: list[list[int]] = []
    for feedback in ("", _FEEDBACK):
        prompt = wrapper.wrap(_TURN, feedback)
        head = tokenizer.encode(prompt, add_special_tokens=False).ids
        joined = tokenizer.encode(prompt + text, add_special_tokens=False).ids
        if joined[: len(head)] != head:
            return None
        tails.append(joined[len(head) :])
    return tails[0] if tails[0] == tails[1] else None


def _tokens(tokenizer: Tokenizer, wrapper: ChatWrapper, text: str) -> list[str]:
    """Tokens of the end of prefix + `text` from the first one that touches `text`."""
    prompt = wrapper.wrap(_TURN)
    encoding = tokenizer.encode(prompt + text, add_special_tokens=False)
    start = len(prompt)
    return [token for token, (_, end) in zip(encoding.tokens, encoding.offsets, strict=True) if end > start]
