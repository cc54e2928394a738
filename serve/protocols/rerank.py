"""/rerank and /v1/rerank: texts by their relevance to a query, as text-embeddings-inference, Jina and Cohere do."""

from typing import Any, Final

from pydantic import AliasChoices, Field

from lager_onnx.runtime.grade import Grade
from lager_onnx.serve.endpoint import Body, Endpoint, ForModel
from lager_onnx.serve.service import Service


class Texts(ForModel):
    """A query and texts, as text-embeddings-inference has them."""

    query: str
    texts: list[str]
    raw_scores: bool = False
    return_text: bool = False


class Document(Body):
    """A text as an object."""

    text: str


class Documents(ForModel):
    """A query and documents, as Jina and Cohere have them."""

    query: str
    documents: list[str | Document]
    top_n: int | None = Field(None, ge=1, validation_alias=AliasChoices("top_n", "top_k"))
    return_documents: bool = False


async def answer_texts(service: Service, body: Texts) -> list[dict[str, Any]]:
    """Numbers of the texts with their scores, the best first: from 0 to 1, or on the judge's own scale if raw."""
    grades = await _relevance(service, body.query, body.texts, "texts")
    return [
        {"index": index, "score": grades[index].score if body.raw_scores else grades[index].normalized}
        | ({"text": body.texts[index]} if body.return_text else {})
        for index in _best_first(grades)
    ]


async def answer_documents(service: Service, body: Documents) -> dict[str, Any]:
    """Numbers of the documents with their scores from 0 to 1, the best first."""
    texts = [each if isinstance(each, str) else each.text for each in body.documents]
    grades = await _relevance(service, body.query, texts, "documents")
    tokens = sum(grade.tokens for grade in grades)
    return {
        "model": service.named(body.model),
        "results": [
            {"index": index, "relevance_score": grades[index].normalized}
            | ({"document": {"text": texts[index]}} if body.return_documents else {})
            for index in _best_first(grades)[: body.top_n]
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


async def _relevance(service: Service, query: str, texts: list[str], field: str) -> list[Grade]:
    records = [{"instruction": query, "response": text, "criterion": "relevance"} for text in texts]
    return await service.grades(records, field=field)


def _best_first(grades: list[Grade]) -> list[int]:
    return sorted(range(len(grades)), key=lambda index: -grades[index].score)


ENDPOINTS: Final = (
    Endpoint("/rerank", Texts, answer_texts, "Order texts by their relevance to a query."),
    Endpoint("/v1/rerank", Documents, answer_documents, "Order documents by their relevance to a query."),
)
