"""The text round a user's turn, rendered once from the checkpoint's chat template at export."""

from dataclasses import dataclass
from typing import Final, Literal

FEEDBACK: Final = "Feedback:"
Strip = Literal["none", "left", "right", "both"]


def is_control(token: str, *, special: bool) -> bool:
    """Return whether an added token can mark turns, and so must never be made of a record's text.

    White space never does. Words, numbers, punctuation and single letters that are not flagged as special are
    ordinary text; what has letters inside signs, as "<think>", "[INST]" or "USER:", may be a marker.
    """
    text = token.replace("▁", " ").strip()
    if not text or special:
        return bool(text)
    edges = not (text[0].isalnum() and text[-1].isalnum())
    return len(text) > 1 and edges and any(letter.isalnum() for letter in text)


@dataclass(frozen=True)
class ChatWrapper:
    """What stands before and after the user's turn; scoring needs no template engine.

    Attributes:
        before: all text up to the user's turn (begin token, system turn, user header).
        after: all text from the end of the user's turn to the opening of the assistant's.
        answer_prefix: how the judge's answer begins; the token after it is the score.
        strip: on which sides the template strips white space off the user's turn.
        notes: what a user should know of this wrapper; see `render_wrapper`.
    """

    before: str
    after: str
    answer_prefix: str
    strip: Strip = "none"
    notes: tuple[str, ...] = ()

    def wrap(self, user_turn: str, feedback: str = "") -> str:
        """The whole text that the judge reads, up to its grade."""
        turn = user_turn
        if self.strip in ("left", "both"):
            turn = turn.lstrip()
        if self.strip in ("right", "both"):
            turn = turn.rstrip()
        return f"{self.before}{turn}{self.after}{self.opening(feedback)}"

    def opening(self, feedback: str = "") -> str:
        """How the assistant's turn begins: with what the judge said of the response, if anything, and the prefix."""
        return (f"{FEEDBACK} {feedback}\n" if feedback else "") + self.answer_prefix
