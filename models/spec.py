"""JudgeSpec: the content of `judge.json`, all that scoring must know beside the graph and the tokeniser."""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from lager_onnx.models.calibration import Calibration
from lager_onnx.models.chat import ChatWrapper
from lager_onnx.models.decode import decode
from lager_onnx.models.errors import JudgeFolderError, LagerError
from lager_onnx.models.export_cure import export_cure
from lager_onnx.models.layers import LENSES, Row, rows_of
from lager_onnx.models.learned_from import LearnedFrom
from lager_onnx.models.precisions import Precision
from lager_onnx.models.scale import Scale
from lager_onnx.models.template import Template
from lager_onnx.models.values import visible

FORMAT: Final = "lager-onnx judge"
FORMAT_VERSION: Final = 3
SPEC_FILE: Final = "judge.json"
GRAPH_FILE: Final = "model.onnx"
WEIGHTS_FILE: Final = "model.onnx_data"
CONFIG_FILE: Final = "config.json"
TOKENIZER_FILE: Final = "tokenizer.json"
TOKENIZER_CONFIG_FILE: Final = "tokenizer_config.json"
CARD_FILE: Final = "README.md"
CHECKED_FILES: Final = (GRAPH_FILE, WEIGHTS_FILE, TOKENIZER_FILE)
# The graph's metadata entry that holds the spec, but for the checksums: `judge.json` is held against it.
GRAPH_KEY: Final = "lager.judge"

Target = Literal["cpu", "cuda"]
_SHA256: Final = re.compile("[0-9a-f]{64}")
_LARGEST_SPEC: Final = 1 << 24  # bytes


@dataclass(frozen=True)
class Parity:
    """Largest differences between onnxruntime and PyTorch over some prompts.

    Attributes:
        layer_logits: largest over the rows of |difference| / largest |logit| of that row.
        worst_row: where that was, such as "norm 12".
        logits: largest difference of the aggregated logits, relative to the largest one.
        probabilities: largest difference, absolute.
        score: largest difference, in units of the scale.
        prompts: number of compared prompts.
        lengths: shortest and longest prompt, in tokens.
    """

    layer_logits: float
    worst_row: str
    logits: float
    probabilities: float
    score: float
    prompts: int
    lengths: tuple[int, int]


@dataclass(frozen=True)
class Agreement:
    """How far a judge's scores are from its float32 form's, on text that no calibration saw.

    Attributes:
        score: mean absolute difference, as a share of the scale's width.
        spearman: correlation of the ranks; None where a judge gives the same score to all.
        spread: standard deviation of the float32 scores, as a share of the scale's width.
        prompts: how many there were.
    """

    score: float
    spearman: float | None
    spread: float
    prompts: int


@dataclass(frozen=True)
class Origin:
    """Where a judge came from.

    Attributes:
        checkpoint: name of the folder, file or hub id.
        architecture: of the model, such as `LlamaForCausalLM`.
        model_type: as in its configuration.
        commit: of a hub id; "" for local files.
    """

    checkpoint: str
    architecture: str
    model_type: str
    commit: str = ""


@dataclass(frozen=True)
class Writing:
    """What a judge that writes must know.

    Attributes:
        end_tokens: ids of the tokens with which a text ends.
    """

    end_tokens: tuple[int, ...]


