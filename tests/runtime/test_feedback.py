"""Where a feedback ends, and which grade it names; the judge is one that says what it is told to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lager_onnx.models.errors import RecordError
from lager_onnx.models.graph import OUTPUTS
from lager_onnx.models.spec import JudgeSpec, Writing
from lager_onnx.runtime.feedback import FeedbackWriter, Reasoning
from lager_onnx.runtime.grade import Feedback
from lager_onnx.runtime.prompts import PromptEncoder

END = 1


class Told:
    """Writes what it is told to, and remembers what it was asked to grade."""

    def __init__(self, ids: list[int]):
        self.ids, self.prompts = ids, list[list[int]]()

    def write(
        self, prompt: list[int], limit: int, choose: Callable[[Any], int], ended: Callable[[list[int]], bool]
    ) -> list[int]:
        self.prompts.append(prompt)
        written: list[int] = []
        for id_ in self.ids[:limit]:
            written.append(choose(np.eye(400)[id_]))
            if ended(written):
                break
        return written

    def grade(self, prompt: list[int]) -> dict[str, Any]:
        self.prompts.append(prompt)
        return {name: np.zeros((1, 1)) for name in OUTPUTS}


@pytest.fixture
def encoder(tiny_judge: Path) -> PromptEncoder:
    spec = JudgeSpec.load(tiny_judge)
    object.__setattr__(spec, "writing", Writing((END,)))
    return PromptEncoder(tiny_judge, spec)


def written(encoder: PromptEncoder, text: str, *, end: bool = False, **options: Any) -> tuple[Feedback, Told]:
    ids = encoder._encode(text) + [END] * end
    told: Any = Told(ids)
    turns = encoder.turns({"instruction": "Count.", "response": "good"})
    found = FeedbackWriter(encoder, Reasoning(**options)).work(turns)(told)
    if isinstance(found, RecordError):
        raise found
    ((_, feedback),) = found
    return feedback, told


@pytest.mark.parametrize(
    ("text", "end", "feedback", "ended", "named"),
    [
        (" good\nscore: 4 and more", False, "good", "prefix", "4"),
        (" good\nscore: 4", False, "good", "prefix", "4"),
        (" good\nscore: x", False, "good", "prefix", None),
        (" good\nscore:", True, "good", "prefix", None),
        (" good bad", True, "good bad", "end", None),
        (" good bad", False, "good bad", "limit", None),
        ("", True, "", "end", None),
    ],
)
def test_it_ends_at_the_answer_prefix_an_end_token_or_the_limit(
    encoder: PromptEncoder, text: str, end: bool, feedback: str, ended: str, named: str | None
) -> None:
    found, told = written(encoder, text, end=end)
    assert (found.text, found.ended, found.named) == (feedback, ended, named)
    wrote, graded = told.prompts
    assert encoder.decode(wrote).endswith("Feedback:")
    opening = f"Feedback: {feedback}\nscore: " if feedback else "score: "
    assert encoder.decode(graded).endswith(opening.strip()) or encoder.decode(graded).endswith(opening)


def test_a_limit_cuts_and_a_dropped_one_says_why(encoder: PromptEncoder) -> None:
    found, _ = written(encoder, " good bad good bad", max_tokens=3)
    assert (found.tokens, found.ended) == (3, "limit")
    with pytest.raises(RecordError, match=r"named no grade in 3 tokens \(its feedback ended at: limit\)"):
        written(encoder, " good bad good bad", max_tokens=3, drop=True)
    assert written(encoder, " good\nscore: 4", drop=True)[0].named == "4"


def test_a_prompt_that_fills_the_context_leaves_no_room(encoder: PromptEncoder) -> None:
    turns = encoder.turns({"instruction": "Count.", "response": "good"})
    taken = len(encoder.opening_ids(turns)) + encoder.prefix_tokens
    told: Any = Told(encoder._encode(" good" * 50))
    for room, expected in ((1, None), (5, 4)):
        object.__setattr__(encoder.spec, "context_length", taken + room)
        found = FeedbackWriter(encoder, Reasoning()).work(turns)(told)
        if expected is None:
            assert "no room is left for feedback" in str(found)
        else:
            assert isinstance(found, list)
            assert found[0][1].tokens == expected
