"""What the server answers, asked by the real clients where there are some."""

import math
from pathlib import Path

import openai
import pytest
import typesafe_sdk

from lager_onnx import Judge
from support.server import Server

TEXT = "I want my money back. This is the third time!"
QUESTION = "Is the customer angry?"
RECORD = {"instruction": "Name a prime.", "response": "Seven."}


@pytest.fixture(scope="module")
def judge(decisions_judge: Path) -> Judge:
    return Judge.load(decisions_judge, device="cpu")


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def test_openai_s_decisions(client: openai.OpenAI, judge: Judge) -> None:
    got = client.decisions.create(
        model="decisions",
        input=TEXT,
        questions=[
            {"type": "predicate", "instructions": QUESTION, "name": "angry"},
            {
                "type": "choice",
                "instructions": "What is it about?",
                "choices": [{"value": "refund", "description": "money"}, {"value": "praise"}, {"value": True}],
            },
            {
                "type": "score",
                "instructions": "How urgent is it?",
                "levels": [
                    {"label": "not at all"},
                    {"label": "somewhat", "description": "this week"},
                    {"label": "very"},
                ],
            },
            {"type": "choice", "instructions": "What else?", "choices": [{"value": "nothing"}]},
        ],
    )
    asked = [
        {"question": QUESTION, "choices": ["no", "yes"]},
        {"question": "What is it about?", "choices": ["refund: money", "praise", "true"]},
        {"question": "How urgent is it?", "levels": ["not at all", "somewhat: this week", "very"]},
    ]
    expected = judge.score([{"text": TEXT, **each} for each in asked])
    predicate, choice, score, only = got.answers
    assert predicate.type == "predicate"
    assert predicate.name == "angry"
    assert predicate.probability == pytest.approx(expected[0].probabilities["yes"])
    assert choice.type == "choice"
    assert choice.choice == ("refund", "praise", True)[int(expected[1].distribution.argmax())]
    assert choice.confidence == pytest.approx(expected[1].confidence)
    assert [each.value for each in choice.probabilities] == ["refund", "praise", True]
    assert [each.probability for each in choice.probabilities] == pytest.approx(expected[1].distribution.tolist())
    assert score.type == "score"
    assert score.score == pytest.approx(expected[2].score - 1)
    assert [(each.label, each.value) for each in score.probabilities] == [
        ("not at all", 0), ("somewhat", 1), ("very", 2),
    ]  # fmt: skip
    assert only.type == "choice"
    assert (only.choice, only.confidence) == ("nothing", 1)
    assert got.usage.input_tokens == sum(grade.tokens for grade in expected)
    assert got.model == "decisions"


def test_openai_s_input_may_be_a_conversation(client: openai.OpenAI, judge: Judge) -> None:
    got = client.decisions.create(
        model="decisions",
        input=[
            {"role": "user", "content": "Refund!"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "No."}]},
            {"type": "function_call", "name": "refund", "arguments": '{"sum": 3}', "call_id": "1"},
            {"type": "function_call_output", "output": "done", "call_id": "1"},
        ],
        questions=[{"type": "predicate", "instructions": QUESTION}],
    )
    text = 'user: Refund!\n\nassistant: No.\n\ncall of refund: {"sum": 3}\n\ntool: done'
    (expected,) = judge.score([{"text": text, "question": QUESTION, "choices": ["no", "yes"]}])
    assert got.answers[0].type == "predicate"
    assert got.answers[0].probability == pytest.approx(expected.probabilities["yes"])


def test_typesafe_s_system_one(server: Server, judge: Judge) -> None:
    with typesafe_sdk.TypeSafeClient(api_key="none", base_url=server.url) as client:
        got = client.system_one(
            model="decisions",
            state={"message": TEXT},
            questions={
                "angry": typesafe_sdk.Noul(instructions=QUESTION),
                "said": typesafe_sdk.Noul(criteria={"true": "It names a sum.", "false": "It names none."}),
                "about": typesafe_sdk.Choice(criteria={"refund": None, "praise": "thanks"}),
                "urgent": typesafe_sdk.Score(instructions="How urgent?", criteria=["not", "very"]),
            },
        )
    text = '{\n "message": "' + TEXT + '"\n}'
    asked = [
        {"question": QUESTION, "choices": ["no", "yes"]},
        {
            "question": "Which of the answers is true of the text?",
            "choices": ["no: It names none.", "yes: It names a sum."],
        },
        {"question": "Which of the answers fits the text?", "choices": ["refund", "praise: thanks"]},
        {"question": "How urgent?", "levels": ["not", "very"]},
    ]
    angry, said, about, urgent = judge.score([{"text": text, **each} for each in asked])
    assert got.nouls["angry"].noul == pytest.approx(angry.distribution[1])
    assert got.nouls["said"].noul == pytest.approx(said.distribution[1])
    assert got.choices["about"].probabilities == pytest.approx(
        dict(zip(("refund", "praise"), about.distribution.tolist(), strict=True))
    )
    assert got.choices["about"].choice == ("refund", "praise")[int(about.distribution.argmax())]
    assert got.scores["urgent"].score == pytest.approx(urgent.score - 1)
    assert got.scores["urgent"].legend == {0: "not", 1: "very"}
    assert got.usage.input_tokens == angry.tokens + said.tokens + about.tokens + urgent.tokens


