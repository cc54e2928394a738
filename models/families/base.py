"""What a model family may differ in, as far as a judge's graph is concerned."""

from typing import Any, ClassVar

from lager_onnx.models.attention import Attention


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

    def neutral_ops(self, config: Any) -> tuple[str, ...]:  # noqa: ARG002
        """Return types of operations that multiply or divide by one here: a graph may hold them or not."""
        return ()

    def attention(self, config: Any, layer: int) -> Attention:
        """How layer `layer` attends, 0 the first."""
        head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return Attention(
            num_heads=config.num_attention_heads,
            kv_num_heads=config.num_key_value_heads,
            head_size=head_size,
            scale=head_size**-0.5,
            window=_window(config, layer),
        )


def _window(config: Any, layer: int) -> int:
    """Size of a layer's sliding window; `layer_types` says which layers have one, where it is there."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and kinds[layer] != "sliding_attention":
        return 0
    return getattr(config, "sliding_window", None) or 0
