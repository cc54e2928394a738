"""Where a feedback ends, and which grade it names; the judge is one that says what it is told to."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lager_onnx.models.errors import RecordError
from lager_onnx.models.spec import JudgeSpec, Writing
from lager_onnx.runtime.feedback import FeedbackWriter, Reasoning
from lager_onnx.runtime.grade import Feedback
from lager_onnx.runtime.prompts import PromptEncoder

END = 1
RECORD = {"instruction": "Count.", "response": "good"}


@pytest.fixture
def encoder(tiny_judge: Path) -> PromptEncoder:
    spec = JudgeSpec.load(tiny_judge)
    object.__setattr__(spec, "writing", Writing((END,)))
    return PromptEncoder(tiny_judge, spec)


def written(
    encoder: PromptEncoder, text: str, *, end: bool = False, **options: Any
) -> tuple[Feedback, list[int], list[int]]:
    """Feedback, the prompt that it stands behind, and the one that is graded."""
    writer, turns = FeedbackWriter(encoder, Reasoning(**options)), encoder.turns(RECORD)
    (asked,) = writer.texts(turns)
    tokens: list[int] = []
    for id_ in (encoder._encode(text) + [END] * end)[: asked.limit]:
        tokens.append(asked.choose(np.eye(400)[id_]))
        if asked.ended(tokens):
            break
    graded = asked.graded(tokens)
    if isinstance(graded, RecordError):
        raise graded
    return writer.feedback(turns, tokens), asked.prompt, graded


@pytest.mark.parametrize(
    ("text", "end", "feedback", "ended", "named"),
    [
        (" good\nscore: 4 and more", False, "good", "prefix", "4"),
        (" good\nscore: 4", False, "good", "prefix", "4"),
        (" good\n\nScore: 4", False, "good", "prefix", "4"),
        (" good\nscore: x", False, "good", "prefix", None),
        (" good\nscore:", True, "good", "prefix", None),
        (" good\nGrade: 2.", True, "good", "end", "2"),
        (" good. So it gets 2 out of 5.", True, "good.", "end", "2"),
        (" good. 1 and 3.\n4/5", True, "good. 1 and 3.", "end", "4"),
        (" good. Grade: **3**", True, "good.", "end", "3"),
        (" good. Grade: 3", False, "good. Grade: 3", "limit", None),  # cut, it may be 3.5
        (" good. At 3.5 points it gets a 4.", True, "good.", "end", "4"),
        (" 3", True, "", "end", "3"),
        (" 2 good", True, "2 good", "end", None),
        (" 3 good\nscore: 4", False, "3 good", "prefix", "4"),
        (" 3.5 of 40, 1st", True, "3.5 of 40, 1st", "end", None),
        (" good bad", True, "good bad", "end", None),
        (" good bad", False, "good bad", "limit", None),
        ("", True, "", "end", None),
    ],
)
def test_it_ends_at_the_answer_prefix_an_end_token_or_the_limit(
    encoder: PromptEncoder, text: str, end: bool, feedback: str, ended: str, named: str | None
) -> None:
    found, prompt, graded = written(encoder, text, end=end)
    assert (found.text, found.ended, found.named) == (feedback, ended, named)
    assert encoder.decode(prompt).endswith("Feedback:")
    opening = f"Feedback: {feedback}\nscore: " if feedback else "score: "
    assert encoder.decode(graded).endswith(opening.strip()) or encoder.decode(graded).endswith(opening)


def test_a_limit_cuts_and_a_dropped_one_says_why(encoder: PromptEncoder) -> None:
    found, *_ = written(encoder, " good bad good bad", max_tokens=3)
    assert (found.tokens, found.ended) == (3, "limit")
    with pytest.raises(RecordError, match=r"named no grade in 3 tokens \(its feedback ended at: limit\)"):
        written(encoder, " good bad good bad", max_tokens=3, drop=True)
    assert written(encoder, " good\nscore: 4", drop=True)[0].named == "4"


def test_a_prompt_that_fills_the_context_leaves_no_room(encoder: PromptEncoder) -> None:
    turns = encoder.turns(RECORD)
    taken = len(encoder.opening_ids(turns)) + encoder.prefix_tokens
    object.__setattr__(encoder.spec, "context_length", taken + 1)
    with pytest.raises(RecordError, match="no room is left for feedback"):
        FeedbackWriter(encoder, Reasoning()).texts(turns)
    object.__setattr__(encoder.spec, "context_length", taken + 5)
    assert written(encoder, " good" * 50)[0].tokens == 4
