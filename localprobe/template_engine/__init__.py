"""Rendering a Jinja template that nobody vouches for, within bounds.

A chat template comes with the weights. It renders as in transformers, text for text, but an endless loop, a string of a
gigabyte or a division by zero ends as one error. It runs in this process: a child would cost a start of 0.1 s in every
command, and no system but Linux would hold it to its memory. What is bounded is therefore counted, not timed, so that
the same template and messages always have the same outcome, in any thread:

- every run of the body of a loop, macro or block costs what it holds (`compiler`),
- every value that is made costs its size, and one that would be too large is refused before it is made (`guards`),
- a list that holds itself many times over counts as often as it would be written out (`budget`).

Names of filters and methods that chat templates do not need, whose cost is hard to foresee, do not exist here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localprobe.errors import UsageError

_LONGEST_REASON = 300


class TemplateFailed(UsageError):
    """A template cannot be read, or gives no text. The message goes on after "the chat template of MODEL"."""


def render_template(source: str, variables: Mapping[str, Any]) -> str:
    """Text of a template with `variables`, which are plain values: what JSON can hold.

    `tools` and `documents` are None unless given, as transformers has them. Every failure raises TemplateFailed: a
    syntax error, a conversation that the template refuses, any error in it, more work than a template may do.
    """
    from localprobe.template_engine.budget import Exceeded
    from localprobe.template_engine.environment import Unreadable, compiled, rendered

    try:
        text = rendered(compiled(source), {"tools": None, "documents": None, **variables})
        text.encode()
        return text
    except UnicodeEncodeError as error:
        raise TemplateFailed("gives half a character (a lone surrogate), which no tokenizer takes") from error
    except Unreadable as error:
        raise TemplateFailed(f"cannot be read: {_one_line(str(error))}") from error
    except Exceeded as error:
        raise TemplateFailed(f"was stopped: {error}") from error
    except Exception as error:  # a template may raise whatever the values in it raise
        raise TemplateFailed(_reason(error)) from error


def _reason(error: Exception) -> str:
    from jinja2 import TemplateError

    if isinstance(error, RecursionError):
        return "was stopped: it calls itself, or nests values, without end"
    if isinstance(error, TemplateError):
        return f"refuses this conversation: {_one_line(str(error))}"
    return f"fails on this conversation: {_one_line(f'{type(error).__name__}: {error}')}"


def _one_line(text: str) -> str:
    """Words of an error, which a template may have chosen: on one line, printable, not without end."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _LONGEST_REASON]).split())
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
