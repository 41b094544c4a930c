"""Generating pairs as the paper did: the same scenarios under two opposite system prompts, rotating over generators.

Work is cut into cells, one a pair: a scenario, a run and the generator whose turn it is. A cell's key is a hash of all
that its texts depend on, and stands in its line: a run that is started again asks only for what its file does not hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from localprobe.contrast.duplicates import normal
from localprobe.contrast.refusals import fault
from localprobe.contrast.scenarios import Scenario
from localprobe.contrast.system_prompts import SystemPrompts
from localprobe.errors import LocalprobeError
from localprobe.generators.generator import Ask, Completion, Generator
from localprobe.generators.lines import Lines
from localprobe.version import __version__

POLES = ("positive", "negative")
LEAST_WORDS = 10
"""A text with fewer is no answer to a scenario."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What pairs to make."""

    scenarios: tuple[Scenario, ...]
    prompts: SystemPrompts
    runs: int = 1
    """Pairs of each scenario."""
    temperature: float = 0.7
    tokens: int = 300
    """The most tokens of a text."""
    seed: int = 0
    most: int | None = None
    """The most pairs to make; None makes all."""


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One pair to make."""

    scenario: str
    prompt: str
    """What the generator is asked, by the user's message."""
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

    def ask(self, pole: str, attempt: int) -> Ask:
        """The request for one pole; each attempt has a seed of its own."""
        recipe = self.recipe
        seed = int(_hash([self.key, pole, attempt])[:8], 16) >> 1  # 31 bits: servers read it as a signed number
        return Ask(getattr(recipe.prompts, pole), self.prompt, seed, recipe.temperature, recipe.tokens)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A cell that is done: a line of the output file, or of the file of rejected ones."""

    record: dict[str, Any]
    accepted: bool
    tokens: int
    """How many were generated for it."""


def cells(recipe: Recipe, generators: Sequence[Generator]) -> list[Cell]:
    """Every pair to make, in the order in which they are made.

    Generators take turns from run to run and from scenario to scenario, so that none has a scenario to itself. Those
    that take memory come last, one after another.
    """
    planned = [
        Cell(scenario.id, prompt, run, generators[(place + run) % len(generators)], recipe, scenario.domain)
        for run in range(recipe.runs)
        for place, scenario in enumerate(recipe.scenarios)
        for prompt in [_prompt(scenario, recipe.prompts)]
    ]
    made = planned[: recipe.most]
    return sorted(made, key=lambda cell: generators.index(cell.generator) if cell.generator.in_memory else -1)


class Generation:
    """Pairs being generated into a file. Use it as a context manager, and iterate over it to do the work.

    An answer that is none (`localprobe.contrast.refusals`) is asked for `retries` times more, each with another seed;
    then its cell goes to the file of rejected ones, and is not asked for again while it is there. Raises DataError if
    `output` is not JSONL, LocalprobeError if it cannot be written or another process is writing it.
    """

    def __init__(
        self,
        recipe: Recipe,
        generators: Sequence[Generator],
        output: Path,
        *,
        retries: int = 2,
        notify: Callable[[str], None] = print,
    ) -> None:
        self.rejected_path = output.with_name(f"{output.name}.rejected.jsonl")
        self._generators, self._retries = generators, retries
        with ExitStack() as stack:
            stack.enter_context(_alone(output))
            self._output = stack.enter_context(Lines(output, notify))
            self._rejected = stack.enter_context(Lines(self.rejected_path, notify))
            wanted = cells(recipe, generators)
            there, refused = (
                {str(record.get("key")) for record in file.records} for file in (self._output, self._rejected)
            )
            self.pending = [cell for cell in wanted if cell.key not in there | refused]
            """What is still to be made."""
            self.already = sum(cell.key in there for cell in wanted)
            """Pairs asked for that the file holds."""
            self.refused_before = sum(cell.key in refused - there for cell in wanted)
            """Pairs asked for that were rejected before."""
            self.others = len(self._output.records) - self.already
            """Lines of the file that were not asked for now: written under other settings, or by others."""
            self._open = stack.pop_all()

    def __iter__(self) -> Iterator[Outcome]:
        """Make what is pending. Every outcome is on the disk when it is delivered."""
        for generator in {id(cell.generator): cell.generator for cell in self.pending}.values():
            generator.ready()
        current: Generator | None = None
        for cell in self.pending:
            if current is not None and cell.generator is not current and current.in_memory:
                current.rest()
            current = cell.generator
            outcome = self._make(cell)
            (self._output if outcome.accepted else self._rejected).append(outcome.record)
            yield outcome

    def _make(self, cell: Cell) -> Outcome:
        started = _now()
        answers: dict[str, Completion] = {}
        seeds: dict[str, int] = {}
        faults: list[dict[str, Any]] = []
        tokens = 0
        # At temperature 0 another seed changes nothing.
        for attempt in range(1 + self._retries if cell.recipe.temperature > 0 else 1):
            asks = {pole: cell.ask(pole, attempt) for pole in POLES if pole not in answers}
            for (pole, ask), answer in zip(asks.items(), cell.generator.answer(list(asks.values())), strict=True):
                tokens += answer.tokens
                if why := _fault(answer):
                    faults.append({"pole": pole, "seed": ask.seed, "why": why, "text": answer.text})
                else:
                    answers[pole], seeds[pole] = answer, ask.seed
            if len(answers) == 2 and normal(answers["positive"].text) == normal(answers["negative"].text):
                same = answers.pop("negative")
                faults.append(
                    {"pole": "negative", "seed": seeds.pop("negative"), "why": "the same text", "text": same.text}
                )
            if len(answers) == 2:
                break
        accepted = len(answers) == 2
        record = _record(cell, answers, seeds, faults, accepted)
        return Outcome({**record, "started": started, "finished": _now()}, accepted, tokens)

    def close(self) -> None:
        """Free the generators and close the files."""
        for generator in self._generators:
            generator.rest()
        self._open.close()

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _record(
    cell: Cell, answers: dict[str, Completion], seeds: dict[str, int], faults: list[dict[str, Any]], accepted: bool
) -> dict[str, Any]:
    """A line: the texts, and all that it takes to know where they come from."""
    texts = {pole: answers[pole].text for pole in POLES} if accepted else {}
    if accepted:  # what was wrong before is told, but is no text of the set
        faults = [{name: value for name, value in each.items() if name != "text"} for each in faults]
    return {
        "id": f"{cell.scenario}-{cell.key[:8]}",
        **texts,
        "scenario": cell.domain or cell.scenario,
        **({"situation": cell.scenario} if cell.domain else {}),
        "generator": cell.generator.name,
        "model": next((answer.model for answer in answers.values()), None),
        **cell.generator.provenance(),
        "run": cell.run,
        "system_prompts": cell.recipe.prompts.hash,
        "prompt": cell.prompt,
        "temperature": cell.recipe.temperature,
        "tokens": cell.recipe.tokens,
        "seed": cell.recipe.seed,
        "seeds": seeds,
        "finish": {pole: answer.finish for pole, answer in answers.items()},
        "faults": faults,
        "localprobe": __version__,
        "key": cell.key,
    }


def _fault(answer: Completion) -> str | None:
    if answer.finish in ("content_filter", "refusal"):
        return f"a refusal ({answer.finish})"
    return fault(answer.text, least=LEAST_WORDS)


def _prompt(scenario: Scenario, prompts: SystemPrompts) -> str:
    """A scenario, and what to write of it."""
    situation = " ".join(part for part in scenario.prompt().split(" ") if part)  # a user's may lack parts
    return f"{situation}\n\n{prompts.task}" if prompts.task else situation


def _alone(output: Path) -> AbstractContextManager[Any]:
    """A lock on the output that dies with its process: two runs would ask, and pay, for the same pairs."""
    from filelock import FileLock, Timeout

    from localprobe.store.paths import cache

    path = cache() / "locks" / f"{_hash(str(output.absolute()))[:32]}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(path, timeout=0).acquire()
    except Timeout as error:
        raise LocalprobeError(f"another process is writing {output}: wait for it, or name another file") from error


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
