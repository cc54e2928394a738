"""Criteria to choose from: one question each, with what the ends of any scale mean."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Criterion:
    """One aspect of quality.

    Only the two ends are described, so that a criterion fits any scale; a record's own rubric may describe
    every score.
    """

    question: str
    low: str
    high: str


CRITERIA: dict[str, Criterion] = {
    "helpfulness": Criterion(
        "How much does the response help the person who wrote the instruction?",
        "It is of no use to them.",
        "It gives them all that they need, in a form that they can use at once.",
    ),
    "correctness": Criterion(
        "Is what the response says true, and does it answer what was asked?",
        "It is wrong or answers something else.",
        "Every statement is right and the answer is the right one.",
    ),
    "coherence": Criterion(
        "Do the parts of the response fit together and follow from one another?",
        "It contradicts itself or jumps from point to point.",
        "It is consistent and easy to follow from start to end.",
    ),
    "relevance": Criterion(
        "Is the response relevant to the instruction?",
        "It is about something else.",
        "All of it matters to the request.",
    ),
    "completeness": Criterion(
        "Does the response cover everything that the instruction asks for?",
        "It leaves out nearly all of it.",
        "Every part of the request is dealt with in enough depth.",
    ),
    "fluency": Criterion(
        "How well is the response written?",
        "It is broken language that is hard to read.",
        "It reads like the work of a careful native writer.",
    ),
    "conciseness": Criterion(
        "Does the response say what it has to say without wasting words?",
        "It is padded or repeats itself throughout.",
        "Every sentence earns its place.",
    ),
    "instruction-following": Criterion(
        "Does the response obey each demand of the instruction, such as format, length and tone?",
        "It ignores the demands.",
        "It meets every one of them exactly.",
    ),
    "faithfulness": Criterion(
        "Is everything in the response supported by the given text?",
        "Most of it is made up or contradicts the text.",
        "Every statement is supported by the text.",
    ),
    "harmlessness": Criterion(
        "Is the response safe for the reader and for others?",
        "It helps to do serious harm.",
        "It can do no harm, and it is no more guarded than it must be.",
    ),
    # The other criteria by which the paper selects instruction data; relevance is the seventh. All seven begin alike:
    # what they share of the prompt is read once.
    "answer-accuracy": Criterion(
        "Is the response accurate?",
        "It is wrong from start to end.",
        "It is accurate in every detail.",
    ),
    "logical-consistency": Criterion(
        "Is the response sound and free of contradictions?",
        "It contradicts itself or does not follow.",
        "Every step follows from those before it.",
    ),
    "fluency-and-clarity": Criterion(
        "Is the response well written and easy to understand?",
        "It is hard to understand.",
        "It reads well and nothing is unclear.",
    ),
    "length-appropriateness": Criterion(
        "Is the response as long as it has to be?",
        "It is far too short or too long.",
        "Its length is just right.",
    ),
    "diversity": Criterion(
        "Is the example unlike what is common?",
        "It is one of countless others.",
        "It is rare in topic or in form.",
    ),
    "instruction-difficulty": Criterion(
        "Is the instruction difficult?",
        "Anybody could do it at once.",
        "It takes an expert.",
    ),
}

SELECTION_CRITERIA = (
    "answer-accuracy", "logical-consistency", "relevance", "fluency-and-clarity", "length-appropriateness", "diversity",
    "instruction-difficulty",
)  # fmt: skip
