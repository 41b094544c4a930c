"""The shapes in which pairs of texts are published, and how a row of each is read.

ours             positive and negative; prompt and system, if both texts answer them
multiple choice  answer_matching_behavior and answer_not_matching_behavior; question or prompt
                 (CAA, Anthropic's model-written evaluations)
preferences      chosen and rejected; prompt (TRL, DPO)

In each, a text may be a list of chat messages: its last message, the assistant's, is the text; the user's last message
before it is the prompt, and the system's the system prompt. A prompt may be such a list too. Both texts of a pair must
answer the same messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from localprobe.contrast.tables import is_message, listed
from localprobe.errors import DataError
from localprobe.suggest import shown

_ROLES = {"human": "user", "gpt": "assistant", "model": "assistant", "bot": "assistant", "developer": "system"}
Messages = Sequence[tuple[str, str]]
"""Role and content of each."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Names of fields that the user gives; None looks for the known shapes."""

    positive: str | None = None
    negative: str | None = None
    scenario: str | None = None
    prompt: str | None = None

    @classmethod
    def of(cls, **fields: str | None) -> Fields:
        """From `positive_field` and the like. TypeError for any other name."""
        return cls(**{name.removesuffix("_field"): field for name, field in fields.items()})


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of one shape."""

    name: str
    positive: str
    negative: str
    prompts: tuple[str, ...]
    """Where the prompt may be; the first that holds one is taken."""
    strip: bool = False
    """Whether blanks around a text are dropped: evaluations write ` (A)`, to follow `Answer:`."""
    required: str | None = None
    """A field that must hold a prompt, since the user named it."""


SHAPES = (
    Shape("pairs", "positive", "negative", ("prompt", "messages")),
    Shape(
        "multiple choice, as of CAA",
        "answer_matching_behavior",
        "answer_not_matching_behavior",
        ("prompt", "question", "messages"),
        strip=True,
    ),
    Shape("preferences, as of TRL", "chosen", "rejected", ("prompt", "messages", "question")),
)


@dataclass(frozen=True, slots=True)
class Poles:
    """What a row holds of a pair."""

    positive: str
    negative: str
    rest: dict[str, Any]
    """All other fields, and the prompt under `prompt`."""
    chat: bool
    """Whether a text was a list of messages."""
    earlier: bool
    """Whether turns before the prompt were left out."""


def shape_of(names: Sequence[str], fields: Fields, where: str) -> Shape:
    """The shape of a set whose first row has these fields. DataError if it has none that is known or given."""
    if fields.positive or fields.negative:
        shape = replace(SHAPES[0], positive=fields.positive or "positive", negative=fields.negative or "negative")
    else:
        shape = next((s for s in SHAPES if s.positive in names and s.negative in names), None) or next(
            (s for s in SHAPES if s.positive in names or s.negative in names), SHAPES[0]
        )
    missing = next((name for name in (shape.positive, shape.negative) if name not in names), None)
    if missing is not None:
        raise DataError(_missing(where, missing, names) + ": name the fields by `positive_field` and `negative_field`")
    return replace(shape, prompts=(fields.prompt,), required=fields.prompt) if fields.prompt else shape


def poles(row: Mapping[str, Any], shape: Shape, where: str) -> Poles:
    """The two texts of a row and their prompt. DataError names the place and the field of what is no text."""
    if shape.required and shape.required not in row:
        raise DataError(_missing(where, shape.required, list(row)))
    named = shape.required or next((name for name in shape.prompts if holds_prompt(row, name)), None)
    before = _prompt(row[named], where, named) if named else ()
    context, positive = _answer(row, shape.positive, before, where, named)
    other, negative = _answer(row, shape.negative, before, where, named)
    if _bare(context) != _bare(other):
        raise DataError(
            f"{where}: {shape.positive} and {shape.negative} answer different messages: a pair needs the same ones "
            "before both texts"
        )
    prompt, system, earlier = _parts(context)
    # The prompt takes the place of its field, so that a set that is written again keeps the order of its fields.
    fields = {"prompt" if key == named else key: value for key, value in row.items()}
    rest = {key: value for key, value in fields.items() if key not in (shape.positive, shape.negative)}
    if named and not prompt:  # messages without the user's
        rest.pop("prompt", None)
    rest |= {key: text for key, text in (("prompt", prompt), ("system", system)) if text}
    if shape.strip:
        positive, negative = positive.strip(), negative.strip()
    chat = any(not isinstance(row[name], str) for name in (shape.positive, shape.negative))
    return Poles(positive, negative, rest, chat, earlier)


def holds_prompt(row: Mapping[str, Any], name: str) -> bool:
    """Whether a field holds a prompt: a text or messages; of `messages`, only a list is one."""
    value = row.get(name)
    return bool(value) and isinstance(value, list if name == "messages" else str | list)


def text(value: Any, where: str, name: str) -> str:
    """A value that must be a text. DataError for any other, for an empty one, and for what no tokenizer takes."""
    if not isinstance(value, str):
        what = "null" if value is None else f"a {type(value).__name__}"
        raise DataError(f"{where}: {name} is {what}, not a text")
    if not value.strip():
        raise DataError(f"{where}: {name} is empty")
    if "\0" in value:
        raise DataError(f"{where}: {name} holds a zero character: remove it")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(value[error.start]):04x}"
        raise DataError(f'{where}: {name} holds "{half}", half a character (a lone surrogate): remove it') from error
    return value


def _prompt(value: Any, where: str, name: str) -> Messages:
    return _messages(value, where, name) if isinstance(value, list) else (("user", text(value, where, name)),)


def _answer(row: Mapping[str, Any], name: str, before: Messages, where: str, named: str | None) -> tuple[Messages, str]:
    """All messages that the text of a field answers, and the text."""
    if name not in row:
        raise DataError(_missing(where, name, list(row)))
    own, said = _spoken(row[name], where, name)
    return _joined(before, own, f"{where}: {name}", named), said


def _spoken(value: Any, where: str, name: str) -> tuple[Messages, str]:
    """The messages before a text, and the text."""
    if is_message(value):
        value = [value]
    if not isinstance(value, list) or not value or not is_message(value[0]):
        return (), text(value, where, name)
    *before, (role, said) = _messages(value, where, name)
    if role != "assistant":
        raise DataError(f"{where}: {name} ends with a message of {shown(role)}: its last one must be the assistant's")
    return before, said


def _messages(value: list[Any], where: str, name: str) -> list[tuple[str, str]]:
    return [_message(message, f"{where}, {name}, message {n}") for n, message in enumerate(value, 1)]


def _message(message: Any, where: str) -> tuple[str, str]:
    if not is_message(message):
        raise DataError(f"{where}: not an object with role and content")
    role, content = message.get("role", message.get("from")), message.get("content", message.get("value"))
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(text(part.get("text"), where, "text") for part in content)
    role = text(role, where, "role").lower()
    return _ROLES.get(role, role), text(content, where, "content")


def _joined(before: Messages, own: Messages, where: str, named: str | None) -> Messages:
    """All that a text answers: its own messages and those of the prompt, which may repeat each other."""
    if not before or not own:
        return own or before
    shorter, longer = sorted((before, own), key=len)
    if _bare(longer)[-len(shorter) :] != _bare(shorter):
        raise DataError(f"{where} answers other messages than {named}: leave one of them out")
    return longer


def _bare(messages: Messages) -> list[tuple[str, str]]:
    return [(role, content.strip()) for role, content in messages]


def _parts(messages: Messages) -> tuple[str, str, bool]:
    """The user's last message, the system's, and whether there were others."""
    users = [content for role, content in messages if role == "user"]
    systems = [content for role, content in messages if role == "system"]
    others = len(messages) - len(systems) - bool(users)
    return users[-1] if users else "", "\n\n".join(systems), others > 0


def _missing(where: str, name: str, names: Sequence[str]) -> str:
    return f"{where}: no field {name!r}; it has {listed(names)}"
