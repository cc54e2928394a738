"""Which judges grade which labelled sets, under which prompts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
_RECIPES: Final = HERE.parent.parent / "docs" / "recipes"

JUDGES: Final = ("smollm2", "qwen-0.5b", "qwen-1.5b")  # as samples/find_checkpoint.py knows them


@dataclass(frozen=True)
class Prompt:
    """How a judge is asked.

    Attributes:
        name: of it.
        template: a built-in's name, or a file.
        answer_prefix: another one than the judge's.
        system: whether the system turn stays that the checkpoint's chat template adds by itself.
        reasoning: whether the judge writes feedback before it grades.
    """

    name: str
    template: str
    answer_prefix: str | None = None
    system: bool = True
    reasoning: bool = False


@dataclass(frozen=True)
class LabelledSet:
    """Labelled data.

    Attributes:
        name: of it, and of its file.
        label: the field that holds the label; true and false are the ends of the scale.
        scale: of the judge that grades it.
        prompt: how it is asked for; the product's default where None.
    """

    name: str
    label: str = "human_score"
    scale: str = "1-5"
    prompt: Prompt | None = None


SETS: Final = {
    each.name: each
    for each in (
        LabelledSet("newsroom"),
        LabelledSet("vicuna_eval", "gpt4_score"),
        LabelledSet(
            "eq_bench",
            scale="1=0,2=1.25,3=2.5,4=3.75,5=5,6=6.25,7=7.5,8=8.75,9=10",
            prompt=Prompt("emotions", str(_RECIPES / "emotions.txt")),
        ),
        LabelledSet(
            "self_aware",
            "answerable",
            prompt=Prompt("knowledge_boundary", str(_RECIPES / "knowledge_boundary.txt")),
        ),
    )
}

DEFAULT: Final = Prompt("direct", "direct")
PROMPTS: Final = (
    DEFAULT,
    Prompt("paper", "paper"),
    *(
        Prompt(name, str(HERE / "templates" / f"{name}.txt"))
        for name in ("rubric_first", "no_reminder", "question", "strict", "levels", "ends")
    ),
    Prompt("direct+nosystem", "direct", system=False),
    Prompt("direct+Rating", "direct", answer_prefix="Rating: "),
)
# The sets whose prompt is to be chosen, and how many groups of their records are graded under every prompt.
CHOSEN_ON: Final = {"newsroom": 105, "vicuna_eval": 40}
# With reasoning beside without, on the same records.
REASONING: Final = (DEFAULT, Prompt("reasoning", "reasoning", reasoning=True))
REASONED_ON: Final = CHOSEN_ON
# Groups that float32 judges grade, to be set beside int8: every eighth. (Every seventh would be of one system.)
IN_FLOAT32: Final = {"newsroom": 52}
