"""Rendering conversations by the model's own Jinja chat template, for all engines alike.

A template comes with the weights and is not trusted: `localprobe.template_engine` bounds what it can do. What people
wrote stays text in it: `Rendered` says where their words are, and `localprobe.chat_ids` reads no special token there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from localprobe.engine import Info, Span
from localprobe.errors import UsageError
from localprobe.template_engine import TemplateFailed, render_template

Role = Literal["system", "user", "assistant"]

_PRIVATE = range(0xE000, 0xF8FF)  # characters that no template writes; those that a person writes are skipped
_WORD = re.compile(r"(?<=[\s>\]])(?=\S)")  # where a word begins, after a space or a mark


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt and its answer: a text whose residuals are captured within a chat."""

    prompt: str
    answer: str
    system: str = ""

    @property
    def messages(self) -> list[Message]:
        """The messages before the answer."""
        return [*([Message("system", self.system)] if self.system else []), Message("user", self.prompt)]


@dataclass(frozen=True, slots=True)
class Marked:
    """A text of its own whose special tokens are read as tokens, as if a template had written it."""

    text: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of a conversation as the template writes it."""

    text: str
    contents: tuple[Span, ...] = ()
    """[start, stop) of the characters that come from messages, ascending. The rest is the template's own."""

    def part(self, start: int = 0, stop: int | None = None) -> Rendered:
        """The text from `start` to `stop`, with what lies there of the contents."""
        stop = len(self.text) if stop is None else stop
        inside = ((max(a, start) - start, min(b, stop) - start) for a, b in self.contents)
        return Rendered(self.text[start:stop], tuple((a, b) for a, b in inside if a < b))


@dataclass(frozen=True, slots=True)
class Continued:
    """A conversation up to the end of an answer."""

    rendered: Rendered
    start: int
    """The character where the answer begins."""
    rewritten: bool
    """The template would not show this answer as it is (it holds a thought, say). It stands after the generation
    prompt then, as if the model had just written it."""


def render(info: Info, messages: Sequence[Message]) -> Rendered:
    """A conversation up to where the model's next answer begins.

    Raises UsageError for a model without a template, and for one whose template cannot show these messages.
    """
    return _shown(info, _accepted(info, messages), prompt=True)


def render_answer(info: Info, messages: Sequence[Message]) -> Continued:
    """A conversation up to the end of its last message, an answer, so that the model continues it or is read there.

    The answer stands where the template puts a finished answer: after a thought or a channel's name, if it writes one
    before answers. Raises as `render`.
    """
    said = messages[-1].content
    try:
        whole = _shown(info, _accepted(info, messages), prompt=False)
        start, stop = whole.contents[-1]
    except (UsageError, IndexError):  # the template takes no answer as the last message, or leaves this one out
        start = stop = 0
    if start < stop and whole.text[start:stop] == said.strip():
        before, after = whole.text[:start], whole.text[stop:]
        lead, trail = said[: len(said) - len(said.lstrip())], said[len(said.rstrip()) :]
        start -= len(lead) if before.endswith(lead) else 0
        stop += len(trail) if after.startswith(trail) else 0
        return Continued(whole.part(0, stop), start, False)
    prompt = render(info, messages[:-1])
    start = len(prompt.text)
    spans = (*prompt.contents, (start, start + len(said)))
    return Continued(Rendered(prompt.text + said, spans), start, True)


def answers_move(info: Info) -> bool:
    """Whether a finished answer stands elsewhere than after the generation prompt: after a thought, say."""
    asked = [Message("user", "Question?")]
    continued = render_answer(info, [*asked, Message("assistant", "Answer.")])
    return continued.rendered.text[: continued.start] != render(info, asked).text


def template_key(info: Info) -> str:
    """What a rendering depends on besides the messages, for hashes: the template and the arguments it is given."""
    return (info.chat_template or "") + "".join(f"\n{argument}" for argument in sorted(info.template_args))


def template_arguments(given: Sequence[str]) -> dict[str, Any]:
    """Arguments of a template from `NAME=VALUE`, where VALUE is JSON (`false`, `3`) or else a text. UsageError for one
    that is not of that form, or that names what the conversation itself fills in."""
    arguments: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"template argument {text!r}: write NAME=VALUE, for example enable_thinking=false")
        if name in ("messages", "add_generation_prompt"):
            raise UsageError(f"template argument {text!r}: {name} comes from the conversation")
        try:
            arguments[name] = json.loads(value)
        except (ValueError, RecursionError):
            arguments[name] = value
    return arguments


def _accepted(info: Info, messages: Sequence[Message]) -> Sequence[Message]:
    """The messages, with the system prompt moved into the first user message if the template (Gemma's) accepts none."""
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return messages
    try:
        _shown(info, messages[:2], prompt=True)
    except UsageError:
        first = Message("user", f"{messages[0].content}\n\n{messages[1].content}")
        return [first, *messages[2:]]
    return messages


