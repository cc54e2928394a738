"""A chat template rendered without transformers, as transformers renders it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from lager_onnx.export.sources.json_file import read_json
from lager_onnx.models.chat import is_control
from lager_onnx.models.errors import CheckpointError

_NAMES: Final = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


class PlainChat:
    """See `Chat`.

    Args:
        folder: may hold tokenizer_config.json (or special_tokens_map.json, of older files) and chat_template.jinja;
            without them there are no names of tokens, or no template.
        tokenizer: of the same folder.
        notes: see `Chat`.

    Raises:
        CheckpointError: a file of the two cannot be read.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer, notes: tuple[str, ...] = ()):
        settings, template = _read(folder)
        self.notes = notes
        self._now: Callable[[], datetime] = datetime.now
        self._tokens = {name: _text(settings[name]) for name in _NAMES if settings.get(name) is not None}
        templates = template if isinstance(template, dict) else {"default": template}
        self.several = tuple(templates) if len(templates) > 1 else ()
        self._template = templates.get("default")
        self.exists = any(templates.values())
        plain, whole = (tokenizer.encode("x", add_special_tokens=special) for special in (False, True))
        count = len(plain.ids)
        start = next((at for at in range(len(whole.ids)) if whole.ids[at : at + count] == plain.ids), 0)
        self.begin = "".join(whole.tokens[:start])
        added = tokenizer.get_added_tokens_decoder().values()
        self.added = [token.content for token in added if is_control(token.content, special=token.special)]
        self.eos_token = self._tokens.get("eos_token")

    def render(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool) -> str:
        """See `Chat.render`."""
        if self._template is None:
            raise CheckpointError(f"none of the chat templates {', '.join(self.several)} is the default")
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals |= {"raise_exception": _raise, "strftime_now": lambda text: self._now().strftime(text)}
        return environment.from_string(self._template).render(
            messages=messages, add_generation_prompt=add_generation_prompt, enable_thinking=False, tools=None,
            documents=None, **self._tokens,
        )  # fmt: skip

    @contextmanager
    def another_day(self) -> Iterator[None]:
        """See `Chat.another_day`."""
        self._now = lambda: datetime(1999, 1, 2, 3, 4, 5)
        try:
            yield
        finally:
            self._now = datetime.now


class _Generation(Extension):
    """{% generation %} marks what an assistant says, for training; it is rendered as if it were not there."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's attribute

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The nodes inside the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _read(folder: Path) -> tuple[dict[str, Any], Any]:
    """The tokeniser's settings, and the template or templates."""
    names = (folder / name for name in ("tokenizer_config.json", "special_tokens_map.json"))
    path = next((path for path in names if path.exists()), None)
    settings = {} if path is None else read_json(path)
    template = settings.get("chat_template")
    try:
        path = folder / "chat_template.jinja"
        if path.exists():
            return settings, path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error
    if isinstance(template, list):
        template = {str(each.get("name")): each.get("template") for each in template if isinstance(each, dict)}
    return settings, template


def _past() -> datetime:
    return datetime(1999, 1, 2, 3, 4, 5)


def _text(token: Any) -> str:
    return str(token["content"]) if isinstance(token, dict) else str(token)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise(message: str) -> None:
    raise TemplateError(message)
