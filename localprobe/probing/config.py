"""How a probe is fitted and tested: all options, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from localprobe.contrast.pairs import TEST_FRACTION
from localprobe.errors import UsageError

MethodName: TypeAlias = Literal["mean-difference", "logistic", "pca", "lda"]
"""The keys of `localprobe.probing.methods.METHODS`, for code that only needs the names."""
PoolingName: TypeAlias = Literal["mean-without-first", "mean", "last", "answer"]
"""The poolings of `localprobe.capture.residuals` that give one residual per text."""
METHOD: MethodName = "mean-difference"
POOLING: PoolingName = "mean-without-first"
"""The one default pooling. The first token is an attention sink whose norm is several times the rest, so its residual
is left out of the mean. The paper averages over all tokens (`mean`), which `localprobe reproduce` states."""
TOKEN_LIMIT = 512
"""Tokens that a text is cut to, as the paper does."""


@dataclass(frozen=True, slots=True)
class ProbeConfig:
    """The choices of `localprobe.probing.fit.fit`. UsageError if one is out of range."""

    method: str = METHOD
    """A name in `localprobe.probing.methods.METHODS`."""
    pooling: str = POOLING
    """A `localprobe.capture.residuals.Pooling` other than `tokens`."""
    test_fraction: float = TEST_FRACTION
    """Share of each scenario's pairs held out of the fit; 0 fits on every pair and measures nothing."""
    seed: int = 0
    """Seeds the split, the choice of a layer, and all resampling."""
    resamples: int = 2000
    """Bootstrap resamples of each confidence interval."""
    permutations: int = 1000
    """Relabellings of the permutation test. Its p is 1 / (1 + permutations) or more: fewer than 19 never reach 0.05."""
    random_directions: int = 100
    """Random unit vectors at each layer."""
    special_tokens: bool = False
    """Read special tokens that are written in the texts, such as `<|im_start|>`, as tokens and not as characters."""

    def __post_init__(self) -> None:
        if not 0 <= self.test_fraction < 1:
            raise UsageError(f"`test_fraction` must be at least 0 and below 1, not {self.test_fraction}")
        if self.special_tokens and self.pooling == "answer":
            raise UsageError("`special_tokens` is for texts of their own: with pooling answer the template writes them")
        for name, least in (("resamples", 1), ("permutations", 1), ("random_directions", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"`{name}` must be at least {least}, not {getattr(self, name)}")
