"""The README.md of a judge folder."""

from lager_onnx.models.spec import JudgeSpec

_CARD = """\
---
library_name: lager-onnx
base_model: {checkpoint}
---

# LAGER judge made from {checkpoint}

Grades a response on the scale {scale}: one prefill, then the logits of the score tokens of every layer are
added with one weight a layer ({weights_origin}) and turned into the expected score.

| | |
|---|---|
| architecture | {architecture}, {layers} |
| body's weights | {precision} ({arithmetic}) |
| prompt template | {template} |
| answer prefix and score tokens | `{answer_prefix}` {score_tokens} |
| longest prompt | {context_length} tokens |
| feedback before the grade (`--reasoning`) | {writes} |
| {verified} | {parity} |
| agreement with its float32 form | {agreement} |

{notes}    pip install 'lager-onnx[{extra}]'
    lager score . records.jsonl -o scores.jsonl

A score is only as good as its judge: compare it with people's ratings of your own data before you rely on it.
The checkpoint's licence holds for this judge too.
"""


def model_card(spec: JudgeSpec) -> str:
    """The card's text."""
    parity = "no"
    if spec.parity:
        parity = (
            f"{spec.parity.prompts} prompts of {spec.parity.lengths[0]} to {spec.parity.lengths[1]} tokens; "
            f"largest difference {spec.parity.layer_logits:.1e} on layer logits (relative), "
            f"{spec.parity.score:.1e} on the score"
        )
    return _CARD.format(
        checkpoint=spec.source.checkpoint,
        scale=spec.scale,
        weights_origin=spec.weights_origin,
        architecture=spec.source.architecture,
        layers=spec.describe_layers(),
        precision=spec.precision,
        arithmetic=_arithmetic(spec),
        extra="cpu" if spec.arithmetic == "fp32" else "gpu",
        template=spec.template.name,
        answer_prefix=spec.chat.answer_prefix,
        score_tokens=" ".join(f"`{token}`" for token in spec.score_tokens),
        context_length=spec.context_length,
        writes="written by the judge" if spec.writing else "read from a record, not written",
        parity=parity,
        verified=_verified(spec),
        agreement=_agreement(spec),
        notes="".join(f"* Note: {note}.\n" for note in spec.chat.notes) + ("\n" if spec.chat.notes else ""),
    )


def _arithmetic(spec: JudgeSpec) -> str:
    if spec.arithmetic == "fp32":
        return "arithmetic and score head are float32"
    return f"for CUDA: products in {spec.arithmetic}; residual stream, norms and score head are float32"


def _verified(spec: JudgeSpec) -> str:
    oracle = "the ONNX file as it was given" if spec.source.checkpoint.endswith(".onnx") else "PyTorch"
    return f"{'float32 form ' if spec.precision in ('int8', 'int4') else ''}verified against {oracle}"


def _agreement(spec: JudgeSpec) -> str:
    if not spec.agreement:
        return "it is float32" if spec.precision == "fp32" else "not measured"
    return (
        f"scores {spec.agreement.score:.2%} of the scale apart, Spearman {spec.agreement.spearman or 0:.3f}, on "
        f"{spec.agreement.prompts} built-in prompts"
    )
