"""Fields of OpenAI's API that would change the answer and that this server cannot do: refused, not ignored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localprobe.serve.errors import ApiError
from localprobe.serve.types import Generation

_EMPTY: Callable[[Any], bool] = lambda value: not value  # noqa: E731
_ZERO: Callable[[Any], bool] = lambda value: isinstance(value, int | float) and value == 0  # noqa: E731

NEUTRAL: dict[str, tuple[Callable[[Any], bool], str]] = {
    "audio": (_EMPTY, "answers are text"),
    "best_of": (lambda value: value == 1, "ask for `n` answers"),
    "echo": (_EMPTY, "the prompt is not repeated"),
    "frequency_penalty": (_ZERO, "tokens are drawn without penalties"),
    "function_call": (lambda value: value in ("", "none"), "no functions are called"),
    "functions": (_EMPTY, "no functions are called"),
    "logit_bias": (_EMPTY, "tokens are drawn without a bias"),
    "modalities": (lambda value: value == ["text"], "answers are text"),
    "prediction": (_EMPTY, "no predicted output is used"),
    "presence_penalty": (_ZERO, "tokens are drawn without penalties"),
    "reasoning_effort": (_EMPTY, "how a model thinks is set by its chat template"),
    "response_format": (lambda value: value == {"type": "text"}, "answers are free text"),
    "suffix": (_EMPTY, "text is only written after the prompt"),
    "tool_choice": (lambda value: value == "none", "no tools are called"),
    "tools": (_EMPTY, "no tools are called"),
    "verbosity": (_EMPTY, "how much a model says is set by `max_tokens`"),
    "web_search_options": (_EMPTY, "nothing is searched"),
}
"""Field -> whether a value asks for nothing, and why others are refused."""


def refuse_unsupported(body: Generation) -> None:
    """ApiError 400 for the first field that asks for what cannot be done."""
    for name, (neutral, why) in NEUTRAL.items():
        value = getattr(body, name, None)
        if value is not None and not neutral(value):
            raise ApiError(400, f"{name} is not supported: {why}; leave it out", code="unsupported", param=name)
