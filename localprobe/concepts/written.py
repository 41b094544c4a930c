"""The pairs of a concept: written or resumed, read back, checked, and rid of lines that a probe cannot be fitted on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localprobe.concepts.concept import Concept
from localprobe.contrast.check import Checked, check
from localprobe.contrast.pair_set import PairSet
from localprobe.contrast.pairs import Pair, read_pairs
from localprobe.errors import DataError
from localprobe.generators.generate import GeneratedPair, Generation, Recipe, planned_pairs
from localprobe.generators.generator import Generator

FEWEST = 8
"""Fewer pairs than this are not fitted on: two or three would be left to test the probe."""
FEW_BAD = 0.2
"""Up to this share of lines with errors is left out; with more, something is wrong with the whole set."""

Writing = Callable[[GeneratedPair, int, int], None]
"""Told of each pair as it is written or rejected, how many are done now, and how many there are to make."""


@dataclass(frozen=True, slots=True)
class Written:
    """The pairs of a concept, ready to fit on, and how they came about."""

    pairs: PairSet
    checked: Checked
    """What `data check` finds in them."""
    written: int
    """Pairs made now."""
    already: int
    """Pairs that the file held before."""
    rejected: int
    """Pairs that were refused or empty, now or before."""
    rejected_file: Path
    dropped: tuple[int, ...]
    """Lines of the file that are not used, as the check found errors in them."""
    named: tuple[int, int]
    """Positive and negative texts that hold one of the concept's own words."""

    def notices(self) -> list[str]:
        """What the user should know about the pairs before trusting a probe of them."""
        lines = []
        if self.rejected:
            lines.append(f"{self.rejected} pairs were refused, empty or too short: {self.rejected_file}")
        if self.dropped:
            lines.append(f"lines {', '.join(map(str, self.dropped))} are not used: a text stands in both poles")
        if any(self.named):
            positive, negative = self.named
            lines.append(
                f"the words themselves occur in {positive} positive and {negative} negative texts, although the "
                "writer was told not to name them: the probe may read those words"
            )
        return lines

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "pairs": len(self.pairs),
            "written": self.written,
            "already": self.already,
            "rejected": self.rejected,
            "rejected_file": str(self.rejected_file),
            "dropped_lines": list(self.dropped),
            "texts_with_the_word": list(self.named),
            "check": self.checked.as_json(),
        }


def write(
    concept: Concept,
    recipe: Recipe,
    generators: Sequence[Generator],
    output: Path,
    *,
    seed: int = 0,
    writing: Writing = lambda outcome, done, total: None,
    notify: Callable[[str], None] = lambda line: None,
) -> Written:
    """Write what `output` does not hold yet, then check all of it. `seed` is of the split that will test the probe.

    Lines of the file that were made by other settings stay there and are not used. Raises DataError for fewer than
    `FEWEST` pairs or more than `FEW_BAD` of them with errors, EndpointError or EngineError if a generator fails,
    LocalprobeError if the disk refuses. What was written before an error is kept.
    """
    with Generation(recipe, generators, output, notify=notify) as generation:
        total, accepted = len(generation.pending), 0
        for done, outcome in enumerate(generation, 1):
            accepted += outcome.accepted
            writing(outcome, done, total)
        already, rejected = generation.already, total - accepted + generation.refused_before
    if already + accepted < FEWEST:
        raise DataError(
            f"only {already + accepted} of {already + accepted + rejected} pairs can be used, and a probe takes at "
            f"least {FEWEST}: see {generation.rejected_path}, then ask for more `pairs` or another generator"
        )
    keys = {pair.key for pair in planned_pairs(recipe, generators)}
    pairs = [pair for pair in read_pairs(output) if pair.metadata.get("key") in keys]
    sound, dropped = without_errors(pairs, output, seed)
    return Written(
        PairSet(concept.word, tuple(sound), str(output)),
        check(sound, seed=seed),
        accepted,
        already,
        rejected,
        generation.rejected_path,
        dropped,
        concept.named(sound),
    )


def without_errors(pairs: Sequence[Pair], source: Path, seed: int) -> tuple[list[Pair], tuple[int, ...]]:
    """The pairs without those that `data check` finds an error in, and the lines of these. DataError if they are too
    many, or too few pairs are left."""
    errors = [finding for finding in check(pairs, seed=seed).findings if finding.severity == "error"]
    bad = {line for finding in errors for line in finding.lines}
    sound = [pair for pair in pairs if pair.line not in bad]
    if len(bad) > FEW_BAD * len(pairs) or len(sound) < FEWEST:
        kinds = ", ".join(dict.fromkeys(finding.kind for finding in errors))
        raise DataError(
            f"{len(bad)} of {len(pairs)} pairs cannot be used ({kinds}): see `localprobe data check {source}`, then "
            "take another generator, a higher `temperature` or other words"
        )
    return sound, tuple(sorted(bad))
