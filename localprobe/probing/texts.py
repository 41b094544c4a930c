"""Every text that a probe needs, in one list, so that one capture serves fitting, testing and validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from localprobe.capture.residuals import Text
from localprobe.chat_template import Exchange, Marked
from localprobe.contrast.pairs import TEXT_SETS, Pair, prompt_of, read_texts, split
from localprobe.engine import FloatArray
from localprobe.errors import DataError
from localprobe.probing.config import ProbeConfig
from localprobe.probing.examples import Examples
from localprobe.probing.keywords import KEYWORD_LISTS, checked, read_keywords
from localprobe.probing.lexical import Ablated, ablate_pairs
from localprobe.probing.methods import method_of
from localprobe.probing.validation import Material

ANY_PROMPT = "Write a few sentences about anything."
"""With pooling `answer`, the prompt for a text that has none."""
_LEAST = 2  # the fewest test pairs that can be resampled


@dataclass(frozen=True, slots=True)
class ProbeTexts:
    """The texts of a probe. `all` lists the texts to capture; `material` splits their residuals again."""

    concept: str
    config: ProbeConfig
    train: Sequence[Pair]
    test: Sequence[Pair]
    validate: bool = True
    """Whether the probe is to be validated, not only measured: ablated and neutral texts are captured too."""
    keywords: Mapping[str, str] | None = None
    """Keyword -> synonym of the lexical ablation; None means the shipped list of the concept, if any."""

    def __post_init__(self) -> None:
        method_of(self.config.method)  # raises for a misspelt method before anything is captured

    @classmethod
    def of(
        cls,
        pairs: Sequence[Pair],
        concept: str,
        config: ProbeConfig,
        *,
        test: Sequence[Pair] | None = None,
        validate: bool = True,
        keywords: Mapping[str, str] | None = None,
    ) -> ProbeTexts:
        """Fit on all `pairs` if there are `test` pairs, else split them.

        Measuring needs at least two test pairs. If a split gives only one, it is still held out of the fit, and nothing
        is measured. Raises DataError if a test pair is a training pair too, or if there are too few to validate on;
        UsageError for a method that does not exist.
        """
        if test is not None:
            if len(test) < _LEAST:
                raise DataError(f"too few test pairs: {len(test)}; measuring needs at least {_LEAST}")
            _check_apart(pairs, test)
            train = list(pairs)
        elif config.test_fraction:
            train, test = split(pairs, test_fraction=config.test_fraction, seed=config.seed)
        else:
            train, test = list(pairs), []
        return cls(concept, config, train, measurable(test, len(pairs), config, validate), validate, keywords)

    @property
    def all(self) -> list[Text]:
        """Training pairs, test pairs, ablated test pairs, neutral texts; of pairs, the positive texts come first."""
        high, low, _ = self._ablated()
        pair_texts = [text for part in (self.train, self.test) for pole in _poles(part) for text in pole]
        texts = [*pair_texts, *high, *low, *self._neutral()]
        if self.config.pooling != "answer":
            _check_alone([*self.train, *self.test])
            return [Marked(text) for text in texts] if self.config.special_tokens else list(texts)
        pairs = [*self.train] * 2 + [*self.test] * (4 if high else 2)
        return _answers([*map(_asked, pairs), *([(ANY_PROMPT, "")] * len(self._neutral()))], texts)

    def material(self, residuals: FloatArray, layers: Sequence[int]) -> Material:
        """Residuals (texts, layers, width) of `all`, for the statistics. Raises DataError for pairs that cannot be
        used."""
        n, m = len(self.train), len(self.test)
        at = 2 * n + 2 * m
        train = self._examples(self.train, residuals[:n], residuals[n : 2 * n]) if n else None
        test = self._examples(self.test, residuals[2 * n : 2 * n + m], residuals[2 * n + m : at]) if m else None
        if not self.validate:
            return Material(layers, train, test)
        ablated, (high, _, replaced) = None, self._ablated()
        if high:
            poles = residuals[at : at + m], residuals[at + m : at + 2 * m]
            ablated = Ablated(*poles, replaced, len(self._keywords() or ()))
            at += 2 * m
        return Material(layers, train, test, ablated, residuals[at:])

    def _examples(self, pairs: Sequence[Pair], positive: FloatArray, negative: FloatArray) -> Examples:
        """Examples of pairs; with scenarios and generators only for a validation, which leaves each out in turn."""
        return Examples.of(pairs, positive, negative) if self.validate else Examples(positive, negative).checked()

    def _keywords(self) -> Mapping[str, str] | None:
        if self.keywords is not None:
            return checked(self.keywords, "`keywords`")
        ships = self.concept in KEYWORD_LISTS.names()
        return read_keywords(KEYWORD_LISTS.path(self.concept)) if ships else None

    def _ablated(self) -> tuple[list[str], list[str], tuple[int, ...]]:
        """Both texts of the test pairs without keywords, and the words replaced in each pair."""
        words = self._keywords() if self.validate else None
        if words is None:
            return [], [], ()
        return ablate_pairs(*_poles(self.test), words)

    def _neutral(self) -> list[str]:
        return read_texts(TEXT_SETS.path("neutral")) if self.validate else []


def measurable(test: Sequence[Pair], pairs: int, config: ProbeConfig, validate: bool) -> Sequence[Pair]:
    """The test pairs of a split of `pairs` pairs if they are enough to measure on, else an empty list. Raises DataError
    if a validation needs them."""
    if len(test) >= _LEAST:
        return test
    if validate:
        raise DataError(
            f"too few pairs: {pairs}, of which `test_fraction` {config.test_fraction:g} holds {len(test)} out for "
            f"testing; a validation needs at least {_LEAST}"
        )
    return []


def _poles(pairs: Sequence[Pair]) -> tuple[list[str], list[str]]:
    return [pair.positive for pair in pairs], [pair.negative for pair in pairs]


def _asked(pair: Pair) -> tuple[str, str]:
    """The prompt that the texts of a pair answer, and their system prompt; empty for none."""
    system = pair.metadata.get("system")
    return prompt_of(pair), system if isinstance(system, str) else ""


def _answers(asked: Sequence[tuple[str, str]], texts: Sequence[str]) -> list[Text]:
    return [Exchange(prompt, text, system) for (prompt, system), text in zip(asked, texts, strict=True)]


def _check_alone(pairs: Sequence[Pair]) -> None:
    """DataError for answers, such as (A) and (B), that differ between the poles only by their prompts."""
    positive, negative = map(set, _poles(pairs))
    if positive == negative and any(pair.metadata.get("prompt") for pair in pairs):
        raise DataError(
            f"both poles hold the same texts, such as {min(positive)!r}: without the prompts that they answer they say "
            "nothing; give `pooling` answer"
        )


def _check_apart(train: Sequence[Pair], test: Sequence[Pair]) -> None:
    trained_on = {pair.hash for pair in train}
    for pair in test:
        if pair.hash in trained_on:
            raise DataError(f"the test pair of line {pair.line} is a training pair too: take it out of one file")
