"""Tell by names and types of tensors whether a checkpoint's weights are quantised by another tool."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import CheckpointError

logger = logging.getLogger(__name__)

_KEY: Final = "quantization_config"
_ORIGINAL: Final = "export the checkpoint that it was made from"
_PLAIN: Final = ("F64", "F32", "F16", "BF16", "float64", "float32", "float16", "bfloat16")
# What GPTQ, AWQ, bitsandbytes, compressed-tensors, fp8, mxfp4, AQLM and HQQ store beside or in place of a weight.
_MARKS: Final = re.compile(
    r"(^|[._])(qweight|qzeros|scales|g_idx|absmax|nested_absmax|quant_map|nested_quant_map|quant_state\..*|SCB"
    r"|weight_format|weight_(packed|scale|scale_inv|shape|zero_point|g_idx)|(input|output|k|v)_scale|codes|codebooks"
    r"|W_q|blocks)$"
)
# Methods that round while the model computes, also where plain weights are stored.
_AS_IT_RUNS: Final = ("bitnet",)


def without_quantisation(content: Mapping[str, Any], types: Mapping[str, str], where: Path) -> dict[str, Any]:
    """Return config.json without `quantization_config`, where all weights are plain numbers.

    config.json of a merged QLoRA checkpoint tells how its base model was loaded, although the weights have 16 bits.

    Args:
        content: of config.json.
        types: of every tensor, by its name.
        where: the checkpoint, for messages.

    Raises:
        CheckpointError: a tensor is quantised; names it, its type, and the method.
    """
    inside = content.get("text_config")
    said = content.get(_KEY) or (inside.get(_KEY) if isinstance(inside, Mapping) else None)
    method = said.get("quant_method", "some method") if isinstance(said, Mapping) else said
    marked = next((name for name, kind in types.items() if _is_quantised(name, kind)), None)
    if marked is not None or method in _AS_IT_RUNS:
        seen = f"{marked} is {types[marked]}" if marked is not None else "its model rounds them as it runs"
        raise CheckpointError(
            f"the weights of {where} are quantised by {method or 'some method'} ({seen}), which is not read",
            Cure(
                command=f"{_ORIGINAL}; for few bits, let --precision int8 or int4 round it",
                python=f'{_ORIGINAL}; for few bits, let precision="int8" or "int4" round it',
            ),
        )
    if said:
        logger.info(
            "    config.json still says %s = %s, but all weights are plain: they are read as they are", _KEY, method
        )
    rest = {name: value for name, value in content.items() if name != _KEY}
    if isinstance(inside, Mapping):
        rest["text_config"] = {name: value for name, value in inside.items() if name != _KEY}
    return rest


def _is_quantised(name: str, kind: str) -> bool:
    return bool(_MARKS.search(name)) or (name.endswith(".weight") and kind not in _PLAIN)
