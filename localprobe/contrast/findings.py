"""Faults of a contrast set: each function looks for one kind and names the lines that have it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from localprobe.contrast.duplicates import near, same
from localprobe.contrast.pairs import Pair
from localprobe.contrast.refusals import fault
from localprobe.contrast.special_tokens import written
from localprobe.contrast.words import GiveAway, tokens, words

Severity: TypeAlias = Literal["error", "warning", "note"]

FEW_PAIRS, FEWER_PAIRS = 50, 30
"""Fewer pairs than the first (the paper's number) give a note, fewer than the second a warning."""
FEW_IN_SCENARIO = 4
"""With fewer pairs, 30 % of a scenario is one pair or none."""
GIVE_AWAY, FEWEST_TEXTS = 0.75, 5
"""Least AUROC of a give-away word, and in how many more texts of one pole it must be."""
LEXICAL, VERY_LEXICAL = 0.75, 0.9
"""AUROC of a bag of words that gives a note, and one that gives a warning."""
MOST_UNEQUAL = 10
"""Number of pairs named if the poles differ in length."""
SWAPPED = 2
"""Poles that differ in at most this many words, and share more, are one text with a keyword swapped."""


_SURE = 2.6  # standard errors, so that chance in a small set gives no finding


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a set."""

    kind: str
    """A stable name for scripts: `duplicates`, `give-away word`, ..."""
    severity: Severity
    """An error makes the set unusable as it is; a warning makes a probe's figures misleading."""
    message: str
    lines: tuple[int, ...] = ()
    """Lines of the file that it concerns."""
    groups: tuple[tuple[int, ...], ...] = ()
    """Those lines in groups, such as the lines of one text."""
    test_lines: tuple[int, ...] = ()
    """Lines of the test file, if one was given."""


def size(pairs: Sequence[Pair], test: Sequence[Pair]) -> Iterator[Finding]:
    """Too few pairs for meaningful figures."""
    if len(pairs) >= FEW_PAIRS or not test:
        return
    chance = 0.5 + 1.645 * _by_chance(len(test))
    yield Finding(
        "few pairs",
        "warning" if len(pairs) < FEWER_PAIRS else "note",
        f"{len(pairs)} pairs, of which {len(test)} test the probe: one time in twenty, chance alone reaches AUROC "
        f"{min(chance, 1):.2f} on so few; the paper has 50 pairs",
    )


def scenarios(pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Scenarios with few pairs, or a single scenario, which cannot be held out."""
    lines: dict[str, list[int]] = defaultdict(list)
    for pair in pairs:
        lines[pair.scenario].append(pair.line)
    if len(lines) == 1:
        what = f"all pairs are of one scenario, {pairs[0].scenario!r}" if pairs[0].scenario else "no scenario is named"
        yield Finding("one scenario", "note", f"{what}: whether a probe holds in another cannot be tested")
        return
    few = {name: numbers for name, numbers in lines.items() if len(numbers) < FEW_IN_SCENARIO}
    if few:
        named = ", ".join(f"{name or 'unnamed'} ({len(numbers)})" for name, numbers in list(few.items())[:8])
        yield Finding(
            "few in scenario",
            "note" if len(few) < len(lines) / 2 else "warning",
            f"{len(few)} of {len(lines)} scenarios have fewer than {FEW_IN_SCENARIO} pairs ({named}"
            f"{', ...' if len(few) > 8 else ''}): "
            "a probe tested on a scenario left out is tested on too few texts there",
            _sorted(line for numbers in few.values() for line in numbers),
        )


def contradictions(pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Texts that are labelled both positive and negative."""
    alike = _sorted(pair.line for pair in pairs if pair.positive.strip() == pair.negative.strip())
    if alike:
        yield Finding("identical poles", "error", "the positive and the negative text are the same", alike)
    positive: dict[str, list[int]] = defaultdict(list)
    negative: dict[str, list[int]] = defaultdict(list)
    for pair in pairs:
        if pair.line not in alike:
            positive[_said(pair, pair.positive)].append(pair.line)
            negative[_said(pair, pair.negative)].append(pair.line)
    groups = _groups([*positive[text], *negative[text]] for text in positive.keys() & negative.keys())
    if groups:
        yield Finding(
            "text in both poles",
            "error",
            "a text is positive in one pair and negative in another",
            _flat(groups),
            groups,
        )


def words_as_answers(pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Texts such as (A) or Yes, which say nothing without the prompt that they answer."""
    lines = _sorted(pair.line for pair in pairs if pair.answers_in_a_word)
    if lines:
        message = f"{len(lines)} pairs are single words that answer a prompt: fit them with --pooling answer"
        yield Finding("answers in a word", "note", message, lines)


def repetitions(pairs: Sequence[Pair], test: Sequence[Pair], *, own_file: bool) -> Iterator[Finding]:
    """Duplicates and near-duplicates, in the set and across the split.

    `test` are the pairs that test the probe: from a separate file (`own_file`), or some of `pairs`.
    """
    every = [*pairs, *test] if own_file else list(pairs)
    held_out = {id(pair) for pair in test}
    for kind, grouped in (("duplicates", same), ("near-duplicates", near)):
        repeated = [
            [every[i] for i in group]
            for pole in ([_said(pair, pair.positive) for pair in every], [_said(pair, pair.negative) for pair in every])
            for group in grouped(pole)
        ]
        inside = _groups([pair.line for pair in group if not (own_file and id(pair) in held_out)] for group in repeated)
        inside = tuple(group for group in inside if len(group) > 1)
        if inside:
            what = (
                "the same text is in several pairs" if grouped is same else "texts of several pairs are nearly the same"
            )
            yield Finding(kind, "warning", f"{what}: they count as one", _flat(inside), inside)
        yield from _leaks(kind, repeated, held_out, own_file)


def _leaks(kind: str, groups: list[list[Pair]], held_out: set[int], own_file: bool) -> Iterator[Finding]:
    """Texts that a probe would be both fitted and tested on."""
    across = [group for group in groups if 0 < sum(id(pair) in held_out for pair in group) < len(group)]
    if not across:
        return
    exact = kind == "duplicates"
    where = "in the test file too" if own_file else "on both sides of the default split"
    in_file = [[pair.line for pair in group if not (own_file and id(pair) in held_out)] for group in across]
    yield Finding(
        "text in both splits" if exact else "near text in both splits",
        "error" if exact and own_file else "warning",
        f"{'the same text is' if exact else 'nearly the same text is'} {where}: "
        "a probe is tested on what it was fitted on",
        _sorted(line for lines in in_file for line in lines),
        () if own_file else _groups(in_file),
        _sorted(pair.line for group in across for pair in group if id(pair) in held_out) if own_file else (),
    )


def swaps(pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Poles that are the same text except for a keyword, the order of words, or punctuation."""
    swapped: dict[int, str] = {}
    reordered: list[int] = []
    for pair in pairs:
        positive, negative = Counter(words(pair.positive)), Counter(words(pair.negative))
        gone, come = positive - negative, negative - positive
        if not gone and not come and pair.positive.strip() != pair.negative.strip():
            reordered.append(pair.line)
        elif (positive & negative).total() > SWAPPED >= max(gone.total(), come.total()) > 0:
            swapped[pair.line] = f"{' '.join(gone) or 'nothing'!r} / {' '.join(come) or 'nothing'!r}"
    if swapped:
        examples = ", ".join(list(dict.fromkeys(swapped.values()))[:3])
        yield Finding(
            "swapped keyword",
            "warning",
            f"the two texts differ in a word or two ({examples}): a probe can learn no more than those words",
            _sorted(swapped),
        )
    if reordered:
        message = "the two texts have the same words, in another order or with other punctuation"
        yield Finding("same words", "note", message, _sorted(reordered))


def faults(pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Refusals, empty answers and text that repeats itself."""
    lines: dict[str, list[int]] = defaultdict(list)
    for pair in pairs:
        for pole, text in (("positive", pair.positive), ("negative", pair.negative)):
            if not pair.answers_in_a_word and (why := fault(text)):
                lines[f"the {pole} text is {why}" if why != "repeats itself" else f"the {pole} text {why}"].append(
                    pair.line
                )
    for what, numbers in lines.items():
        yield Finding(
            "no answer", "warning", f"{what}: it shows how a model declines, not the concept", _sorted(numbers)
        )


def special_tokens(pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Marks of chat templates that are written in the texts."""
    if found := written((pair.line, text) for pair in pairs for text in (pair.positive, pair.negative)):
        yield Finding(
            "special tokens",
            "warning",
            f"{found.examples} would be read as characters, not as marks of a chat: take them out, or fit with "
            "`special_tokens`",
            found.lines,
        )


def lengths(pairs: Sequence[Pair], counts: NDArray[np.float32], area: float) -> Iterator[Finding]:
    """Poles that length alone tells apart. `counts` (2, pairs) are words, `area` is their AUROC."""
    if abs(area - 0.5) < max(0.1, _SURE * _by_chance(len(pairs))):
        return
    longer, shorter = counts if area > 0.5 else counts[::-1]
    worst = np.argsort(shorter - longer, kind="stable")[:MOST_UNEQUAL]
    yield Finding(
        "length imbalance",
        "warning",
        f"{'positive' if area > 0.5 else 'negative'} texts are longer (mean words {longer.mean():.0f} to "
        f"{shorter.mean():.0f}): length alone tells the poles apart with AUROC {max(area, 1 - area):.2f}; "
        "the most unequal pairs are named",
        _sorted(pairs[i].line for i in worst if longer[i] > shorter[i]),
    )


def one_word(pairs: Sequence[Pair], telling: Sequence[GiveAway]) -> Iterator[Finding]:
    """Single words that reveal the pole, the most telling first."""
    for word in telling[:3]:
        if abs(word.auroc - 0.5) < GIVE_AWAY - 0.5 or abs(word.positive - word.negative) < FEWEST_TEXTS:
            return
        positive = word.auroc > 0.5
        yield Finding(
            "give-away word",
            "warning",
            f"{word.word!r} is in {word.positive} positive and {word.negative} negative texts: "
            f"that word alone has AUROC {max(word.auroc, 1 - word.auroc):.2f}",
            _sorted(pair.line for pair in pairs if word.word in tokens(pair.positive if positive else pair.negative)),
        )


def lexical(pairs: Sequence[Pair], scores: NDArray[np.float64], area: float) -> Iterator[Finding]:
    """Poles that a bag of words tells apart. `scores` (2, pairs) are cross-validated, `area` is their AUROC."""
    if area < LEXICAL or area - 0.5 < _SURE * _by_chance(len(pairs)):
        return
    yield Finding(
        "words alone",
        "warning" if area >= VERY_LEXICAL else "note",
        f"a bag of words, tested on pairs left out, tells the poles apart with AUROC {area:.2f}: "
        "a probe that reaches no more has shown nothing but vocabulary",
        _sorted(pair.line for pair, high, low in zip(pairs, *scores, strict=True) if high > low),
    )


def _said(pair: Pair, text: str) -> str:
    """A text by which a pair is compared to others: a single word counts together with its prompt."""
    return f"{pair.metadata['prompt']}\n{text.strip()}" if pair.answers_in_a_word else text.strip()


def _by_chance(pairs: int) -> float:
    """Standard error of an AUROC at chance, with `pairs` texts per pole (Mann-Whitney)."""
    return float(((2 * pairs + 1) / 12) ** 0.5 / pairs)


def _groups(groups: Iterable[Iterable[int]]) -> tuple[tuple[int, ...], ...]:
    """Groups of lines, sorted and without duplicates."""
    return tuple(sorted({_sorted(group) for group in groups}))


def _flat(groups: Iterable[Iterable[int]]) -> tuple[int, ...]:
    return _sorted(line for group in groups for line in group)


def _sorted(lines: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(lines)))
