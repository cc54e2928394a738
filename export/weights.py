"""Weights of the graph as expressions over a checkpoint's tensors: made when they are read, and forgotten."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.models.errors import ExportError

Array = npt.NDArray[Any]
Rows = Callable[[int, int], Array]

ROWS_AT_ONCE: Final = 2048  # of a weight whose rows can be made apart, such as an embedding


class Weight(ir.LazyTensor):
    """A tensor that is made anew whenever it is read, so that a graph holds none.

    Args:
        name: of its initializer.
        shape: of the whole.
        rows: makes the rows from one on up to, and without, another.
        dtype: what it is stored as.
        apart: rows can be made without making all others too; such a weight is written in blocks of them.
    """

    def __init__(
        self,
        name: str | None,
        shape: Sequence[int],
        rows: Rows,
        *,
        dtype: ir.DataType = ir.DataType.FLOAT,
        apart: bool = True,
    ):
        super().__init__(self._whole, dtype, ir.Shape(tuple(shape)), name=name)
        self._rows, self._expected, self.apart = rows, tuple(shape), apart
        self._held: Array | None = None

    def rows(self, first: int, end: int) -> Array:
        """Rows along the first axis.

        Raises:
            ExportError: they are not of the shape or type that was promised, from which follows where all tensors lie.
        """
        if self._held is not None:
            return self._held[first:end]
        made, shape = self._rows(first, end), (end - first, *self._expected[1:])
        if made.shape != shape or made.dtype != self.dtype.numpy():
            raise ExportError(f"{self.name} was made as {made.dtype} {made.shape}, not as {self.dtype} {shape}")
        return made

    def _whole(self) -> ir.TensorProtocol:
        return ir.Tensor(self.rows(0, self._expected[0]), dtype=self.dtype, name=self.name)

    def hold(self) -> None:
        """Makes it once, and keeps it until `release`."""
        self._held = self.numpy()

    def release(self) -> None:
        """Forgets it."""
        self._held = None

    def tofile(self, file: Any) -> None:
        """Writes it, in blocks of rows where these can be made apart."""
        total = self._expected[0]
        step = ROWS_AT_ONCE if self.apart else total
        for first in range(0, total, step):
            file.write(np.ascontiguousarray(self.rows(first, min(first + step, total))).view(np.uint8).data)


def array_of(tensor: ir.TensorProtocol) -> Array:
    """A tensor's numbers; where it lies in a file, they alone are mapped, for as long as the array lives.

    onnx_ir maps the whole file once a tensor, and keeps that: for a file of 280 GB, more than addresses there are.
    """
    if not isinstance(tensor, ir.ExternalTensor) or not tensor.size:
        return tensor.numpy()
    numbers = np.memmap(tensor.path, tensor.dtype.numpy(), "r", tensor.offset or 0, (tensor.size,))
    return np.asarray(numbers).reshape(tensor.shape.numpy())


def numpy_of(value: ir.Value | None) -> Array:
    """A weight's numbers."""
    return array_of(tensor_of(value))


def shape_of(value: ir.Value | None) -> tuple[int, ...]:
    """A weight's shape, without making it."""
    return tuple(int(size) for size in tensor_of(value).shape.numpy())


def tensor_of(value: ir.Value | None) -> ir.TensorProtocol:
    """What a weight is made from."""
    assert value is not None
    assert value.const_value is not None
    return value.const_value


def set_numpy(value: ir.Value | None, array: npt.NDArray[np.floating]) -> None:
    """Gives a small weight other numbers, as float32."""
    assert value is not None
    value.const_value = ir.tensor(np.ascontiguousarray(array, dtype=np.float32), name=value.name)


def change_rows(value: ir.Value | None, change: Callable[[Array], Array]) -> None:
    """Gives a weight other numbers, made from each of its rows alone when they are read."""
    old = tensor_of(value)
    rows = rows_of(old)
    _set(value, Weight(old.name, shape_of(value), lambda a, b: _float32(change(rows(a, b))), apart=_apart(old)))


def change_whole(value: ir.Value | None, change: Callable[[Array], Array]) -> None:
    """Gives a weight other numbers, made from all of its own when they are read."""
    old = tensor_of(value)
    _set(value, Weight(old.name, shape_of(value), lambda a, b: _float32(change(array_of(old))[a:b]), apart=False))


def _set(value: ir.Value | None, tensor: Weight) -> None:
    assert value is not None
    value.const_value = tensor


def narrowed(tensor: ir.TensorProtocol, dtype: ir.DataType) -> Weight:
    """A tensor in another type."""
    rows, shape = rows_of(tensor), [int(size) for size in tensor.shape.numpy()]
    return Weight(tensor.name, shape, lambda a, b: rows(a, b).astype(dtype.numpy()), dtype=dtype, apart=_apart(tensor))


def side_by_side(name: str, tensors: Sequence[ir.TensorProtocol]) -> Weight:
    """Tensors along their last axis."""
    shapes = [[int(size) for size in tensor.shape.numpy()] for tensor in tensors]
    shape = [*shapes[0][:-1], sum(each[-1] for each in shapes)]
    if len(shape) == 1:
        return Weight(name, shape, lambda a, b: np.concatenate([array_of(each) for each in tensors])[a:b], apart=False)
    parts = [rows_of(tensor) for tensor in tensors]
    return Weight(
        name,
        shape,
        lambda a, b: np.concatenate([rows(a, b) for rows in parts], axis=-1),
        apart=all(map(_apart, tensors)),
    )


def rows_of(tensor: ir.TensorProtocol) -> Rows:
    """What makes rows of a tensor."""
    return tensor.rows if isinstance(tensor, Weight) else lambda first, end: array_of(tensor)[first:end]


def _apart(tensor: ir.TensorProtocol) -> bool:
    """Whether to make some rows of it is less work than to make all."""
    return tensor.apart if isinstance(tensor, Weight) else True


def _float32(array: Array) -> Array:
    return np.ascontiguousarray(array, dtype=np.float32)