def _shown(info: Info, messages: Sequence[Message], *, prompt: bool) -> Rendered:
    """Messages by the template, which must show what was asked. Some templates (of models that see pictures) show only
    contents that are lists of parts, and drop a text, or fail on it."""
    if info.chat_template is None:
        raise UsageError(f"{info.model} has no chat template: it is a base model; give it a `raw` prompt")
    trouble = None
    for parts in (False, True):
        try:
            rendered, shown = _located(info, messages, prompt, parts)
        except UsageError as error:
            trouble = trouble or error
            continue
        if shown:
            return rendered
    raise trouble or UsageError(f"the chat template of {info.model} leaves out what the user says: give a `raw` prompt")


def _located(info: Info, messages: Sequence[Message], prompt: bool, parts: bool) -> tuple[Rendered, bool]:
    """Messages by the template, and whether the last message of the user is in the text.

    The contents are found by a second rendering, in which each stands between two private characters.
    """
    text = _rendered(info, [m.content for m in messages], messages, prompt, parts)
    private = _private(messages)
    opens, closes, _ = private
    marked = _marked(info, messages, private, prompt, parts)
    if marked.count(opens) != marked.count(closes):  # the template cuts a thought off, and the first character with it
        marked = _marked(info, messages, private, prompt, parts, words=True)
    contents = _spans(marked, private)
    if contents is None or re.sub(f"[{''.join(private)}]", "", marked) != text:  # the template changes contents
        contents = tuple(_found(text, [m.content.strip() for m in messages]))
        _refuse_marks(info, messages)
    last = next((m.content.strip() for m in reversed(messages) if m.role == "user"), "")
    return Rendered(text, contents), not last or last in text or opens in marked or closes in marked


def _private(messages: Sequence[Message]) -> tuple[str, str, str]:
    """Three characters that no message holds: for the beginning of a content, for its end, and for places between."""
    written = set().union(*(m.content for m in messages))
    free = (chr(code) for code in _PRIVATE if chr(code) not in written)
    return next(free), next(free), next(free)


def _marked(
    info: Info, messages: Sequence[Message], private: Sequence[str], prompt: bool, parts: bool, *, words: bool = False
) -> str:
    """Messages by the template with private characters around each content and, if `words`, before the words of
    answers. Empty if the template does not take them so."""
    contents = [_between(m.content, private, words and m.role == "assistant") for m in messages]
    try:
        return _rendered(info, contents, messages, prompt, parts)
    except UsageError:
        return ""


def _between(content: str, private: Sequence[str], words: bool) -> str:
    """A content between two characters, inside the space around it, which many templates strip."""
    opens, closes, word = private
    inner = content.strip()
    lead = len(content) - len(content.lstrip()) if inner else 0
    shown = _WORD.sub(word, inner) if words else inner
    return f"{content[:lead]}{opens}{shown}{closes}{content[lead + len(inner) :]}"


def _spans(marked: str, private: Sequence[str]) -> tuple[Span, ...] | None:
    """Where the contents would be without the private characters. None if the beginning or the end of one is lost."""
    opens, closes, word = private
    spans: list[Span] = []
    at = 0
    *pieces, rest = marked.split(closes)
    for piece in pieces:
        begins = [found for mark in (opens, word) if (found := piece.find(mark)) >= 0]
        if not begins or opens in piece[min(begins) + 1 :]:
            return None
        start = at + min(begins)
        at += len(piece) - piece.count(opens) - piece.count(word)
        spans += [(start, at)] if start < at else []
    return tuple(spans) if opens not in rest and word not in rest else None


def _found(text: str, contents: Sequence[str]) -> list[Span]:
    """Where contents stand in a text, in their order, as far as they do."""
    spans, at = [], 0
    for content in filter(None, contents):
        start = text.find(content, at)
        if start >= 0:
            at = start + len(content)
            spans.append((start, at))
    return spans


def _refuse_marks(info: Info, messages: Sequence[Message]) -> None:
    """Raise UsageError if a content holds a special token that could not be told from the template's own."""
    for message in messages:
        if mark := next((mark for mark in info.marks if mark in message.content), None):
            raise UsageError(
                f"the text {mark} in a message of the {message.role} is a special token of {info.model}, whose chat "
                "template changes messages, so that it cannot be kept apart from the template's own: take it out"
            )


def _rendered(info: Info, contents: Sequence[str], messages: Sequence[Message], prompt: bool, parts: bool) -> str:
    said = [[{"type": "text", "text": content}] if parts else content for content in contents]
    variables = {
        **info.special_text,
        **template_arguments(info.template_args),
        "messages": [{"role": m.role, "content": c} for m, c in zip(messages, said, strict=True)],
        "add_generation_prompt": prompt,
    }
    try:
        return render_template(str(info.chat_template), variables)
    except TemplateFailed as error:
        raise UsageError(f"the chat template of {info.model} {error}") from error
