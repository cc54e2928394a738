"""What the projections of a judge read over calibration text."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from lager_onnx.export.passes.parts import projections
from lager_onnx.export.verify.agreement import Graded
from lager_onnx.runtime.session import open_session, run_graph

Array = npt.NDArray[np.float32]

_HELD_BYTES = 4 << 30  # moments held at once; the rest is computed by running the text again


@dataclass
class Inputs:
    """What a projection reads over calibration text.

    `moments` is X'X of all rows, (in, in). `mean` and `sizes` (root mean squares), (in,), and `deviation`, a number for
    all channels, leave out the first token of every prompt: it holds no text, and activations that nothing else holds.
    """

    moments: Array
    rows: int = 0
    total: Array | float = 0.0
    squares: Array | float = 0.0

    def add(self, rows: Array) -> None:
        """Counts more of them, (tokens, in)."""
        self.moments += rows.T @ rows
        text = (rows[1:] if len(rows) > 1 else rows).astype(np.float64)  # of one row, the score position's
        self.rows += len(text)
        self.total = self.total + text.sum(axis=0)
        self.squares = self.squares + (text**2).sum(axis=0)

    @property
    def mean(self) -> Array:
        """Mean of every channel, (in,)."""
        return self._per_row(self.total)

    @property
    def sizes(self) -> Array:
        """Root mean square of every channel, (in,)."""
        return np.sqrt(self._per_row(self.squares))

    @property
    def deviation(self) -> float:
        """Standard deviation from that mean, over all channels."""
        variance = float((self.sizes**2).mean() - (self.mean**2).mean())
        return math.sqrt(max(variance, 0.0))

    def _per_row(self, sums: Array | float) -> Array:
        return np.asarray(sums / max(self.rows, 1), dtype=np.float32) * np.ones(len(self.moments), np.float32)


InputsOf = Callable[[ir.Value], Inputs]


class Calibration:
    """A float32 judge that shows what its projections read.

    Args:
        graph: the judge's graph, fused; its outputs are put back before the constructor returns.
        folder: where a copy of it is written.
        prompts: token ids of the calibration text.
    """

    def __init__(self, graph: ir.Model, folder: Path, prompts: list[list[int]]):
        self._prompts, self._held = prompts, dict[str, Inputs]()
        values = {node.inputs[0]: None for node in projections(graph.graph) if node.inputs[0] is not None}
        outputs = list(graph.graph.outputs)
        for value in values:
            value.type = ir.TensorType(ir.DataType.FLOAT)
            graph.graph.outputs.append(value)
        folder.mkdir(exist_ok=True)
        ir.save(graph, folder / "model.onnx", external_data="model.onnx_data")
        graph.graph.outputs.clear()
        graph.graph.outputs.extend(outputs)
        self._names = [value.name or "" for value in values]
        self._session = open_session(folder / "model.onnx", device="cpu").session

    def inputs(self, value: ir.Value) -> Inputs:
        """What was seen of a projection's input."""
        name = value.name or ""
        if name not in self._held:
            self._held = {}  # what came before is not asked for again
            self._hold_from(self._names.index(name))
        return self._held[name]

    def grade(self, prompts: list[list[int]]) -> Graded:
        """What this judge says of prompts."""
        runs = [run_graph(self._session, [prompt]) for prompt in prompts]
        return Graded(*(np.concatenate([run[name] for run in runs]) for name in ("score", "layer_logits")))

    def _hold_from(self, first: int) -> None:
        """Sees inputs from one on, as many as may be held."""
        names: list[str] = []
        for prompt in self._prompts:
            ids = np.asarray([prompt], dtype=np.int64)
            feed: dict[str, Any] = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            for name, rows in zip(
                names or self._names[first:], self._session.run(names or self._names[first:], feed), strict=True
            ):
                if not self._held or name in self._held or self._held_bytes() < _HELD_BYTES:
                    size = rows.shape[-1]
                    inputs = self._held.setdefault(name, Inputs(np.zeros((size, size), np.float32)))
                    inputs.add(rows.reshape(-1, size))
            names = list(self._held)

    def _held_bytes(self) -> int:
        return sum(inputs.moments.nbytes for inputs in self._held.values())
