"""Checking a contrast set before a probe is fitted on it: its measures, and findings with their lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from localprobe.contrast import findings
from localprobe.contrast.findings import Finding, Severity
from localprobe.contrast.pairs import Pair, split
from localprobe.contrast.words import GiveAway, bag_of_words, give_aways, words
from localprobe.errors import DataError
from localprobe.stats.auroc import auroc

_ORDER: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Checked:
    """The measures of a contrast set, and its findings."""

    pairs: int
    test_pairs: int
    """Number of pairs that test the probe: those of the test file, or those held out by the default split."""
    scenarios: dict[str, int]
    """Scenario -> number of pairs."""
    mean_words: tuple[float, float]
    """Mean number of words of a positive and of a negative text."""
    length_auroc: float
    """AUROC of the number of words alone; 0.5 is chance."""
    words_auroc: float
    """Cross-validated AUROC of a bag of words."""
    give_aways: tuple[GiveAway, ...]
    """The words that tell the poles apart best."""
    findings: tuple[Finding, ...]
    """Errors, then warnings, then notes."""

    @property
    def usable(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    @property
    def judgement(self) -> str:
        """One line: whether to fit a probe on this set."""
        kinds = {
            severity: ", ".join(dict.fromkeys(f.kind for f in self.findings if f.severity == severity))
            for severity in _ORDER
        }
        if kinds["error"]:
            return f"Not usable as it stands ({kinds['error']}): mend or remove those lines first."
        if kinds["warning"]:
            return f"Usable with care ({kinds['warning']}): a probe may learn those rather than the concept."
        return "Usable: nothing was found that would make a probe look better than it is."

    def as_json(self) -> dict[str, Any]:
        """All measures and findings as JSON values."""
        return {**asdict(self), "usable": self.usable, "judgement": self.judgement}


def check(pairs: Sequence[Pair], test: Sequence[Pair] | None = None, *, seed: int = 0) -> Checked:
    """Check a set together with the pairs that will test its probe: `test`, or those that `split` holds out for `seed`.

    Raises DataError for fewer than 2 pairs.
    """
    if len(pairs) < 2:
        raise DataError(
            f"{'a single pair' if pairs else 'no pairs'}: a probe needs some to fit on and others to test it; "
            f"write at least 2, better {findings.FEW_PAIRS}"
        )
    positive, negative = [pair.positive for pair in pairs], [pair.negative for pair in pairs]
    counts = np.array([[len(words(text)) for text in pole] for pole in (positive, negative)], dtype=np.float32)
    telling = give_aways(positive, negative)
    held_out = bag_of_words(positive, negative)
    by_length, by_words = auroc(*counts), auroc(*held_out.astype(np.float32))
    tests = split(pairs, seed=seed)[1] if test is None else test
    reported = [
        *findings.contradictions(pairs),
        *findings.words_as_answers(pairs),
        *findings.repetitions(pairs, tests, own_file=test is not None),
        *findings.faults(pairs),
        *findings.special_tokens(pairs),
        *findings.one_word(pairs, telling),
        *findings.swaps(pairs),
        *findings.lexical(pairs, held_out, by_words),
        *findings.lengths(pairs, counts, by_length),
        *findings.size(pairs, tests),
        *findings.scenarios(pairs),
    ]
    return Checked(
        pairs=len(pairs),
        test_pairs=len(tests),
        scenarios=dict(Counter(pair.scenario for pair in pairs)),
        mean_words=(float(counts[0].mean()), float(counts[1].mean())),
        length_auroc=by_length,
        words_auroc=by_words,
        give_aways=tuple(telling[:5]),
        findings=tuple(sorted(reported, key=lambda finding: _ORDER.index(finding.severity))),
    )
