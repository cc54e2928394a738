"""What clients speak: one file a protocol."""

from typing import Final

from lager_onnx.serve.endpoint import Endpoint
from lager_onnx.serve.protocols import chat, decisions, predict, rerank, score, systemone

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *score.ENDPOINTS,
    *decisions.ENDPOINTS,
    *systemone.ENDPOINTS,
    *rerank.ENDPOINTS,
    *predict.ENDPOINTS,
    *chat.ENDPOINTS,
)
