"""Built-in records as a judge would read them."""

from collections.abc import Iterable, Mapping

from tokenizers import Tokenizer

from lager_onnx.models.spec import JudgeSpec


def sample_prompts(spec: JudgeSpec, tokenizer: Tokenizer, records: Iterable[Mapping[str, str]]) -> list[list[int]]:
    """Token ids of records with an instruction and a response; those that are too long for the judge are left out.

    With a template that wants other fields, of their bare text.
    """
    prompts = []
    for record in records:
        filled = f"{record['instruction']}\n\n{record['response']}"
        if spec.template.fields >= {"instruction", "response"}:
            full = {**dict.fromkeys(spec.template.fields, ""), **record}
            filled = spec.template.fill(full, scale=spec.scale, answer_prefix=spec.chat.answer_prefix)
        prompts.append(tokenizer.encode(spec.chat.wrap(filled), add_special_tokens=False).ids)
    return [ids for ids in prompts if len(ids) <= spec.context_length]
