"""Finds the token of every score label, and proves that each is one token after the answer prefix."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

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
        ScaleError: a label that is not a single token, shares one with another, or changes the tokens before it;
            names it, with the tokens.
    """
    prefix = wrapper.answer_prefix
    refused: list[tuple[ChatWrapper, dict[str, str]]] = []
    for kept, lead in {prefix: "", prefix.rstrip(): prefix[len(prefix.rstrip()) :]}.items():
        asked = replace(wrapper, answer_prefix=kept)
        texts = tuple(lead + label for label in scale.labels)
        tails = {text: _Tail.of(tokenizer, asked, text) for text in texts}
        reasons = {text: reason for text, tail in tails.items() if (reason := tail.reason())}
        if not reasons:
            reasons = _shared(tokenizer, {text: tail.ids[0] for text, tail in tails.items()})
        if not reasons:
            return asked, texts, tuple(tail.ids[0] for tail in tails.values())
        refused.append((asked, reasons))
    asked, reasons = min(refused, key=lambda candidate: len(candidate[1]))
    text, reason = next(iter(reasons.items()))
    raise ScaleError(
        f"the label {text.strip()!r} is not a single token of its own: after {asked.answer_prefix!r} {reason}. Choose "
        "a scale of labels that are one token each (1-5, 1-9, letters, short words) or another answer prefix"
    )


@dataclass(frozen=True)
class _Tail:
    """The tokens that a label's text adds to a prompt.

    Attributes:
        tokens: added to a prompt without feedback, as text.
        ids: theirs.
        with_feedback: added to a prompt with feedback, as text.
        before: the last tokens of the prompt, without the label and with it, where those differ; else None.
    """

    tokens: list[str]
    ids: list[int]
    with_feedback: list[str]
    before: tuple[list[str], list[str]] | None

    @classmethod
    def of(cls, tokenizer: Tokenizer, wrapper: ChatWrapper, text: str) -> "_Tail":
        """Encode prompts with `text` and without."""
        found: list[tuple[list[str], list[int]]] = []
        before = None
        for feedback in ("", _FEEDBACK):
            prompt = wrapper.wrap(_TURN, feedback)
            head = tokenizer.encode(prompt, add_special_tokens=False)
            joined = tokenizer.encode(prompt + text, add_special_tokens=False)
            count = len(head.ids)
            if joined.ids[:count] != head.ids:
                alike = _alike(head.ids, joined.ids)
                before = before or (head.tokens[alike:], joined.tokens[alike:])
            found.append((joined.tokens[count:], joined.ids[count:]))
        return cls(*found[0], found[1][0], before)

    def reason(self) -> str:
        """Return why it cannot be a score; "" if it can."""
        if self.before is not None:
            return f"it changes the tokens before it: {self.before[0]} becomes {self.before[1]}"
        if len(self.ids) != 1:
            return f"it is {self.tokens}" if self.ids else "it is no token at all"
        if self.tokens != self.with_feedback:
            return f"it is {self.tokens}, but {self.with_feedback} after feedback"
        return ""


def _alike(ids: Sequence[int], others: Sequence[int]) -> int:
    """Return how many ids two prompts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, others, strict=False)))


def _shared(tokenizer: Tokenizer, ids: dict[str, int]) -> dict[str, str]:
    """Return labels that are the same token as another, with the reason."""
    labels: dict[int, list[str]] = {}
    for text, id_ in ids.items():
        labels.setdefault(id_, []).append(text.strip())
    return {
        text: f"it is [{tokenizer.id_to_token(id_)!r}], as {', '.join(map(repr, others))} is"
        for text, id_ in ids.items()
        if (others := [label for label in labels[id_] if label != text.strip()])
    }
