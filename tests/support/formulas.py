"""Layer logits by docs/method.md, section 1, written out per family: a second witness beside the exporter's."""

import numpy as np
import torch
from transformers import PreTrainedModel


@torch.no_grad()
def layer_logits(model: PreTrainedModel, prompt: list[int], token_ids: list[int]) -> np.ndarray:
    """(2 (L + 1), K) for one prompt without padding, at its last token."""
    captured: list[torch.Tensor] = []
    hook = model.model.norm.register_forward_pre_hook(lambda _module, inputs: captured.append(inputs[0]))
    output = model.model(input_ids=torch.tensor([prompt]), output_hidden_states=True, use_cache=False)
    hook.remove()
    raw = [hidden[0, -1] for hidden in output.hidden_states[:-1]] + [captured[0][0, -1]]
    normed = [model.model.norm(hidden) for hidden in raw]
    logits = torch.stack([*raw, *normed]) @ model.lm_head.weight[token_ids].T
    if model.lm_head.bias is not None:
        logits = logits + model.lm_head.bias[token_ids]
    if model.config.model_type == "granite":
        logits = logits / model.config.logits_scaling
    if cap := getattr(model.config, "final_logit_softcapping", None):
        logits = torch.tanh(logits / cap) * cap
    return logits.numpy()
