"""The tokens with which a checkpoint ends a text: all that any of its files names, and the one that ends a turn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer

from lager_onnx.export.chat import turn_end
from lager_onnx.export.sources.json_file import read_json
from lager_onnx.export.sources.source import Chat
from lager_onnx.models.errors import CheckpointError

# Where each file names them: at its top, or in parts of it.
_FILES: Final = {
    "generation_config.json": ("",), "config.json": ("", "text_config"), "genai_config.json": ("model",)
}  # fmt: skip


def all_end_tokens(
    declared: Mapping[str, Any], tokenizer: Tokenizer, chat: Chat, *, vocabulary: int
) -> tuple[int, ...]:
    """Return the ids of all end tokens, in the order of the sources, each once.

    A text that goes on after any of them goes on in an invented turn. So the token with which the chat template ends
    an assistant's turn is one too, where it is an added token: fine-tuned checkpoints often name only the end token
    of the model that they began with.

    Args:
        declared: end tokens by the name of their source: an id, a list of ids, or None.
        tokenizer: knows the template's token.
        chat: the checkpoint's template.
        vocabulary: number of tokens that the embedding has.

    Raises:
        CheckpointError: what a source names is no id of a token; names the source.
    """
    found: list[int] = []
    for source, value in declared.items():
        for id_ in value if isinstance(value, list | tuple) else [] if value is None else [value]:
            if not isinstance(id_, int) or isinstance(id_, bool):
                raise CheckpointError(f"the end token {id_!r} of {source} is no id of a token: write its number there")
            if not 0 <= id_ < vocabulary:
                raise CheckpointError(
                    f"the end token {id_} of {source} is none of the embedding's {vocabulary} tokens: mend it there"
                )
            found.append(id_)
    token = turn_end(chat)
    at = None if token is None else tokenizer.token_to_id(token)
    return tuple(dict.fromkeys([*found, *([] if at is None else [at])]))


def declared_ends(*folders: Path) -> dict[str, Any]:
    """Return the end tokens that a checkpoint's files name, by source.

    Args:
        folders: where generation_config.json and config.json may be, the likeliest first; a vision model's config.json
            has a `text_config`, and onnxruntime-genai's genai_config.json a `model`.

    Raises:
        CheckpointError: a file is no JSON object.
    """
    found: dict[str, Any] = {}
    for name, parts in _FILES.items():
        path = next((folder / name for folder in folders if (folder / name).exists()), None)
        content = {} if path is None else read_json(path)
        for part in parts:
            holder = content.get(part) if part else content
            if isinstance(holder, Mapping):
                found[f"{name} ({part}{'.' if part else ''}eos_token_id)"] = holder.get("eos_token_id")
    return found
