"""Built-in text as a judge would read it: what 8 and 4 bits are calibrated on, and other text to compare on."""

import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Final, Literal

from tokenizers import Tokenizer

from lager_onnx.models.question import Question
from lager_onnx.models.spec import JudgeSpec

_FOLDER: Final = files("lager_onnx.export") / "texts"
_CRITERIA: Final = {"calibration": ("helpfulness", "fluency"), "comparison": ("correctness", "relevance")}


def built_in_records(text: Literal["calibration", "comparison"]) -> list[dict[str, str]]:
    """Instructions with good and bad responses, each under two criteria; the two texts have no record in common."""
    lines = (_FOLDER / f"{text}.jsonl").read_text(encoding="utf-8").splitlines()
    return [{**json.loads(line), "criterion": criterion} for line in lines for criterion in _CRITERIA[text]]


def sample_prompts(spec: JudgeSpec, tokenizer: Tokenizer, records: Iterable[Mapping[str, str]]) -> list[list[int]]:
    """Token ids of records with an instruction and a response; of one that is too long for the judge, only the end.

    With a template that wants other fields, of their bare text.
    """
    prompts = []
    for record in records:
        filled = f"{record['instruction']}\n\n{record['response']}"
        if spec.template.fields >= {"instruction", "response"}:
            full = {**dict.fromkeys(spec.template.fields, ""), **record}
            filled = spec.template.fill(full, question=Question(spec.scale), answer_prefix=spec.chat.answer_prefix)
        prompts.append(tokenizer.encode(spec.chat.wrap(filled), add_special_tokens=False).ids)
    return [ids[-spec.context_length :] for ids in prompts]
