"""Reads single keys of a GGUF file's header."""

from typing import Any, Final

from gguf import GGUFReader

INSTEAD: Final = "export the checkpoint's Hugging Face directory instead"


def value_of(reader: GGUFReader, key: str) -> Any:
    """Return the value of a key, lists as lists; None where the header lacks it."""
    field = reader.get_field(key)
    return None if field is None else field.contents()
