"""Whether weights must be tried in a child process before they are loaded in this one.

llama.cpp is C++: on a damaged file it may abort, which would end a command without a message and a notebook with all
that it holds. So a GGUF file is first loaded in a child, where the canary runs a few passes too, as some faults show
only in a pass. That it went well is remembered for these weights, engine, version, device and options, so the next load
has no child. Engines that read folders do so in Python, which raises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from localprobe.engine import Backend, LoadOptions, Weights
from localprobe.store import memo

_KIND = "trials"


@dataclass(frozen=True)
class Trial:
    """A trial of weights on an engine; `checked` is whether the canary is part of it."""

    backend: Backend
    weights: Weights
    options: LoadOptions
    checked: bool

    @property
    def needed(self) -> bool:
        """Whether the weights may abort their process, and have not been tried."""
        return self.weights.format == "gguf" and memo.recall(_KIND, self._key) is None

    def passed(self) -> None:
        """Remember that it went well."""
        memo.keep(_KIND, self._key, True)

    @cached_property
    def _key(self) -> list[str]:
        engine = self.backend.available()
        options = replace(self.options, template_args=())  # the core's own
        about = [self.backend.name, engine.version, engine.device, str(options), str(self.checked)]
        return [self.weights.fingerprint, *about]
