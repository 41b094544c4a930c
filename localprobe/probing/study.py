"""A whole study: a probe fitted on some pairs, and on the others everything that speaks for it and against it.

    found = study(model, read_pairs(shipped("empathy")), Choices("empathy"))
    print(found.validation.verdict.headline)
    vectors.save(found.vector, path)

Whoever wants to draw or stop the work does its three parts himself: `texts_of` says what must be captured,
`slices.Capture` captures it, and `conclude` needs no model any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from localprobe.capture.job import Amount, Capture
from localprobe.capture.residuals import Text
from localprobe.chat_template import Exchange
from localprobe.contrast.pairs import Pair, prompt_of, read_texts, shipped, split
from localprobe.engine import FloatArray, Info
from localprobe.errors import DataError
from localprobe.probing.examples import Examples
from localprobe.probing.fitting import candidates, fit_vector, probe_of, with_measures
from localprobe.probing.keywords import shipped_keywords
from localprobe.probing.lexical import Ablated, ablate_pairs
from localprobe.probing.validation import Effort, Validation, validate
from localprobe.stats.auroc import aurocs
from localprobe.vectors.vector import Vector

if TYPE_CHECKING:
    from localprobe.model import Model

LIMIT = 512
"""Tokens that a text is cut to, as the paper does."""
ANY_PROMPT = "Write a few sentences about anything."
"""What a text that answers no prompt is read as the answer to, with pooling `answer`."""
_USUAL = Effort()


@dataclass(frozen=True, slots=True)
class Choices:
    """What a study is free to choose."""

    concept: str
    """What the positive pole is. Its list of keywords, if one ships, is used for the lexical ablation."""
    method: str = "mean-difference"
    pooling: str = "mean-without-first"
    """`mean` is the paper's."""
    test_fraction: float = 0.3
    """Share of each scenario's pairs kept out of the fit."""
    seed: int = 0
    """Of the split, the choice of a layer and the bootstrap."""
    keywords: Mapping[str, str] | None = None
    """Keyword -> synonym, instead of the list that ships."""
    effort: Effort = _USUAL


@dataclass(frozen=True, slots=True)
class Texts:
    """Everything that must be captured, in one list, so that one capture serves the whole study."""

    train: Sequence[Pair]
    test: Sequence[Pair]
    ablated: tuple[Sequence[str], Sequence[str]] | None
    """Both texts of the test pairs without keywords; None where there is no list of them."""
    replaced: tuple[int, ...]
    """Words replaced in each test pair."""
    keywords: int
    neutral: Sequence[str]
    within_chat: bool = False
    """Whether each text is read as the answer to its pair's prompt, as pooling `answer` needs."""

    @classmethod
    def of(
        cls,
        train: Sequence[Pair],
        test: Sequence[Pair],
        concept: str,
        keywords: Mapping[str, str] | None,
        pooling: str = "mean",
    ) -> Texts:
        """The texts for pairs that are split already. DataError if nothing is left to test on."""
        within_chat = pooling == "answer"
        if not test:
            raise DataError(f"{len(train)} pairs are too few to keep one out for testing: give at least 4")
        words = keywords or _known(concept)
        neutral = read_texts(shipped("neutral"))
        if words is None:
            return cls(train, test, None, (), 0, neutral, within_chat)
        high, low, counts = ablate_pairs([p.positive for p in test], [p.negative for p in test], words)
        return cls(train, test, (high, low), counts, len(words), neutral, within_chat)

    @property
    def all(self) -> list[Text]:
        """Training pairs, test pairs, ablated ones, neutral texts; of pairs first every positive text."""
        pairs = [[p.positive for p in part] + [p.negative for p in part] for part in (self.train, self.test)]
        high, low = self.ablated or ((), ())
        texts = [*pairs[0], *pairs[1], *high, *low, *self.neutral]
        if not self.within_chat:
            return list(texts)
        asked = [*self.train] * 2 + [*self.test] * (4 if self.ablated else 2)
        return _answers([*map(prompt_of, asked), *([ANY_PROMPT] * len(self.neutral))], texts)

    def parts(self, residuals: FloatArray) -> tuple[Examples | None, Examples, Ablated | None, FloatArray]:
        """Residuals (texts, layers, width) of `all`, as the statistics need them. DataError for pairs of no use."""
        n, m = len(self.train), len(self.test)
        at = 2 * n + 2 * m
        train = Examples.of(self.train, residuals[:n], residuals[n : 2 * n]) if n else None
        test = Examples.of(self.test, residuals[2 * n : 2 * n + m], residuals[2 * n + m : at])
        ablated = None
        if self.ablated:
            ablated = Ablated(residuals[at : at + m], residuals[at + m : at + 2 * m], self.replaced, self.keywords)
            at += 2 * m
        return train, test, ablated, residuals[at:]


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """A probe, whether to believe it, and the scores that this rests on."""

    vector: Vector
    validation: Validation
    positive: FloatArray
    """Scores (pairs, layers) of the positive test texts, as dot products."""
    negative: FloatArray
    ablated: tuple[FloatArray, FloatArray] | None
    """The same without their keywords, both poles."""
    neutral: FloatArray
    """Scores (texts, layers) of the neutral texts."""

    @property
    def layers(self) -> list[int]:
        """The layers of the probe, ascending."""
        return [each.layer for each in self.validation.layers]

    def as_json(self) -> dict[str, Any]:
        """The validation with `scores` beside it: a list for every layer, in the order of its `layers`."""
        scores: dict[str, Any] = {
            "positive": _rounded(self.positive),
            "negative": _rounded(self.negative),
            "neutral": _rounded(self.neutral),
        }
        if self.ablated:
            scores |= {"ablated_positive": _rounded(self.ablated[0]), "ablated_negative": _rounded(self.ablated[1])}
            scores["ablated_auroc"] = aurocs(self.ablated[0].T, self.ablated[1].T).tolist()
        thresholds = [self.vector.directions[each.layer].threshold for each in self.validation.layers]
        about = {"concept": self.vector.concept, "origin": asdict(self.vector.origin), "scale": self._scale()}
        return {**self.validation.as_json(), **about, "scores": {**scores, "threshold": thresholds}}

    def _scale(self) -> list[float]:
        return [self.vector.directions[each.layer].scale for each in self.validation.layers]


