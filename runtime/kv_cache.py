"""Keys and values of every layer, in memory that attention appends to in place."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from lager_onnx.models.graph import PARTS, past, present

Array = npt.NDArray[Any]

_DTYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class KVCache:
    """A KV cache for one or several prompts.

    It is bound as past and as present of every layer, so attention appends to it and nothing is copied.

    Args:
        arrays: keys and values of the first layer, of the second, and so on; each (prompts, heads, tokens, size).
    """

    def __init__(self, arrays: Sequence[Array]):
        self._arrays = arrays
        # They look into the arrays and copy nothing.
        self._values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays]

    @classmethod
    def make(cls, session: onnxruntime.InferenceSession, prompts: int, tokens: int) -> "KVCache":
        """An empty one for a session whose graph takes a past."""
        given = {value.name: value for value in session.get_overridable_initializers()}
        names = [past(layer, part) for layer in range(len(given)) for part in PARTS]
        return cls([
            np.zeros((prompts, given[name].shape[1], tokens, given[name].shape[3]), _DTYPES[given[name].type])
            for name in names if name in given
        ])  # fmt: skip

    @property
    def tokens(self) -> int:
        """How many tokens of each prompt it has room for."""
        return int(self._arrays[0].shape[2])

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return sum(array.nbytes for array in self._arrays)

    def part(self, first: int, end: int) -> "KVCache":
        """That of some prompts, in the same memory."""
        return KVCache([array[first:end] for array in self._arrays])

    def bind(self, binding: onnxruntime.IOBinding) -> None:
        """Lets runs of a binding append to it."""
        for number, value in enumerate(self._values):
            layer, part = divmod(number, len(PARTS))
            binding.bind_ortvalue_input(past(layer, PARTS[part]), value)
            binding.bind_ortvalue_output(present(layer, PARTS[part]), value)

    def copy(self, other: "KVCache", tokens: int) -> None:
        """Copies the first tokens of another one of as many prompts."""
        for mine, theirs in zip(self._arrays, other._arrays, strict=True):
            mine[:, :, :tokens] = theirs[:, :, :tokens]
