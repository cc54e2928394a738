"""Grade a prompt that comes several times once, so that the same text has the same grade to the bit."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lager_onnx.models.errors import RecordError
from lager_onnx.runtime.engines.base import Outputs
from lager_onnx.runtime.grade import Feedback
from lager_onnx.runtime.prepared import Prepared

Written = list[tuple[Outputs, Feedback]]
Found = Outputs | Written | RecordError

_MOST_BYTES: Final = 32 << 20  # about ten thousand prompts of a judge of 30 layers
_ENTRY_BYTES: Final = 1024  # of Python's objects for each


@dataclass
class _Slot:
    """A place for what is found for a prompt."""

    key: bytes
    found: Found | None = None


class Repeats:
    """Shares outputs among the same prompts of one run.

    The same prompt, token by token, differs in the seventh digit from one place in a run to another: matrix products of
    one core and of all cores, of packed and unpacked weights, and of other batches round otherwise. Therefore a prompt
    runs once, and all records that have it share what came of it. What was found last is kept, up to `most_bytes`; a
    prompt that comes again after more others than fit there runs again.

    Windows must be taken from `shared` in the order in which they went through `once`.

    Args:
        most_bytes: that what was found may take.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES):
        self._slots: OrderedDict[bytes, _Slot] = OrderedDict()
        self._most, self._bytes = most_bytes, 0

    def once(self, window: Sequence[Prepared]) -> tuple[list[Prepared], list[_Slot | None]]:
        """Return a window in which repeated prompts are empty, and where each one's outputs will be found."""
        asked, slots = list[Prepared](), list[_Slot | None]()
        for prepared in window:
            slot = None
            if prepared.ids:
                key = _key(prepared)
                if repeated := key in self._slots:
                    self._slots.move_to_end(key)
                slot = self._slots.setdefault(key, _Slot(key))
                prepared = Prepared([]) if repeated else prepared  # noqa: PLW2901
            asked.append(prepared)
            slots.append(slot)
        return asked, slots

    def shared(self, slots: Sequence[_Slot | None], found: Iterable[Found | None]) -> Iterator[Found | None]:
        """Yield what was found for every prompt of a window; None for one that cannot be graded.

        Args:
            slots: of the window, from `once`.
            found: for what `once` asks, in the same order; None for an empty prompt.
        """
        for slot, each in zip(slots, found, strict=True):
            if slot is None:
                yield None
            elif each is not None:
                self._keep(slot, _copy(each))
                yield each
            else:
                assert slot.found is not None, "windows are taken in order"
                yield _copy(slot.found)

    def _keep(self, slot: _Slot, found: Found) -> None:
        slot.found = found
        if self._slots.get(slot.key) is not slot:
            return
        self._bytes += _size(found)
        while self._bytes > self._most:
            _, oldest = self._slots.popitem(last=False)
            self._bytes -= 0 if oldest.found is None else _size(oldest.found)


def _key(prepared: Prepared) -> bytes:
    """Return the digest of a prompt and its question, by which feedback that the judge writes is read."""
    asked = blake2b(np.asarray(prepared.ids, np.int64).tobytes(), digest_size=16)
    asked.update(repr(prepared.question).encode("utf-8", "backslashreplace"))
    return asked.digest()


def _arrays(found: Found) -> list[npt.NDArray[Any]]:
    each = [found] if isinstance(found, dict) else [outputs for outputs, _ in found] if isinstance(found, list) else []
    return [array for outputs in each for array in outputs.values()]


def _size(found: Found) -> int:
    texts = sum(len(feedback.text) for _, feedback in found) if isinstance(found, list) else 0
    return _ENTRY_BYTES + texts + sum(array.nbytes for array in _arrays(found))


def _copy(found: Found) -> Found:
    """Return a copy: a grade's arrays are the caller's, who may write to them."""
    if isinstance(found, dict):
        return {name: np.array(array) for name, array in found.items()}
    if isinstance(found, list):
        return [({name: np.array(array) for name, array in outputs.items()}, text) for outputs, text in found]
    return found
