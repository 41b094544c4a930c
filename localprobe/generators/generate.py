"""Generating pairs as the paper did: the same scenarios under two opposite system prompts, rotating over generators.

Each planned pair has a scenario, a run number and a generator. Its key, a hash of all that its texts depend on, is
recorded in its line, so a run that is started again generates only the pairs missing from its file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localprobe.contrast.duplicates import normal
from localprobe.contrast.refusals import fault
from localprobe.contrast.scenarios import Scenario
from localprobe.contrast.system_prompts import SystemPrompts
from localprobe.errors import LocalprobeError
from localprobe.generators.generator import Completion, Generator, TextRequest
from localprobe.generators.lines import Lines
from localprobe.store.paths import lock
from localprobe.terminal_text import tell
from localprobe.version import __version__

POLES = ("positive", "negative")
LEAST_WORDS = 10
"""Minimum number of words of an answer to a scenario."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which pairs to generate."""

    scenarios: tuple[Scenario, ...]
    prompts: SystemPrompts
    runs: int = 1
    """Number of pairs per scenario."""
    temperature: float = 0.7
    tokens: int = 300
    """Maximum number of tokens of a text."""
    seed: int = 0
    most: int | None = None
    """Maximum number of pairs; None for all."""


@dataclass(frozen=True, slots=True, eq=False)
class PlannedPair:
    """One pair to be generated."""

    scenario: str
    prompt: str
    """The user's message to the generator."""
    run: int
    generator: Generator
    recipe: Recipe
    domain: str = ""
    """What several scenarios have in common; empty if this one stands alone."""

    @property
    def key(self) -> str:
        """Hash of all that the two texts depend on."""
        recipe = self.recipe
        content = [self.scenario, self.prompt, self.run, self.generator.name, recipe.prompts.hash]
        return _hash([*content, recipe.temperature, recipe.tokens, recipe.seed])[:16]

    def request(self, pole: str, attempt: int) -> TextRequest:
        """The request for one pole; each attempt has another seed."""
        recipe = self.recipe
        seed = int(_hash([self.key, pole, attempt])[:8], 16) >> 1  # 31 bits: servers parse it as a signed integer
        return TextRequest(getattr(recipe.prompts, pole), self.prompt, seed, recipe.temperature, recipe.tokens)


@dataclass(frozen=True, slots=True)
class GeneratedPair:
    """A finished pair: a line of the output file, or of the file of rejected pairs."""

    record: dict[str, Any]
    accepted: bool
    tokens: int
    """Number of tokens generated for it."""


def planned_pairs(recipe: Recipe, generators: Sequence[Generator]) -> list[PlannedPair]:
    """All pairs to generate, in order.

    Generators rotate over runs and scenarios, so that every scenario is written by all of them. Those that load a model
    into memory come last, one after another.
    """
    pairs = [
        PlannedPair(scenario.id, prompt, run, generators[(place + run) % len(generators)], recipe, scenario.domain)
        for run in range(recipe.runs)
        for place, scenario in enumerate(recipe.scenarios)
        for prompt in [_prompt(scenario, recipe.prompts)]
    ]
    first = pairs[: recipe.most]
    return sorted(first, key=lambda pair: generators.index(pair.generator) if pair.generator.in_memory else -1)


