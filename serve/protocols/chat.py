"""POST /v1/chat/completions: the judge's grade as a chat's answer of one token, with logprobs, as G-Eval reads them.

The messages are what the judge reads; it adds nothing of its own template. Its answer is the likeliest label of its
scale, and the `top_logprobs` of that token are the labels' log probabilities over all layers.
"""

import math
import time
import uuid
from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import Field

from lager_onnx.serve.endpoint import Body, Endpoint
from lager_onnx.serve.errors import RequestError
from lager_onnx.serve.service import Service


class Message(Body):
    """One turn."""

    role: str
    content: str | list[dict[str, Any]]


class Chat(Body):
    """A chat that asks for a grade."""

    messages: Annotated[list[Message], Field(min_length=1)]
    model: str = ""
    n: int | None = 1
    stream: bool | None = False
    logprobs: bool | None = False
    top_logprobs: int | None = None
    tools: list[Any] | None = None


async def answer(service: Service, body: Chat) -> dict[str, Any]:
    """A completion whose text is a label."""
    for name, wanted in (("stream", body.stream), ("tools", body.tools), ("n", body.n not in (None, 1))):
        if wanted:
            raise RequestError(
                f"{name}: a judge answers with one token, the same every time",
                field=name,
                status=HTTPStatus.BAD_REQUEST,
            )
    texts = [_text(message, f"messages.{number}.content") for number, message in enumerate(body.messages)]
    (grade,) = await service.grades([{"prompt": "\n\n".join(texts)}], field="messages")
    by_probability = sorted(grade.probabilities.items(), key=lambda each: -each[1])
    tokens = [_token(label, probability) for label, probability in by_probability]
    shown = tokens if body.top_logprobs is None else tokens[: body.top_logprobs]
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": service.settings.name,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": by_probability[0][0], "refusal": None},
                "logprobs": {"content": [tokens[0] | {"top_logprobs": shown}], "refusal": None}
                if body.logprobs
                else None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": grade.tokens, "completion_tokens": 1, "total_tokens": grade.tokens + 1},
    }


def _text(message: Message, field: str) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = [part.get("text") for part in message.content]
    if not all(isinstance(part, str) for part in parts):
        raise RequestError(f"{field}: this judge reads text only", field=field)
    return "\n".join(map(str, parts))


def _token(label: str, probability: float) -> dict[str, Any]:
    # The least that JSON can hold and clients can raise e to.
    return {"token": label, "logprob": math.log(max(probability, 1e-38)), "bytes": list(label.encode())}


ENDPOINTS: Final = (
    Endpoint("/v1/chat/completions", Chat, answer, "A grade as a chat's answer, with the labels' log probabilities."),
)
