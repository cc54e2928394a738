"""Model families by the architecture name that their checkpoints carry."""

from lager_onnx.models.families.base import Family
from lager_onnx.models.families.gemma2 import Gemma2
from lager_onnx.models.families.gemma3 import Gemma3
from lager_onnx.models.families.granite import Granite
from lager_onnx.models.families.internlm3 import InternLM3
from lager_onnx.models.families.llama import Llama
from lager_onnx.models.families.ministral import Ministral
from lager_onnx.models.families.mistral import Mistral
from lager_onnx.models.families.mixtral import Mixtral
from lager_onnx.models.families.olmo2 import Olmo2
from lager_onnx.models.families.olmoe import Olmoe
from lager_onnx.models.families.phi3 import Phi3
from lager_onnx.models.families.qwen2 import Qwen2
from lager_onnx.models.families.qwen3 import Qwen3
from lager_onnx.models.families.qwen3_moe import Qwen3Moe
from lager_onnx.models.families.smollm3 import SmolLM3

_FAMILIES: tuple[Family, ...] = (
    Llama(), Mistral(), Ministral(), Qwen2(), Qwen3(), Gemma2(), Gemma3(), Phi3(), SmolLM3(), Olmo2(), Granite(),
    InternLM3(), Mixtral(), Qwen3Moe(), Olmoe(),
)  # fmt: skip


def family_of(architecture: str) -> Family | None:
    """The family that a model class such as `LlamaForCausalLM` belongs to; None for an unknown one."""
    return next((family for family in _FAMILIES if family.architecture == architecture), None)
