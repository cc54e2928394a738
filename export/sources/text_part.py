"""Names of the language model inside a vision model."""

import re
from typing import Final

# What its tensors are called there, before and since transformers 4.52, and what they are called in the model alone.
_NAMES: Final = (
    (re.compile(r"^language_model\.lm_head\."), "lm_head."),
    (re.compile(r"^language_model\.model\."), "model."),
    (re.compile(r"^model\.language_model\."), "model."),
)
# The rest of such a model: eyes, and what leads from them to the language model.
_LEFT_OUT: Final = re.compile(r"^(model\.)?(vision_tower|multi_modal_projector)\.")


def name_alone(name: str) -> str | None:
    """What a tensor of a vision model is called in its language model alone; None for what is no part of that."""
    if _LEFT_OUT.match(name):
        return None
    for pattern, replacement in _NAMES:
        if pattern.match(name):
            return pattern.sub(replacement, name)
    return name
