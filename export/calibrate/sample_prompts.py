"""Built-in text as a judge would read it: what 8 and 4 bits are calibrated on, and other text to compare on."""

import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Final, Literal

from tokenizers import Tokenizer

from lager_onnx.models.question import Question
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.models.template import KNOWN, MADE, Template

_FOLDER: Final = files("lager_onnx.export") / "texts"
_SAMPLE: Final = "Be polite, answer what was asked, and name your sources."
_CRITERION: Final = "helpfulness"
_CRITERIA: Final = {"calibration": ("helpfulness", "fluency"), "comparison": ("correctness", "relevance")}


def built_in_records(text: Literal["calibration", "comparison"]) -> list[dict[str, str]]:
    """Instructions with good and bad responses, each under two criteria; the two texts have no record in common."""
    lines = (_FOLDER / f"{text}.jsonl").read_text(encoding="utf-8").splitlines()
    return [{**json.loads(line), "criterion": criterion} for line in lines for criterion in _CRITERIA[text]]


def sample_prompts(spec: JudgeSpec, tokenizer: Tokenizer, records: Iterable[Mapping[str, str]]) -> list[list[int]]:
    """Return the token ids of records with an instruction and a response; of a prompt that is too long, only the end.

    The template is filled whole: a field that it needs, or that is its own, such as `{policy}` or `{tone?}`, gets a
    plain sample text where a record lacks it. One with neither instruction nor response has all of a record's text in
    each of those fields.
    """
    prompts = []
    for record in records:
        filled = spec.template.fill(
            _complete(spec.template, record), question=Question(spec.scale), answer_prefix=spec.chat.answer_prefix
        )
        prompts.append(tokenizer.encode(spec.chat.wrap(filled), add_special_tokens=False).ids)
    return [ids[-spec.context_length :] for ids in prompts]


def _complete(template: Template, record: Mapping[str, str]) -> dict[str, str]:
    """Return a record with all fields of the template."""
    text = f"{record['instruction']}\n\n{record['response']}"
    if "prompt" in template.fields:  # a whole user's turn, which no template is filled for
        return {"prompt": text}
    sample = _SAMPLE if template.fields & {"instruction", "response"} else text
    filled = (template.needed | (template.fields - KNOWN)) - MADE
    criterion = {"criterion": _CRITERION} if template.needed & {"criterion", "rubric"} else {}
    return {**dict.fromkeys(template.fields - MADE, ""), **dict.fromkeys(filled, sample), **criterion, **record}
