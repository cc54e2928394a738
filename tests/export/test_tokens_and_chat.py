"""Chat wrapper and score tokens."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from lager_onnx.export.chat import render_wrapper
from lager_onnx.export.score_tokens import find_score_tokens
from lager_onnx.models.chat import ChatWrapper
from lager_onnx.models.errors import CheckpointError, ScaleError
from lager_onnx.models.scale import Scale
from support.tiny import CHAT_TEMPLATE, make_tokenizer

PLAIN = ChatWrapper("", "\n\n", "score: ")


def test_the_template_is_rendered_round_the_turn() -> None:
    wrapper = render_wrapper(make_tokenizer(), "score: ")
    assert wrapper == ChatWrapper("<|user|>\n", "<|end|>\n<|assistant|>\n", "score: ", strip=False)
    assert wrapper.wrap(" Hi ") == "<|user|>\n Hi <|end|>\n<|assistant|>\nscore: "


def test_a_template_that_strips_the_turn() -> None:
    template = CHAT_TEMPLATE.replace("message['content']", "message['content'] | trim")
    wrapper = render_wrapper(make_tokenizer(chat_template=template), "score: ")
    assert wrapper.wrap("\n Hi ") == "<|user|>\nHi<|end|>\n<|assistant|>\nscore: "


def test_a_base_model_is_asked_in_plain_text() -> None:
    tokenizer = make_tokenizer(chat_template=None)
    assert render_wrapper(tokenizer, "score: ").wrap("Hi") == "Hi\n\nscore: "


@pytest.mark.parametrize(
    "content", ["'nothing'", "message['content'] + message['content']", "message['content'] | upper"]
)
def test_templates_that_lose_or_change_the_turn_are_refused(content: str) -> None:
    template = CHAT_TEMPLATE.replace("message['content']", content)
    with pytest.raises(CheckpointError, match="user's turn"):
        render_wrapper(make_tokenizer(chat_template=template), "score: ")


def test_digits_follow_the_prefix_with_its_space() -> None:
    backend = make_tokenizer().backend_tokenizer
    wrapper, tokens, ids = find_score_tokens(backend, PLAIN, Scale.parse("1-5"))
    assert (wrapper.answer_prefix, tokens) == ("score: ", ("1", "2", "3", "4", "5"))
    assert [backend.id_to_token(id_) for id_ in ids] == list(tokens)


def test_words_take_the_space_of_the_prefix() -> None:
    backend = make_tokenizer().backend_tokenizer
    wrapper, tokens, ids = find_score_tokens(backend, PLAIN, Scale.parse("bad=0,ok=1,good=2"))
    assert (wrapper.answer_prefix, tokens) == ("score:", (" bad", " ok", " good"))
    joined = backend.encode(wrapper.wrap("x") + " good", add_special_tokens=False).ids
    assert joined == [*backend.encode(wrapper.wrap("x"), add_special_tokens=False).ids, ids[2]]


def test_a_label_of_several_tokens_is_refused_by_name() -> None:
    with pytest.raises(ScaleError, match=r"label '10' is not a single token.*\['1', '0'\]"):
        find_score_tokens(make_tokenizer().backend_tokenizer, PLAIN, Scale.parse("1-10"))


def test_ten_is_a_label_where_it_is_a_token() -> None:
    words = ["[UNK]", "score", ":", *map(str, range(1, 11))]
    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    _, tokens, ids = find_score_tokens(backend, ChatWrapper("x ", "\n", "score: "), Scale.parse("1-10"))
    assert (tokens[-1], ids[-1]) == ("10", words.index("10"))


def test_two_labels_that_share_a_token_are_refused() -> None:
    backend = Tokenizer(models.WordLevel({"score": 0, ":": 1, "[UNK]": 2}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ScaleError, match="not a single token of its own"):
        find_score_tokens(backend, PLAIN, Scale.parse("1-2"))
