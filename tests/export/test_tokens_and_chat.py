"""Chat wrapper and score tokens."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from lager_onnx.export.chat import render_wrapper
from lager_onnx.export.score_tokens import find_score_tokens
from lager_onnx.export.sources.hf_chat import HfChat
from lager_onnx.models.chat import ChatWrapper
from lager_onnx.models.errors import CheckpointError, ScaleError
from lager_onnx.models.scale import Scale
from support.tiny import CHAT_TEMPLATE, make_tokenizer


def wrapper_of(tokenizer: PreTrainedTokenizerFast, answer_prefix: str) -> ChatWrapper:
    return render_wrapper(HfChat(tokenizer), answer_prefix)


PLAIN = ChatWrapper("", "\n\n", "score: ")


def test_the_template_is_rendered_round_the_turn() -> None:
    wrapper = wrapper_of(make_tokenizer(), "score: ")
    assert wrapper == ChatWrapper("<|user|>\n", "<|end|>\n<|assistant|>\n", "score: ", strip="none")
    assert wrapper.wrap(" Hi ") == "<|user|>\n Hi <|end|>\n<|assistant|>\nscore: "


def test_a_template_that_strips_the_turn() -> None:
    template = CHAT_TEMPLATE.replace("message['content']", "message['content'] | trim")
    wrapper = wrapper_of(make_tokenizer(chat_template=template), "score: ")
    assert wrapper.wrap("\n Hi ") == "<|user|>\nHi<|end|>\n<|assistant|>\nscore: "


def test_a_base_model_is_asked_in_plain_text() -> None:
    tokenizer = make_tokenizer(chat_template=None)
    assert wrapper_of(tokenizer, "score: ").wrap("Hi") == "Hi\n\nscore: "


@pytest.mark.parametrize(
    "content", ["'nothing'", "message['content'] + message['content']", "message['content'] | upper"]
)
def test_templates_that_lose_or_change_the_turn_are_refused(content: str) -> None:
    template = CHAT_TEMPLATE.replace("message['content']", content)
    with pytest.raises(CheckpointError, match="user's turn"):
        wrapper_of(make_tokenizer(chat_template=template), "score: ")


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


def template(after: str = "<|end|>\n", opening: str = "<|assistant|>\n", content: str = "message['content']") -> str:
    return (
        CHAT_TEMPLATE.replace("<|end|>\n", after)
        .replace("<|assistant|>\n", opening)
        .replace("message['content']", content)
    )


@pytest.mark.parametrize(
    ("filter_", "strip", "turn"),
    [
        ("", "none", "\n Hi \n"),
        (" | trim", "both", "Hi"),
        (".lstrip()", "left", "Hi \n"),
        (".rstrip()", "right", "\n Hi"),
    ],
)
def test_white_space_is_stripped_where_the_template_strips_it(filter_: str, strip: str, turn: str) -> None:
    wrapper = wrapper_of(make_tokenizer(chat_template=template(content=f"message['content']{filter_}")), "score: ")
    assert wrapper.strip == strip
    assert wrapper.wrap("\n Hi \n") == f"<|user|>\n{turn}<|end|>\n<|assistant|>\nscore: "


def test_a_thought_that_is_left_open_is_closed_empty() -> None:
    wrapper = wrapper_of(make_tokenizer(chat_template=template(opening="<|assistant|>\n<think>\n")), "score: ")
    assert wrapper.after == "<|end|>\n<|assistant|>\n<think>\n\n</think>\n\n"
    assert "thought" in wrapper.notes[0]
    with pytest.raises(CheckpointError, match="opens a thought"):
        wrapper_of(make_tokenizer(chat_template=template(opening="<|assistant|>\n<reasoning>")), "score: ")


def test_an_opening_that_is_missing_is_taken_from_a_conversation() -> None:
    wrapper = wrapper_of(make_tokenizer(chat_template=template(opening="")), "score: ")
    assert wrapper.after == "<|end|>\n<|assistant|>\n"
    assert "opens no assistant's turn" in wrapper.notes[0]


def test_markers_that_are_plain_text_are_said() -> None:
    plain = (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]{% endif %}"
    )
    wrapper = wrapper_of(make_tokenizer(chat_template=plain + "{% endfor %}"), "score: ")
    assert (wrapper.before, wrapper.after) == ("<s>[INST] ", " [/INST]")
    assert "plain text ('[/INST]')" in wrapper.notes[0]


def test_a_date_is_said_to_be_frozen() -> None:
    dated = "<|user|>Today: {{ strftime_now('%d %b %Y') }}\n" + CHAT_TEMPLATE
    assert "frozen" in wrapper_of(make_tokenizer(chat_template=dated), "score: ").notes[-1]
    assert wrapper_of(make_tokenizer(), "score: ").notes == ()


def with_begin_token(chat_template: str | None, single: str) -> PreTrainedTokenizerFast:
    tokenizer = make_tokenizer(chat_template=chat_template)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=single, special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return tokenizer


@pytest.mark.parametrize("single", ["<s> $A", "<s> $A </s>"])
def test_a_begin_token_is_kept_also_where_an_end_token_is_added(single: str) -> None:
    assert wrapper_of(with_begin_token(None, single), "score: ").wrap("Hi") == "<s>Hi\n\nscore: "
    wrapper = wrapper_of(with_begin_token(CHAT_TEMPLATE, single), "score: ")
    assert "begins a text with '<s>', the chat template does not" in wrapper.notes[0]


def test_templates_that_want_parts_or_have_several_names() -> None:
    parts = template(content="message['content'][0]['text']")
    assert wrapper_of(make_tokenizer(chat_template=parts), "score: ").before == "<|user|>\n"
    several = {"default": CHAT_TEMPLATE, "rag": "{{ 1 / 0 }}"}
    assert wrapper_of(make_tokenizer(chat_template=several), "score: ").before == "<|user|>\n"
    with pytest.raises(CheckpointError, match="several: rag, tool_use"):
        wrapper_of(make_tokenizer(chat_template={"rag": CHAT_TEMPLATE, "tool_use": CHAT_TEMPLATE}), "score: ")
