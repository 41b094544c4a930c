"""A fake engine that takes its time over every token, by the name that a child process finds it by."""

from __future__ import annotations

import time
from dataclasses import replace

from localprobe.engine import Engine, LoadOptions, Weights
from localprobe.fake import FakeBackend, FakeEngine

DELAY = 0.03


class SlowBackend(FakeBackend):
    """`tests.tui.slow:backend`: tokens come one by one, as from a real model, and no answer ends by itself."""

    name = "tests.tui.slow:backend"

    def load(self, weights: Weights, options: LoadOptions) -> Engine:
        engine = FakeEngine(name=weights.name, delay=DELAY)
        engine.info = replace(engine.info, eos=())
        return engine


class EndlessBackend(FakeBackend):
    """`tests.tui.slow:endless`: a load that never ends."""

    name = "tests.tui.slow:endless"

    def load(self, weights: Weights, options: LoadOptions) -> Engine:
        time.sleep(600)
        return super().load(weights, options)


backend = SlowBackend()
endless = EndlessBackend()
