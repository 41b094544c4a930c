"""The direction of a concept, from nothing but its words: write pairs, check, fit, validate, keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localprobe.capture.job import Amount
from localprobe.concepts import PAIRS, TEMPERATURE, TOKENS
from localprobe.concepts.concept import Concept
from localprobe.concepts.written import FEWEST, Writing, Written, write
from localprobe.contrast.scenario_file import SITUATIONS, read_scenarios
from localprobe.errors import UsageError
from localprobe.generators.generator import Generator, LocalModel
from localprobe.model import Model
from localprobe.probing.config import ProbeConfig
from localprobe.probing.fit import fit
from localprobe.probing.recorded import record
from localprobe.probing.report import ProbeReport
from localprobe.probing.verdict import objection
from localprobe.store.json_values import to_json
from localprobe.vectors.library import Library


@dataclass(frozen=True, slots=True)
class ConceptDirection:
    """What became of two words."""

    concept: Concept
    report: ProbeReport
    written: Written
    file: Path
    """The vector's file in the library."""
    replaced: bool
    """Whether the file held an earlier vector of that name for these weights."""

    @property
    def advice(self) -> str:
        """What to do where the verdict is bad; empty where it is not."""
        if objection(self.report.result) is None:
            return ""
        return (
            "This is not yet a direction to rely on. More pairs may help (`pairs`), a bigger model or an endpoint that "
            "writes them (`generators`), or other words (`against`)."
        )

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "run": self.report.run,
            "name": self.concept.word,
            "against": self.concept.opposite,
            "file": str(self.file),
            "replaced": self.replaced,
            "pairs_file": self.written.pairs.source,
            **self.written.to_json(),
            "advice": self.advice,
            "result": to_json(self.report.result),
        }


def direction(
    model: Model,
    concept: Concept,
    config: ProbeConfig = ProbeConfig(),
    *,
    generators: Sequence[Generator] = (),
    pairs: int = PAIRS,
    temperature: float = TEMPERATURE,
    tokens: int = TOKENS,
    output: Path | None = None,
    writing: Writing = lambda outcome, done, total: None,
    notify: Callable[[str], None] = lambda line: None,
    capturing: Callable[[Amount], None] = lambda amount: None,
    progress: Callable[[str], None] = lambda step: None,
) -> ConceptDirection:
    """Find the direction of a concept in a model; see `localprobe.api.concept`."""
    checked_size(pairs, config)
    path = Library().path(concept.word, model.info.weights)
    writers = writers_for(model, generators)
    written = write(
        concept,
        concept.recipe(read_scenarios(SITUATIONS.path("varied")), pairs, temperature, tokens, config.seed),
        writers,
        output or concept.file([writer.name for writer in writers]),
        seed=config.seed,
        writing=writing,
        notify=notify,
    )
    for line in written.notices():
        notify(line)
    report = fit(model, written.pairs.pairs, config, concept=concept.word, capturing=capturing, progress=progress)
    replaced = path.is_file()
    Library().keep(report.vector)
    hashes = {f"pairs {written.pairs.source}": written.pairs.hash}
    report = record(report, "validate", pairs=written.pairs.source, hashes=hashes)
    return ConceptDirection(concept, report, written, path, replaced)


def writers_for(model: Model, generators: Sequence[Generator]) -> list[Generator]:
    """The generators, or the model itself if there are none; one that would load this model again uses it instead."""
    own = [isinstance(generator, LocalModel) and generator.would_load(model.info) for generator in generators]
    writers = [LocalModel.of(model) if same else writer for same, writer in zip(own, generators, strict=True)]
    return writers or [LocalModel.of(model)]


def checked_size(pairs: int, config: ProbeConfig) -> None:
    """UsageError for too few pairs to fit on and to test on, said before anything is written."""
    if pairs < FEWEST:
        raise UsageError(f"`pairs` {pairs}: a probe takes at least {FEWEST}")
    if pairs * config.test_fraction < 2:
        raise UsageError(
            f"`test_fraction` {config.test_fraction:g} of {pairs} pairs leaves fewer than two to test on: raise it"
        )
