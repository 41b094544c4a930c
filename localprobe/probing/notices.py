"""What a user should know about texts before a probe is fitted on them: how this model reads them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence

from localprobe.chat_template import Exchange, Message, render_answer
from localprobe.contrast.pairs import Pair
from localprobe.contrast.special_tokens import written
from localprobe.engine import Info
from localprobe.errors import DataWarning
from localprobe.probing.texts import ProbeTexts
from localprobe.vectors.vector import Origin

_SHOWN = 8  # lines named
_ADVICE = "give `special_tokens` to read special tokens as tokens"


def warn(info: Info, texts: ProbeTexts) -> None:
    """Warn (DataWarning) of each of `notices`."""
    for line in notices(info, texts):
        warnings.warn(line, DataWarning, stacklevel=3)


def notices(info: Info, texts: ProbeTexts) -> Iterator[str]:
    """One line for each: special tokens that are read as characters, and answers that the chat template changes."""
    pairs = [*texts.train, *texts.test]
    if not texts.config.special_tokens and (line := special_tokens(info, pairs)):
        # That option is refused with pooling answer, where the chat template writes the tokens.
        yield line if texts.config.pooling != "answer" else line.replace(_ADVICE, "take them out of answers")
    if texts.config.pooling == "answer":
        yield from changed_answers(info, [text for text in texts.all if isinstance(text, Exchange)])


def other_template(info: Info, origin: Origin) -> str:
    """A line about a probe that was fitted on answers within another chat; empty for one that reads texts alone, or was
    fitted in the same."""
    here = Origin.of(info, method=origin.method, pooling=origin.pooling).template
    if origin.pooling != "answer" or not origin.template or origin.template == here:
        return ""
    return (
        f"the probe was fitted within another chat template, or with other template arguments, than {info.model} has "
        "now: its scores here need not be those of the fit"
    )


def special_tokens(info: Info, pairs: Sequence[Pair]) -> str:
    """A line about special tokens that are written in pairs; empty if there are none."""
    return _read_as_characters(info, [(pair.line, text) for pair in pairs for text in (pair.positive, pair.negative)])


def special_tokens_in(info: Info, texts: Sequence[str]) -> str:
    """The same for plain texts, which are counted from 1."""
    return _read_as_characters(info, list(enumerate(texts, 1)))


def changed_answers(info: Info, exchanges: Sequence[Exchange]) -> Iterator[str]:
    """Lines about answers that the chat template rewrites or strips."""
    counts: Counter[str] = Counter()
    for exchange in exchanges:
        continued = render_answer(info, [*exchange.messages, Message("assistant", exchange.answer)])
        shown = continued.rendered.text[continued.start :]
        counts["rewritten" if continued.rewritten else "stripped" if shown != exchange.answer else "kept"] += 1
    if count := counts["rewritten"]:
        yield (
            f"the chat template of {info.model} rewrites {count} of {len(exchanges)} answers, for example because they "
            "hold a thought: they are read as the model's own words after the prompt"
        )
    if count := counts["stripped"]:
        yield (
            f"the chat template of {info.model} strips the spaces around {count} of {len(exchanges)} answers: they are "
            "read without them"
        )


def _read_as_characters(info: Info, texts: Sequence[tuple[int, str]]) -> str:
    found = written(texts, info.marks)
    if found is None:
        return ""
    lines = ", ".join(map(str, found.lines[:_SHOWN])) + (", ..." if len(found.lines) > _SHOWN else "")
    plural = "" if len(found.lines) == 1 else "s"
    verb = "is" if len(found.tokens) == 1 else "are"
    return f"{found.examples} in line{plural} {lines} {verb} read as characters: {_ADVICE}"
