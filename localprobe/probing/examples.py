"""Contrast pairs with their residuals, as the statistics of probes need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import FloatArray
from localprobe.errors import DataError
from localprobe.probing.probe import check_poles

if TYPE_CHECKING:
    from localprobe.contrast.pairs import Pair


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Both poles of some pairs; row i of everything is one pair."""

    positive: FloatArray
    """(pairs, layers, width) float32."""
    negative: FloatArray
    positive_texts: tuple[str, ...] = ()
    """Empty where the texts are not known, as of arrays captured by another tool."""
    negative_texts: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    """What each pair is about; empty if the pairs do not say."""
    generators: tuple[str, ...] = ()
    """Who wrote each pair; empty if the pairs do not say."""

    @classmethod
    def of(cls, pairs: Sequence[Pair], positive: FloatArray, negative: FloatArray) -> Examples:
        """Of pairs as they are read from a file, whose `generator` field says who wrote them. DataError if only some
        of them name their scenario or generator, or if the residuals cannot be used."""
        return cls(
            positive,
            negative,
            tuple(pair.positive for pair in pairs),
            tuple(pair.negative for pair in pairs),
            _names([pair.scenario for pair in pairs], "scenario"),
            _names([str(pair.metadata.get("generator", "")) for pair in pairs], "generator"),
        ).checked()

    def checked(self, *, least: int = 2) -> Examples:
        """Itself; DataError if there are fewer than `least` pairs, residuals are not finite, or lengths differ."""
        check_poles(self.positive, self.negative, least=least)
        for what, names in (("scenario", self.scenarios), ("generator", self.generators)):
            _names(names, what)
        texts = (self.positive_texts, self.negative_texts) if self.positive_texts or self.negative_texts else ()
        lengths = {len(self.positive), *map(len, texts)}
        lengths |= {len(names) for names in (self.scenarios, self.generators) if names}
        if len(lengths) > 1:
            raise DataError(f"residuals of {len(self.positive)} pairs, but texts or names of {sorted(lengths)}")
        return self

    def __len__(self) -> int:
        return len(self.positive)

    @property
    def poles(self) -> tuple[FloatArray, FloatArray]:
        """(positive, negative)."""
        return self.positive, self.negative

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Examples:
        """Some of the pairs, by a mask or by indices."""
        index = np.arange(len(self))[chosen].tolist()

        def some(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[i] for i in index) if values else ()

        return Examples(
            self.positive[chosen],
            self.negative[chosen],
            some(self.positive_texts),
            some(self.negative_texts),
            some(self.scenarios),
            some(self.generators),
        )

    def joined(self, other: Examples) -> Examples:
        """These pairs, then the other ones; names that only one of the two has are dropped."""

        def both(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
            return first + second if first and second else ()

        return Examples(
            np.concatenate([self.positive, other.positive]),
            np.concatenate([self.negative, other.negative]),
            self.positive_texts + other.positive_texts,
            self.negative_texts + other.negative_texts,
            both(self.scenarios, other.scenarios),
            both(self.generators, other.generators),
        )


def _names(names: Sequence[str], what: str) -> tuple[str, ...]:
    """The names if every pair has one, none if no pair has; DataError names the first pair that lacks one."""
    if not any(names):
        return ()
    if not all(names):
        raise DataError(f"pair {list(names).index('') + 1} has no {what}, but others have: name it for all or for none")
    return tuple(names)