class Generation(AbstractContextManager["Generation"]):
    """Pairs being generated into a file. Use it as a context manager, and iterate over it to do the work.

    An unusable answer (`localprobe.contrast.refusals`) is retried `retries` times with other seeds. Then its pair goes
    to the file of rejected pairs, and is not tried again while it is there. Raises DataError if
    `output` is not JSONL, LocalprobeError if it cannot be written or another process is writing it.
    """

    def __init__(
        self,
        recipe: Recipe,
        generators: Sequence[Generator],
        output: Path,
        *,
        retries: int = 2,
        notify: Callable[[str], None] = tell,
    ) -> None:
        self.rejected_path = output.with_name(f"{output.name}.rejected.jsonl")
        self._generators, self._retries = generators, retries
        with ExitStack() as stack:
            stack.enter_context(_alone(output))
            self._output = stack.enter_context(Lines(output, notify))
            self._rejected = stack.enter_context(Lines(self.rejected_path, notify))
            planned = planned_pairs(recipe, generators)
            stored, refused = (
                {str(record.get("key")) for record in file.records} for file in (self._output, self._rejected)
            )
            self.pending = [pair for pair in planned if pair.key not in stored | refused]
            """Pairs still to be generated."""
            self.already = sum(pair.key in stored for pair in planned)
            """Number of planned pairs that the file holds."""
            self.refused_before = sum(pair.key in refused - stored for pair in planned)
            """Number of planned pairs that were rejected before."""
            self.others = len(self._output.records) - self.already
            """Number of other lines in the file, e.g. written with other settings."""
            self._open = stack.pop_all()

    def __iter__(self) -> Iterator[GeneratedPair]:
        """Generate the pending pairs. Each is on disk before it is yielded."""
        for generator in {id(pair.generator): pair.generator for pair in self.pending}.values():
            generator.ready()
        current: Generator | None = None
        for pair in self.pending:
            if current is not None and pair.generator is not current and current.in_memory:
                current.rest()
            current = pair.generator
            generated = self._make(pair)
            (self._output if generated.accepted else self._rejected).append(generated.record)
            yield generated

    def _make(self, pair: PlannedPair) -> GeneratedPair:
        started = _now()
        answers: dict[str, Completion] = {}
        seeds: dict[str, int] = {}
        faults: list[dict[str, Any]] = []
        tokens = 0
        # At temperature 0 the seed has no effect.
        for attempt in range(1 + self._retries if pair.recipe.temperature > 0 else 1):
            requests = {pole: pair.request(pole, attempt) for pole in POLES if pole not in answers}
            for (pole, request), answer in zip(
                requests.items(), pair.generator.answer(list(requests.values())), strict=True
            ):
                tokens += answer.tokens
                if why := _fault(answer):
                    faults.append({"pole": pole, "seed": request.seed, "why": why, "text": answer.text})
                else:
                    answers[pole], seeds[pole] = answer, request.seed
            if len(answers) == 2 and normal(answers["positive"].text) == normal(answers["negative"].text):
                same = answers.pop("negative")
                faults.append(
                    {"pole": "negative", "seed": seeds.pop("negative"), "why": "the same text", "text": same.text}
                )
            if len(answers) == 2:
                break
        accepted = len(answers) == 2
        record = _record(pair, answers, seeds, faults, accepted)
        return GeneratedPair({**record, "started": started, "finished": _now()}, accepted, tokens)

    def close(self) -> None:
        """Free the generators and close the files."""
        for generator in self._generators:
            generator.rest()
        self._open.close()

    def __exit__(self, *raised: object) -> None:
        self.close()


def _record(
    pair: PlannedPair,
    answers: dict[str, Completion],
    seeds: dict[str, int],
    faults: list[dict[str, Any]],
    accepted: bool,
) -> dict[str, Any]:
    """The line of a pair: its texts and their provenance."""
    texts = {pole: answers[pole].text for pole in POLES} if accepted else {}
    if accepted:  # rejected texts are not stored in the set, only why they were rejected
        faults = [{name: value for name, value in entry.items() if name != "text"} for entry in faults]
    return {
        "id": f"{pair.scenario}-{pair.key[:8]}",
        **texts,
        "scenario": pair.domain or pair.scenario,
        **({"situation": pair.scenario} if pair.domain else {}),
        "generator": pair.generator.name,
        "model": next((answer.model for answer in answers.values()), None),
        **pair.generator.provenance(),
        "run": pair.run,
        "system_prompts": pair.recipe.prompts.hash,
        "prompt": pair.prompt,
        "temperature": pair.recipe.temperature,
        "tokens": pair.recipe.tokens,
        "seed": pair.recipe.seed,
        "seeds": seeds,
        "finish": {pole: answer.finish for pole, answer in answers.items()},
        "faults": faults,
        "localprobe": __version__,
        "key": pair.key,
    }


def _fault(answer: Completion) -> str | None:
    if answer.finish in ("content_filter", "refusal"):
        return f"a refusal ({answer.finish})"
    return fault(answer.text, least=LEAST_WORDS)


def _prompt(scenario: Scenario, prompts: SystemPrompts) -> str:
    """The user's message: a scenario, and the task."""
    # Parts of a user's scenario may be empty.
    situation = " ".join(part for part in scenario.prompt().split(" ") if part)
    return f"{situation}\n\n{prompts.task}" if prompts.task else situation


def _alone(output: Path) -> AbstractContextManager[Any]:
    """A lock on the output, released when the process ends: two runs would pay for the same pairs twice."""
    from filelock import Timeout

    try:
        return lock(_hash(str(output.absolute()))[:32], timeout=0).acquire()
    except Timeout as error:
        raise LocalprobeError(f"another process is writing {output}: wait for it, or name another file") from error


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
