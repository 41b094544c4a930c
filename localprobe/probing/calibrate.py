"""Calibrate a probe: score neutral texts or answers, find its thresholds, and keep them in the vector's file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from localprobe.capture.job import Amount
from localprobe.capture.residuals import Text
from localprobe.chat_template import Exchange, Marked
from localprobe.contrast.pairs import PAIR_SETS, TEXT_SETS, Pair, prompt_of, read_pairs, read_texts
from localprobe.engine import Info, Watch
from localprobe.errors import DataError, VectorError
from localprobe.model import Model
from localprobe.probing import scored
from localprobe.probing.calibration import About, measured
from localprobe.probing.named import Reference
from localprobe.probing.texts import ANY_PROMPT
from localprobe.steering.knob import watch
from localprobe.store.names import is_file, path_of
from localprobe.vectors import calibrated_file
from localprobe.vectors.calibrated import Calibration, Kind, check_fpr, merged
from localprobe.vectors.library import Library, is_path
from localprobe.vectors.vector import Vector

TEXTS = "everyday"
"""The shipped set of neutral texts."""
QUESTIONS = "questions"
"""The shipped set of neutral questions."""


@dataclass(frozen=True, slots=True)
class Neutral:
    """Neutral texts, or neutral questions for the model to answer."""

    texts: tuple[str, ...]
    """Each once."""
    source: str
    """The set or file."""
    answers: int = 0
    """Number of answers to calibrate on; 0 for the texts themselves."""
    tokens: int = 60
    """The most tokens of an answer."""
    temperature: float = 0.7
    seed: int = 0
    notices: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        texts: str | Path | Sequence[str] | None = None,
        field: str | None = None,
        *,
        answers: int | None = None,
        tokens: int = 60,
        seed: int = 0,
    ) -> Neutral:
        """Texts (with `answers`, questions) of a file that `capture` reads, of a set that ships, or given; the shipped
        ones if None. DataError for what cannot be read, or no text."""
        if texts is None:
            texts = QUESTIONS if answers else TEXTS
        if isinstance(texts, str | Path):
            lines, source = read_texts(TEXT_SETS.resolve(texts), field), str(texts)
        else:
            lines, source = list(texts), "the texts given"
        distinct = tuple(dict.fromkeys(line for line in lines if line.strip()))
        if not distinct:
            raise DataError(f"{source} holds no text: give neutral texts to calibrate on")
        left = len(lines) - len(distinct)
        notices = (f"{source}: {left} of {len(lines)} texts are empty or given twice: left out",) if left else ()
        return cls(distinct, source, answers or 0, tokens, seed=seed, notices=notices)

    @property
    def kind(self) -> Kind:
        """What is scored."""
        return "answers" if self.answers else "texts"

    @property
    def asked(self) -> list[str]:
        """The questions in the order they are asked, from the first again after the last."""
        return [self.texts[i % len(self.texts)] for i in range(self.answers)]

    @property
    def sha256(self) -> str:
        """Of all texts, independent of their file."""
        return hashlib.sha256("\0".join(self.texts).encode(errors="surrogatepass")).hexdigest()

    def scores(self, model: Model, watches: Sequence[Watch], special: bool, progress: scored.Progress) -> scored.Scores:
        """Scores of the texts, or of the answers in the order of `asked`."""
        if not self.answers:
            texts: list[Text] = [*map(Marked, self.texts)] if special else [*self.texts]
            return scored.of_texts(model, texts, watches, progress)
        how = {"tokens": self.tokens, "temperature": self.temperature, "seed": self.seed}
        return scored.of_answers(model, self.asked, watches, progress, **how)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Positives:
    """Pairs that a probe was not fitted on."""

    pairs: tuple[Pair, ...] = ()
    source: str = ""
    notices: tuple[str, ...] = ()


def positives_of(vector: Vector, source: str | Path | None = None, **fields: str | None) -> Positives:
    """The pairs of a file or set, or of the set that ships for the vector's concept, without those that it was fitted
    on. None of them if no set is known. DataError for a named file that leaves none."""
    if source is None and vector.concept not in PAIR_SETS.names():
        return Positives()
    named = str(source or vector.concept)
    path = PAIR_SETS.resolve(named)
    pairs = read_pairs(path) if PAIR_SETS.holds(path) else read_pairs(path, **fields)
    fitted = set(vector.origin.trained_on)
    unseen = tuple(pair for pair in pairs if not pair.hashes & fitted)
    if not unseen and source is not None:
        raise DataError(f"every pair of {named} was used to fit this probe: give `positives` that it has not seen")
    unknown = f"vector {vector.concept!r} does not say which pairs it was fitted on: no pair of {named} is left out"
    return Positives(unseen, named if unseen else "", () if fitted else (unknown,))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CalibrationReport:
    """The result of `calibrate`."""

    vector: Vector
    """The vector with its calibrations."""
    calibrations: Mapping[int, tuple[Calibration, ...]]
    """The new ones of each layer: of tokens, then of texts."""
    notices: tuple[str, ...] = ()
    """What a user should know, one line each."""
    path: Path | None = None
    """The file that keeps them; None if they were not kept."""

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row per layer, unit and number of tokens."""
        import pandas as pd

        rows = [
            {
                "layer": layer,
                "unit": each.unit,
                "kind": each.kind,
                "fpr": each.fpr,
                "tokens": knot.tokens,
                "threshold": knot.threshold,
                "low": knot.low,
                "high": knot.high,
                "true_positive": each.true_positive.share if each.true_positive else None,
            }
            for layer, calibrations in self.calibrations.items()
            for each in calibrations
            for knot in each.knots
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        first = next(iter(self.calibrations.values()))[0]
        at = ", ".join(f"{c[0].at():+.3g} at layer {layer}" for layer, c in self.calibrations.items())
        return f"<CalibrationReport {self.vector.concept!r}: a token fires at fpr {first.fpr:g} above {at}>"


def check(vector: str | Path, fpr: float) -> None:
    """UsageError for a rate that is none, VectorError for a vector's file that cannot keep a calibration: before a
    model is run."""
    check_fpr(fpr)
    if is_path(vector) and is_file(path_of(vector)):  # reading it tells best that there is none
        calibrated_file.check(path_of(vector))


def calibrate(
    model: Model,
    vector: Vector,
    fpr: float = 0.01,
    neutral: Neutral | None = None,
    *,
    layers: Sequence[int] | None = None,
    positives: Positives | None = None,
    capturing: Callable[[Amount], None] = lambda amount: None,
) -> CalibrationReport:
    """Find the thresholds of a vector for a false-positive rate at `layers`, or at its best one; nothing is kept.

    `neutral` None takes the shipped texts, `positives` None the pairs of `positives_of`. With neutral answers the
    positives are read as answers too, to their own prompts or to any. Raises UsageError, VectorError, DataError for too
    few texts, and what capturing raises.
    """
    check_fpr(fpr)
    neutral = neutral or Neutral.read()
    positives = positives_of(vector) if positives is None else positives
    vector = vector.within(model.info.model, model.info.layers, model.info.width)
    chosen: Sequence[int | None] = layers or [None]
    numbers = list(dict.fromkeys(vector.layer(layer) for layer in chosen))
    watches = [watch(vector, layer) for layer in numbers]
    special = vector.origin.special_tokens
    scores = neutral.scores(model, watches, special, capturing)
    poles = [
        scored.of_texts(model, texts, watches, capturing) if texts else [] for texts in _poles(positives, neutral.kind)
    ]
    groups = [i % len(neutral.texts) for i in range(len(scores))]
    info = model.info
    about = About(neutral.kind, neutral.source, neutral.sha256, positives.source, info.model, info.weights, info.engine)
    found, notices = {}, [*neutral.notices, *positives.notices]
    for at, layer in enumerate(numbers):
        sides = [[text[at] for text in side] for side in poles]
        found[layer], lines = measured([text[at] for text in scores], groups, fpr, about, *sides)
        notices += lines
    directions = dict(vector.directions)
    for layer, new in found.items():
        directions[layer] = replace(directions[layer], calibrations=merged(directions[layer].calibrations, new))
    return CalibrationReport(replace(vector, directions=directions), found, tuple(dict.fromkeys(notices)))


def keep(report: CalibrationReport, reference: Reference, info: Info) -> CalibrationReport:
    """Write the calibrations into the vector's file: the one that the reference names, or the library's. A vector in
    memory has none, and the report holds it. VectorError for a file that cannot hold them."""
    if isinstance(reference, Vector):
        return report
    if is_path(reference):
        path = path_of(reference)
    elif entry := Library().find(str(reference), info):
        path = entry.path
    else:
        raise VectorError(f"no vector {str(reference)!r} is kept for {info.model}: localprobe fit makes one")
    return replace(report, vector=calibrated_file.keep(path, report.calibrations), path=path)


def _poles(positives: Positives, kind: Kind) -> tuple[list[Text], list[Text]]:
    """Both texts of the pairs; for answers, within a chat."""
    if kind == "texts":
        return [pair.positive for pair in positives.pairs], [pair.negative for pair in positives.pairs]
    asked = [_prompt(pair) for pair in positives.pairs]
    sides = ([pair.positive for pair in positives.pairs], [pair.negative for pair in positives.pairs])
    return tuple([Exchange(p, text) for p, text in zip(asked, side, strict=True)] for side in sides)  # type: ignore[return-value]


def _prompt(pair: Pair) -> str:
    try:
        return prompt_of(pair)
    except DataError:
        return ANY_PROMPT
