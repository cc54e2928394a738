"""What an exporter asks of a decoder, whichever files it comes from."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from tokenizers import Tokenizer

from lager_onnx.export.weights import Weight
from lager_onnx.models.precisions import Precision
from lager_onnx.models.spec import JudgeSpec

Array = npt.NDArray[np.float32]


class Chat(Protocol):
    """A checkpoint's chat template.

    Attributes:
        exists: whether there is one.
        several: the names of several, where there is no single one.
        begin: what the tokeniser puts before a text, such as a begin token, as text.
        added: tokens that were added to the tokeniser's own and can mark turns (see `is_control`), as text.
        notes: what a user should know of the tokeniser.
    """

    @property
    def exists(self) -> bool: ...  # noqa: D102
    @property
    def several(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def begin(self) -> str: ...  # noqa: D102
    @property
    def added(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def notes(self) -> tuple[str, ...]: ...  # noqa: D102

    def render(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool) -> str:
        """A conversation as text; raises whatever the template leads to."""

    def another_day(self) -> AbstractContextManager[None]:
        """Lets templates believe that it is another day, month and year."""


class Source(Protocol):
    """A decoder before export.

    Attributes:
        name: as it was given.
        commit: of a hub id's snapshot; "" for local files.
        architecture: name of the model class, such as `LlamaForCausalLM`.
        config: the decoder's configuration; attributes as in config.json.
        backend: what scoring will tokenise with.
        chat: its chat template.
        embedding: (tokens, hidden).
        shapes: of its parameters, by name.
        rotary_precision: in which its rotary embedding is computed, "fp32" or "fp16".
        facts: its configuration as its files have it, in the form of a config.json, for `check_angles`.
        oracle: what it is compared with, in words.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def commit(self) -> str: ...  # noqa: D102
    @property
    def oracle(self) -> str: ...  # noqa: D102
    @property
    def architecture(self) -> str: ...  # noqa: D102
    @property
    def config(self) -> Any: ...  # noqa: D102
    @property
    def backend(self) -> Tokenizer: ...  # noqa: D102
    @property
    def chat(self) -> Chat: ...  # noqa: D102
    @property
    def embedding(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...  # noqa: D102
    @property
    def rotary_precision(self) -> str: ...  # noqa: D102
    @property
    def facts(self) -> Mapping[str, Any]: ...  # noqa: D102

    def graph(self, score_token_ids: tuple[int, ...], folder: Path) -> ir.Model:
        """The decoder's graph, whose logits are those of the score tokens, (batch, sequence, K).

        Its weights are expressions or lie in files; `folder` is for scratch files.
        """

    def rotary_tables(self, positions: int) -> dict[str, tuple[Array, Array]]:
        """Cosines and sines by kind of rotary embedding, each (positions, rotary size / 2)."""

    def layer_logits(self, prompts: Sequence[list[int]], spec: JudgeSpec, rounded: Precision | None = None) -> Array:
        """z(l) = W h(l) + b of docs/method.md, section 1, at the last token of every prompt, (prompts, 2 (L + 1), K).

        It knows nothing of how the exporter rewrites graphs. With `rounded`, the body's matrices are rounded to 16 bits
        as the judge's are.
        """

    def unembedding(self) -> tuple[Weight | None, Weight | None]:
        """The unembedding (tokens, hidden) and its bias (tokens,); None for what is the embedding, or is not there.

        Raises:
            ExportError: this source does not keep it.
        """

    def end_tokens(self) -> tuple[int, ...]:
        """Ids of the tokens with which the checkpoint ends a text; see `all_end_tokens`.

        Raises:
            CheckpointError: what one of its files names is no token.
        """

    def config_json(self) -> str:
        """What is written as the judge's config.json."""