@dataclass(frozen=True, repr=False)
class JudgeSpec:
    """A judge, as `judge.json` describes it.

    Attributes:
        scale: labels and values of the K scores.
        score_tokens: text of the K score tokens, as they follow the answer prefix.
        score_token_ids: their ids.
        num_layers: L, the number of decoder layers; there are 2 (L + 1) rows of layer logits, see `rows`.
        layers_cut: decoder layers of the checkpoint above those, which `lager cut` took away.
        layer_weights: 2 (L + 1) weights, the content of the graph's `lager.layer_weights`.
        weights_origin: how the weights came about.
        template: prompt template.
        chat: text round the user's turn.
        precision: how the body's weights are stored and, with int8 and int4, multiplied; the head is float32 always.
        arithmetic: what projections and attention compute in; 16 bits in a judge for CUDA, the rest is float32.
        context_length: most tokens that the judge can read.
        vocabulary: number of tokens that the embedding knows; ids from there on cannot be read.
        calibration: what the graph does to LAGER's score before it gives it; None for nothing.
        learned_from: the records that weights or calibration were learned from; None where nothing was.
        source: checkpoint, architecture, model type and what else tells where it came from.
        versions: packages that made it.
        writing: how it writes feedback before it grades; None where it cannot.
        parity: largest differences from PyTorch that verification saw; of the float32 form, where the judge is one in
            8 or 4 bits; None without verification.
        agreement: of the judge with its float32 form, on built-in text; None for a float32 judge.
        checksums: SHA-256 of the other files of the folder.
    """

    scale: Scale
    score_tokens: tuple[str, ...]
    score_token_ids: tuple[int, ...]
    num_layers: int
    layer_weights: tuple[float, ...]
    weights_origin: str
    template: Template
    chat: ChatWrapper
    precision: Precision
    context_length: int
    vocabulary: int
    source: Origin
    versions: dict[str, str]
    arithmetic: Precision = "fp32"
    layers_cut: int = 0
    calibration: Calibration | None = None
    learned_from: LearnedFrom | None = None
    writing: Writing | None = None
    parity: Parity | None = None
    agreement: Agreement | None = None
    checksums: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows, scores = len(LENSES) * (self.num_layers + 1), len(self.scale.labels)
        if self.num_layers < 1 or len(self.layer_weights) != rows:
            raise ValueError(f"{len(self.layer_weights)} layer weights for {rows} rows")
        if len(self.score_token_ids) != scores or len(self.score_tokens) != scores:
            raise ValueError(f"{len(self.score_token_ids)} score tokens for {scores} labels")
        if len(set(self.score_token_ids)) != scores or not all(
            0 <= id_ < self.vocabulary for id_ in self.score_token_ids
        ):
            raise ValueError(f"the score tokens {self.score_token_ids} are not {scores} of {self.vocabulary} tokens")
        if self.calibration is not None:
            self.calibration.check(min(self.scale.values), max(self.scale.values))
        if self.context_length < 1:
            raise ValueError(f"a context of {self.context_length} tokens")

    def __repr__(self) -> str:
        """One short line; `to_json` has all of it."""
        made_from = f"{self.source.checkpoint!r}, {self.source.architecture}, {self.describe_layers()}"
        return f"JudgeSpec({made_from}, {self.precision}, scale {self.scale}, {self.context_length} tokens)"

    @property
    def rows(self) -> tuple[Row, ...]:
        """What each of the layer weights is of."""
        return rows_of(self.num_layers)

    def describe_layers(self) -> str:
        """How many layers there are, for people."""
        cut = f" of {self.num_layers + self.layers_cut}, those above cut off" if self.layers_cut else ""
        return f"{self.num_layers} layers{cut}"

    def to_json(self) -> str:
        """The text of `judge.json`."""
        content = {"format": FORMAT, "format_version": FORMAT_VERSION} | dataclasses.asdict(self)
        for name in ("writing", "learned_from"):
            if content[name] is None:
                del content[name]
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def for_graph(self) -> dict[str, Any]:
        """What the graph carries of it: all but the checksums, the graph's own being among them."""
        content: dict[str, Any] = json.loads(self.to_json())
        del content["checksums"]
        return content

    @classmethod
    def load(cls, folder: Path) -> "JudgeSpec":
        """Reads `judge.json` of a judge folder.

        Raises:
            JudgeFolderError: no such file, another format or version, or a field missing or wrong.
        """
        path = folder / SPEC_FILE
        shown = visible(str(path))
        try:
            if path.exists() and (not path.is_file() or path.is_symlink() or path.stat().st_size > _LARGEST_SPEC):
                raise JudgeFolderError(f"{shown} is no regular file of a judge: export the judge again")
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise JudgeFolderError(
                f"{visible(str(folder))} is not a judge folder ({SPEC_FILE}: {error.strerror})",
                export_cure("CHECKPOINT", folder),
            ) from error
        except (ValueError, RecursionError) as error:
            raise JudgeFolderError(f"{shown} is damaged (not JSON: {error}): export the judge again") from error
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise JudgeFolderError(f"{shown} was not written by lager-onnx: export the judge again")
        if (version := content.pop("format_version", None)) != FORMAT_VERSION:
            raise JudgeFolderError(
                f"{shown} has format version {visible(repr(version)[:40])}, this lager-onnx reads {FORMAT_VERSION}: "
                "export the judge again with this version"
            )
        try:
            spec = decode(cls, content)
        except (ValueError, LagerError, RecursionError) as error:
            raise JudgeFolderError(f"{shown} is damaged ({visible(str(error))}): export the judge again") from error
        spec._check_checksums(shown)
        return spec

    def _check_checksums(self, shown: str) -> None:
        if not {GRAPH_FILE, TOKENIZER_FILE} <= set(self.checksums) <= set(CHECKED_FILES):
            names = visible(", ".join(self.checksums)[:80]) or "no file"
            raise JudgeFolderError(
                f"{shown} is damaged (it has checksums of {names}, not of {', '.join(CHECKED_FILES)}): export the "
                "judge again"
            )
        if not all(_SHA256.fullmatch(checksum) for checksum in self.checksums.values()):
            raise JudgeFolderError(f"{shown} is damaged (a checksum is no SHA-256): export the judge again")
