"""The fake engine: a small real transformer with random weights, in numpy, for tests and for authors of engines.

It needs no download, loads at once and gives the same numbers on every machine, yet nothing is mocked: it has
residuals, attention over a KV cache, log-probabilities and a tokenizer. Read `engine` first, then `stream`.
"""

from __future__ import annotations

import numpy as np

from localprobe.engine import Availability, Engine, LoadOptions, Weights, WeightsFormat
from localprobe.errors import UsageError
from localprobe.fake.engine import FakeEngine, Fault
from localprobe.fake.transformer import CONTEXT

__all__ = ["FakeEngine", "Fault", "backend"]


class FakeBackend:
    """Registered as `fake`. It ignores the weights' path: its numbers come from a seed."""

    name = "fake"
    formats: tuple[WeightsFormat, ...] = ("fake",)

    def available(self) -> Availability:
        return Availability(installed=True, version=f"numpy {np.__version__}", device="cpu")

    def load(self, weights: Weights, options: LoadOptions) -> Engine:
        # An unsupported option raises an error; it is never ignored silently.
        if options.dtype not in (None, "float32"):
            raise UsageError(f"the fake engine computes in float32, not {options.dtype}: leave dtype out")
        if options.device not in (None, "cpu"):
            raise UsageError(f"the fake engine runs on the cpu, not {options.device}: leave device out")
        if options.quantise is not None:
            raise UsageError(f"the fake engine does not quantise: leave {options.quantise} out")
        context = min(options.context or CONTEXT, CONTEXT)
        return FakeEngine(name=weights.name, context=context, template_args=options.template_args)


backend = FakeBackend()
