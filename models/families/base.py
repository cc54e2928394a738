"""What a model family may differ in, as far as a judge's graph is concerned."""

from typing import Any, ClassVar


class Family:
    """A Llama-like decoder; a family file subclasses it and states differences only.

    The exporter finds everything in the graph itself and holds it against what the family says: graph and
    configuration are two witnesses that must agree. Operations are ONNX types in the order of the data.
    """

    architecture: ClassVar[str]

    def embedding_ops(self, config: Any) -> tuple[str, ...]:  # noqa: ARG002 (subclasses read it)
        """Operations between the embedding lookup and h(0)."""
        return ()

    def head_ops(self, config: Any) -> tuple[str, ...]:  # noqa: ARG002
        """Operations between the unembedding and the logits."""
        return ()