def study(
    model: Model,
    pairs: Sequence[Pair],
    choices: Choices,
    *,
    test: Sequence[Pair] | None = None,
    layers: Sequence[int] | None = None,
    capturing: Callable[[Amount], None] = lambda amount: None,
    progress: Callable[[str], None] = lambda step: None,
) -> Study:
    """Fit on some pairs, at `layers` or at all, and measure on the others, or on the `test` pairs if they are given.
    DataError, UsageError or EngineError."""
    texts = texts_of(pairs, choices, test)
    numbers = model.layers(layers)
    capture = Capture(model.engine, texts.all, numbers, choices.pooling, limit=LIMIT)
    for amount in capture:
        capturing(amount)
    return conclude(choices, texts, capture.residuals, numbers, model.info, model.scale, progress)


def texts_of(pairs: Sequence[Pair], choices: Choices, test: Sequence[Pair] | None = None) -> Texts:
    """The texts of a study: all pairs to fit on if there are `test` pairs, else split by the choices. DataError if a
    test pair is to be fitted on too."""
    if test is None:
        train, test = split(pairs, test_fraction=choices.test_fraction, seed=choices.seed)
    else:
        train = list(pairs)
        known = {pair.hash for pair in train}
        for pair in test:
            if pair.hash in known:
                raise DataError(f"the test pair of line {pair.line} is a training pair too: take it out of one file")
    return Texts.of(train, test, choices.concept, choices.keywords, choices.pooling)


def conclude(
    choices: Choices,
    texts: Texts,
    residuals: FloatArray,
    layers: Sequence[int],
    info: Info,
    scale: FloatArray,
    progress: Callable[[str], None] = lambda step: None,
) -> Study:
    """Fit and validate on what was captured: residuals (texts, layers, width) of `texts.all`. `scale` is the model's,
    for all its layers. `progress` is told each step as it begins, and may end the work by raising."""
    progress("fitting")
    train = texts.parts(residuals)[0]
    if train is None:
        raise DataError("there are no training pairs to fit on")
    vector = fit_vector(
        choices.concept,
        info,
        texts.train,
        train.poles,
        layers,
        scale,
        method=choices.method,
        pooling=choices.pooling,
        seed=choices.seed,
    )
    found = examine(vector, texts, residuals, info.layers, effort=choices.effort, seed=choices.seed, progress=progress)
    measures = {each.layer: each.measures for each in found.validation.layers}
    return replace(found, vector=with_measures(vector, measures))


def examine(
    vector: Vector,
    texts: Texts,
    residuals: FloatArray,
    model_layers: int,
    *,
    effort: Effort = _USUAL,
    seed: int = 0,
    progress: Callable[[str], None] = lambda step: None,
) -> Study:
    """Validate a probe that is there: residuals (texts, layers, width) of `texts.all` at its layers."""
    from threadpoolctl import threadpool_limits

    layers = sorted(vector.directions)
    probe = probe_of(vector, layers)
    train, test, ablated, neutral = texts.parts(residuals)
    with threadpool_limits(limits=1):  # many small matrices: threads cost more than they give
        found = validate(
            train,
            test,
            layers=layers,
            method=vector.origin.method,
            probe=probe,
            layer=vector.layer(),
            candidates=[layers[i] for i in candidates(model_layers, layers)],
            ablated=ablated,
            neutral_residuals=neutral,
            effort=effort,
            seed=seed,
            progress=progress,
        )
    without = (probe.scores(ablated.positive), probe.scores(ablated.negative)) if ablated else None
    return Study(
        vector, found, probe.scores(test.positive), probe.scores(test.negative), without, probe.scores(neutral)
    )


def pairs_in(pairs: Sequence[Pair], pooling: str) -> list[Text]:
    """The texts of pairs as a pooling reads them: every positive text, then every negative one."""
    texts = [pair.positive for pair in pairs] + [pair.negative for pair in pairs]
    return _answers([prompt_of(pair) for pair in pairs] * 2, texts) if pooling == "answer" else list(texts)


def _answers(prompts: Sequence[str], texts: Sequence[str]) -> list[Text]:
    return [Exchange(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]


def _known(concept: str) -> dict[str, str] | None:
    try:
        return shipped_keywords(concept)
    except DataError:
        return None


def _rounded(scores: FloatArray) -> list[list[float]]:
    """(texts, layers) as a list for every layer."""
    return [[float(f"{score:.6g}") for score in layer] for layer in scores.T]
