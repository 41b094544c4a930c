"""Contrast pairs with their residuals, for the statistics of probes."""

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
    """Both poles of some pairs; row i of each field is one pair."""

    positive: FloatArray
    """(pairs, layers, width) float32."""
    negative: FloatArray
    positive_texts: tuple[str, ...] = ()
    """Empty if unknown, as for arrays captured by another tool."""
    negative_texts: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    """What each pair is about; empty if the pairs do not say."""
    generators: tuple[str, ...] = ()
    """Who wrote each pair; empty if the pairs do not say."""

    @classmethod
    def of(cls, pairs: Sequence[Pair], positive: FloatArray, negative: FloatArray) -> Examples:
        """From pairs of a file and their residuals. Raises DataError if only some pairs name their scenario or
        generator, or if the residuals cannot be used."""
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
        for field, names in (("scenario", self.scenarios), ("generator", self.generators)):
            _names(names, field)
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

    def rows(self, selection: NDArray[np.bool_] | NDArray[np.int64]) -> Examples:
        """Some of the pairs, by a mask or by indices."""
        index = np.arange(len(self))[selection].tolist()

        def some(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[i] for i in index) if values else ()

        return Examples(
            self.positive[index],
            self.negative[index],
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


def _names(names: Sequence[str], field: str) -> tuple[str, ...]:
    """The names if all pairs have one; empty if none has. DataError names the first pair that lacks one."""
    if not any(names):
        return ()
    if not all(names):
        raise DataError(
            f"pair {list(names).index('') + 1} has no {field}, but others have: name it for all or for none"
        )
    return tuple(names)
