"""What a judge is, as text for the terminal."""

from typing import Final

from lager_onnx.models.spec import JudgeSpec
from lager_onnx.models.values import visible

_BAR: Final = 40  # characters for the largest weight
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def describe(spec: JudgeSpec) -> str:
    """Where a judge came from, how far it was checked, and its layer weights as bars."""
    facts = {
        "checkpoint": f"{spec.source.checkpoint} ({spec.source.architecture}, {spec.describe_layers()})",
        "scale": f"{spec.scale}, tokens {' '.join(map(repr, spec.score_tokens))}",
        "precision": spec.precision + (", products in 16 bits too" if spec.arithmetic != "fp32" else ""),
        "template": spec.template.name,
        "reasoning": "writes feedback before it grades, where asked" if spec.writing else "",
        "longest prompt": f"{spec.context_length} tokens",
        "against PyTorch": _parity(spec),
        "against float32": _agreement(spec),
        "weights": spec.weights_origin,
        "calibration": spec.calibration.origin if spec.calibration else "",
        "note": "; ".join(spec.chat.notes),
        "made with": ", ".join(f"{name} {version}" for name, version in spec.versions.items()),
    }
    lines = [f"{name + ':':17s}{visible(value)}" for name, value in facts.items() if value]
    return "\n".join([*lines, "", "layer weights", *weight_bars(spec)])


def weight_bars(spec: JudgeSpec) -> list[str]:
    """One line a row of layer logits that has weight: layer 0 is the embedding."""
    largest = max(map(abs, spec.layer_weights)) or 1.0
    return [
        f"{row!s:>8s} {weight:7.4f} {_bar(abs(weight) / largest)}"
        for row, weight in zip(spec.rows, spec.layer_weights, strict=True)
        if weight
    ]


def _bar(share: float) -> str:
    whole, part = divmod(round(share * _BAR * 8), 8)
    return _EIGHTHS[-1] * whole + (_EIGHTHS[part] if part else "")


def _parity(spec: JudgeSpec) -> str:
    if not spec.parity:
        return "not verified"
    return (
        f"layer logits within {spec.parity.layer_logits:.1e} (relative), score within {spec.parity.score:.1e}, "
        f"{spec.parity.prompts} prompts"
    )


def _agreement(spec: JudgeSpec) -> str:
    if not spec.agreement:
        return ""
    return (
        f"scores {spec.agreement.score:.2%} of the scale apart, Spearman {spec.agreement.spearman or 0:.3f}, "
        f"{spec.agreement.prompts} prompts"
    )
