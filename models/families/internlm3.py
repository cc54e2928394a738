"""InternLM3, whose code ships with its checkpoints."""

from collections.abc import Mapping
from typing import Any

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import CheckpointError
from lager_onnx.models.families.llama import Llama

MODEL_TYPE = "internlm3"


class InternLM3(Llama):
    """Llama with one switch for the biases of queries, keys and values, and another for all others."""

    architecture = "InternLM3ForCausalLM"


def as_llama(config: Mapping[str, Any]) -> dict[str, Any]:
    """The Llama configuration that computes the same: tensors have the same names in both.

    Raises:
        CheckpointError: biases on some projections only, which Llama cannot express.
    """
    bias = bool(config.get("bias", False))
    if bool(config.get("qkv_bias", False)) != bias:
        raise CheckpointError(
            "this InternLM3 has biases on some projections only (qkv_bias is not bias), so it is no Llama in disguise",
            Cure(
                command="run the code that ships with it by --trust-remote-code",
                python="run the code that ships with it by trust_remote_code=True",
            ),
        )
    own = ("architectures", "auto_map", "bias", "qkv_bias", "model_type")
    return {key: value for key, value in config.items() if key not in own} | {"attention_bias": bias, "mlp_bias": bias}
