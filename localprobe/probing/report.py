"""What `fit` returns: the probe as a vector, and its figures."""

from __future__ import annotations

from dataclasses import dataclass

from localprobe.probing.result import LayerResult, ProbeResult, Verdict
from localprobe.vectors.vector import Vector


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ProbeReport:
    """A fitted probe and what it was measured to do."""

    vector: Vector
    """The probe: one direction per layer, `vector.best` the cross-validated layer."""
    result: ProbeResult
    """Every figure, as runs keep it."""
    run: str = ""
    """Id of the run that holds the result; empty if it was not recorded."""

    @property
    def verdict(self) -> Verdict | None:
        """What the probe shows and does not show; None unless it was validated."""
        return self.result.verdict

    @property
    def layer(self) -> int:
        """The cross-validated layer: chosen inside the training pairs."""
        return self.result.layer

    @property
    def layers(self) -> tuple[LayerResult, ...]:
        """The figures of each layer on the pairs held out; empty where fewer than two were."""
        return self.result.layers

    def __repr__(self) -> str:
        result = self.result
        measured = f", AUROC {result.chosen.auroc:.2f} on {result.test_pairs} pairs" if result.layers else ""
        return f"<ProbeReport {result.name}: layer {result.layer}{measured}>"
