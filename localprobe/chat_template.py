"""Rendering conversations by the model's own Jinja chat template, for all engines alike.

A template comes with the weights and is not trusted: `localprobe.template_engine` bounds what it can do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from localprobe.engine import Info
from localprobe.errors import UsageError
from localprobe.template_engine import TemplateFailed, render_template

Role = Literal["system", "user", "assistant"]


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


def render(info: Info, messages: Sequence[Message], *, answer: bool = True) -> str:
    """Text of a conversation; with `answer`, it ends where the model's next answer begins.

    If the last message is the assistant's and `answer` is False, the text ends with that message's content, so that the
    model continues it. A model without a template raises UsageError.
    """
    if info.chat_template is None:
        raise UsageError(f"{info.model} has no chat template: it is a base model; give it a `raw` prompt")
    continues = not answer and bool(messages) and messages[-1].role == "assistant"
    text = _rendered(info, _foldable(info, messages), answer)
    return _cut_after(text, messages[-1].content) if continues else text


def _rendered(info: Info, messages: Sequence[Message], answer: bool) -> str:
    try:
        return render_template(
            str(info.chat_template),
            {
                **info.special_text,
                "messages": [{"role": m.role, "content": m.content} for m in messages],
                "add_generation_prompt": answer,
            },
        )
    except TemplateFailed as error:
        raise UsageError(f"the chat template of {info.model} {error}") from error


def _foldable(info: Info, messages: Sequence[Message]) -> Sequence[Message]:
    """The messages, with the system prompt moved into the first user message if the template (Gemma's) accepts none."""
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return messages
    try:
        _rendered(info, messages[:2], True)
    except UsageError:
        first = Message("user", f"{messages[0].content}\n\n{messages[1].content}")
        return [first, *messages[2:]]
    return messages


def _cut_after(text: str, content: str) -> str:
    """`text` up to the end of the last message, without the end-of-turn token."""
    content = content.strip()  # many templates strip contents
    index = text.rfind(content)
    return text[: index + len(content)] if index >= 0 else text
