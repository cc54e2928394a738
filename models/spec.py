"""JudgeSpec: the content of `judge.json`, all that scoring must know beside the graph and the tokeniser."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lager_onnx.models.chat import ChatWrapper
from lager_onnx.models.errors import JudgeFolderError, LagerError
from lager_onnx.models.precisions import Precision
from lager_onnx.models.scale import Scale
from lager_onnx.models.template import Template

FORMAT = "lager-onnx judge"
FORMAT_VERSION = 1
SPEC_FILE = "judge.json"
GRAPH_FILE = "model.onnx"
WEIGHTS_FILE = "model.onnx_data"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "README.md"

Lens = Literal["raw", "norm"]
Target = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class JudgeSpec:
    """A judge, as `judge.json` describes it.

    Attributes:
        scale: labels and values of the K scores.
        score_tokens: text of the K score tokens, as they follow the answer prefix.
        score_token_ids: their ids (M of METHOD section 1).
        num_layers: L, the number of decoder layers; there are L + 1 rows of layer logits.
        lens: "raw" (residual stream as it is) or "norm" (final norm applied to every row).
        layers: rows that may have weight.
        layer_weights: L + 1 weights, the content of the graph's `lager.layer_weights`.
        weights_origin: how the weights came about.
        template: prompt template.
        chat: text round the user's turn.
        precision: how the body's weights are stored and, with int8 and int4, multiplied; the head is float32 always.
        arithmetic: what projections and attention compute in; 16 bits in a judge for CUDA, the rest is float32.
        context_length: most tokens that the judge can read.
        source: checkpoint, architecture, model type and what else tells where it came from.
        versions: packages that made it.
        parity: largest differences from PyTorch that verification saw; of the float32 form, where the judge is one in
            8 or 4 bits; None without verification.
        agreement: of the judge with its float32 form, on built-in text; None for a float32 judge.
        checksums: SHA-256 of the other files of the folder.
    """

    scale: Scale
    score_tokens: tuple[str, ...]
    score_token_ids: tuple[int, ...]
    num_layers: int
    lens: Lens
    layers: tuple[int, ...]
    layer_weights: tuple[float, ...]
    weights_origin: str
    template: Template
    chat: ChatWrapper
    precision: Precision
    context_length: int
    source: dict[str, str]
    versions: dict[str, str]
    arithmetic: Precision = "fp32"
    parity: dict[str, Any] | None = None
    agreement: dict[str, Any] | None = None
    checksums: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of `judge.json`."""
        content = {"format": FORMAT, "format_version": FORMAT_VERSION} | dataclasses.asdict(self)
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, folder: Path) -> "JudgeSpec":
        """Reads `judge.json` of a judge folder.

        Raises:
            JudgeFolderError: no such file, another format or version, or a field missing or wrong.
        """
        path = folder / SPEC_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise JudgeFolderError(
                f"{folder} is not a judge folder ({SPEC_FILE}: {error.strerror}): "
                f"make one with lager export CHECKPOINT {folder}"
            ) from error
        except ValueError as error:
            raise JudgeFolderError(f"{path} is damaged (not JSON: {error}): export the judge again") from error
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise JudgeFolderError(f"{path} was not written by lager-onnx: export the judge again")
        if (version := content.pop("format_version", None)) != FORMAT_VERSION:
            raise JudgeFolderError(
                f"{path} has format version {version}, this lager-onnx reads {FORMAT_VERSION}: "
                "export the judge again with this version"
            )
        try:
            return cls._from_content(content)
        except (TypeError, ValueError, KeyError, LagerError) as error:
            raise JudgeFolderError(f"{path} is damaged ({error}): export the judge again") from error

    @classmethod
    def _from_content(cls, content: dict[str, Any]) -> "JudgeSpec":
        parts: dict[str, Any] = {"scale": Scale, "template": Template, "chat": ChatWrapper}
        for name, kind in parts.items():
            content[name] = kind(**{key: _frozen(value) for key, value in content[name].items()})
        spec = cls(**{key: _frozen(value) for key, value in content.items()})
        rows, scores = spec.num_layers + 1, len(spec.scale.labels)
        if len(spec.layer_weights) != rows or not all(math.isfinite(weight) for weight in spec.layer_weights):
            raise ValueError(f"{len(spec.layer_weights)} layer weights for {rows} rows")
        if len(spec.score_token_ids) != scores or len(spec.score_tokens) != scores:
            raise ValueError(f"{len(spec.score_token_ids)} score tokens for {scores} labels")
        return spec


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
