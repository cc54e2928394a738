"""Mixtures of experts as a graph that does not depend on the tokens."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any, Final

import torch
from transformers import PreTrainedModel

_BLOCKS: Final = ("MixtralSparseMoeBlock", "Qwen3MoeSparseMoeBlock", "OlmoeSparseMoeBlock")


@contextmanager
def dense_experts(model: PreTrainedModel) -> Iterator[None]:
    """Lets every expert of a model read every token, for as long as the block lasts; tracing needs it.

    transformers runs the experts that the router chose for some token. A trace would keep those of the traced tokens
    and lose the others. Computed for all and weighted by 0 where not chosen, the sum is the same:

        y = sum_e w_e expert_e(x),   w = the router's softmax, all but the largest k set to 0 (and normalised)
    """
    blocks = [module for module in model.modules() if type(module).__name__ in _BLOCKS]
    for block in blocks:
        block.forward = MethodType(_forward, block)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _forward(block: Any, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As the block's own `forward`: (batch, sequence, hidden) to the same, and the router's logits."""
    router_logits = block.gate(hidden_states)
    chosen, indices = torch.topk(torch.softmax(router_logits, dim=-1, dtype=torch.float32), block.top_k, dim=-1)
    if getattr(block, "norm_topk_prob", True):  # Mixtral always does
        chosen = chosen / chosen.sum(dim=-1, keepdim=True)
    weights = torch.zeros_like(router_logits).scatter(-1, indices, chosen.to(router_logits.dtype))
    total = weights[..., :1] * block.experts[0](hidden_states)
    for index in range(1, block.num_experts):
        total = total + weights[..., index : index + 1] * block.experts[index](hidden_states)
    return total, router_logits.flatten(0, 1)
