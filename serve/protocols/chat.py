"""POST /v1/chat/completions: the judge's grade as a chat's answer of one token, with logprobs, as G-Eval reads them.

The messages are what the judge reads; it adds nothing of its own template. A message without text (null content, as
beside `tool_calls`, or parts whose text is null) adds nothing either. Its answer is the likeliest label of its scale,
and the `top_logprobs` of that token are the labels' log probabilities over all layers. What cannot be kept, such as
`stream`, is refused by name.
"""

import math
import time
import uuid
from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from lager_onnx.serve.endpoint import Body, Endpoint, ForModel
from lager_onnx.serve.errors import RequestError
from lager_onnx.serve.protocols.chat_options import check_options, check_stop
from lager_onnx.serve.service import Service


class Message(Body):
    """One turn."""

    role: str
    content: str | list[dict[str, Any]] | None = None


class Chat(ForModel):
    """A chat that asks for a grade; other options of OpenAI's are read where an answer of one token keeps them."""

    model_config = ConfigDict(extra="allow")

    messages: Annotated[list[Message], Field(min_length=1)]
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    stop: Any = None

    def check(self) -> None:
        """Refuse what an answer of one token cannot keep.

        Raises:
            RequestError: names the option.
        """
        check_options(self.model_extra or {})
        if self.top_logprobs and not self.logprobs:
            raise RequestError(
                "top_logprobs: set logprobs to true to get them", field="top_logprobs", status=HTTPStatus.BAD_REQUEST
            )


async def answer(service: Service, body: Chat) -> dict[str, Any]:
    """A completion whose text is a label."""
    check_stop(body.stop, service.spec.scale.labels)
    texts = [_text(message, f"messages.{number}.content") for number, message in enumerate(body.messages)]
    if not any(text.strip() for text in texts):
        raise RequestError("messages: none of them has text to grade", field="messages")
    (grade,) = await service.grades([{"prompt": "\n\n".join(filter(None, texts))}], field="messages")
    by_probability = sorted(grade.probabilities.items(), key=lambda each: -each[1])
    tokens = [_token(label, probability) for label, probability in by_probability]
    shown = tokens if body.top_logprobs is None else tokens[: body.top_logprobs]
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": service.named(body.model),
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
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    parts = [part.get("text") for part in message.content if not _is_without_text(part)]
    if not all(isinstance(part, str) for part in parts):
        raise RequestError(f"{field}: this judge reads text only", field=field)
    return "\n".join(map(str, parts))


def _is_without_text(part: dict[str, Any]) -> bool:
    return part.get("type", "text") == "text" and "text" in part and part["text"] is None


def _token(label: str, probability: float) -> dict[str, Any]:
    # The least that JSON can hold and clients can raise e to.
    return {"token": label, "logprob": math.log(max(probability, 1e-38)), "bytes": list(label.encode())}


ENDPOINTS: Final = (
    Endpoint("/v1/chat/completions", Chat, answer, "A grade as a chat's answer, with the labels' log probabilities."),
)