def test_a_chat_s_answer_has_the_labels_log_probabilities(client: openai.OpenAI, judge: Judge) -> None:
    got = client.chat.completions.create(
        model="decisions",
        messages=[{"role": "system", "content": "Grade from 1 to 9."}, {"role": "user", "content": "Seven."}],
        logprobs=True,
        top_logprobs=20,
        max_tokens=1,
        temperature=0,
    )
    (expected,) = judge.score([{"prompt": "Grade from 1 to 9.\n\nSeven."}])
    assert got.choices[0].logprobs
    assert got.choices[0].logprobs.content
    (token,) = got.choices[0].logprobs.content
    found = {each.token: math.exp(each.logprob) for each in token.top_logprobs}
    assert found == pytest.approx(expected.probabilities, abs=1e-6)
    assert got.choices[0].message.content == max(found, key=found.__getitem__) == token.token
    assert got.usage
    assert got.usage.prompt_tokens == expected.tokens


def test_models_are_listed_for_both_kinds_of_clients(client: openai.OpenAI, server: Server) -> None:
    assert [model.id for model in client.models.list()] == ["decisions"]
    with typesafe_sdk.TypeSafeClient(api_key="none", base_url=server.url) as other:
        assert [model.name for model in other.models.list().models] == ["decisions"]


def test_records_are_scored_as_in_python(server: Server, judge: Judge) -> None:
    (expected,) = judge.score([RECORD])
    one = server.post("/v1/score", RECORD).json()
    assert one["score"] == pytest.approx(expected.score)
    assert one["probabilities"] == pytest.approx(expected.probabilities)
    assert "layer_logits" not in one
    many = server.post(
        "/v1/score", {"records": [RECORD, {"instruction": "No response."}, RECORD], "details": True}
    ).json()
    good, bad, again = many["results"]
    assert good == again
    assert good["score"] == one["score"]
    assert len(good["layer_logits"]) == len(judge.spec.layer_weights)
    assert "response" in bad["error"]
    assert many["usage"]["input_tokens"] == 2 * expected.tokens


def test_texts_are_ordered_by_relevance(server: Server, judge: Judge) -> None:
    texts = ["Seven.", "good bad", "The Moon."]
    grades = judge.score(
        [{"instruction": "Name a prime.", "response": text, "criterion": "relevance"} for text in texts]
    )
    order = sorted(range(3), key=lambda index: -grades[index].score)
    got = server.post("/rerank", {"query": "Name a prime.", "texts": texts, "return_text": True}).json()
    assert [each["index"] for each in got] == order
    assert [each["score"] for each in got] == pytest.approx([grades[index].normalized for index in order])
    assert got[0]["text"] == texts[order[0]]
    got = server.post(
        "/v1/rerank",
        {"model": "decisions", "query": "Name a prime.", "documents": [*texts[:2], {"text": texts[2]}], "top_n": 2},
    ).json()
    assert [each["index"] for each in got["results"]] == order[:2]
    assert got["results"][0]["relevance_score"] == pytest.approx(grades[order[0]].normalized)


def test_predict_gives_labels_the_likeliest_first(server: Server, judge: Judge) -> None:
    (pair,) = judge.score([RECORD])
    (alone,) = judge.score([{"prompt": "Seven."}])
    one = server.post("/predict", {"inputs": ["Name a prime.", "Seven."]}).json()
    assert {each["label"]: each["score"] for each in one} == pytest.approx(pair.probabilities)
    assert [each["score"] for each in one] == sorted((each["score"] for each in one), reverse=True)
    many = server.post("/predict", {"inputs": [["Seven."], ["Name a prime.", "Seven."]]}).json()
    assert {each["label"]: each["score"] for each in many[0]} == pytest.approx(alone.probabilities)
    assert many[1] == one
