"""An experiment read from TOML. `localprobe sweep --init` writes a commented one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import NoReturn, TypeVar

from msgspec.structs import asdict

from localprobe.chat_template import template_arguments
from localprobe.contrast.pairs import PAIR_SETS
from localprobe.contrast.scenario_file import read_scenarios
from localprobe.contrast.scenarios import Scenario, scenarios
from localprobe.contrast.system_prompts import SYSTEM_PROMPTS, SystemPrompts, read_system_prompts
from localprobe.contrast.tables import SUFFIXES, listed
from localprobe.engine import LoadOptions, Sampler
from localprobe.errors import DataError, UsageError
from localprobe.experiments.experiment import (
    ARMS,
    Experiment,
    JudgeChoice,
    ModelChoice,
    PromptChoice,
    Strengths,
    VectorChoice,
)
from localprobe.experiments.experiment_tables import ExperimentTable, ModelTable, VectorTable
from localprobe.probing.config import ProbeConfig
from localprobe.steering.places import Positions
from localprobe.store.names import path_of
from localprobe.store.shipped import Shipped, unknown
from localprobe.store.toml import read_toml
from localprobe.suggest import one_line, shown
from localprobe.text_metrics.word_lists import WORD_LISTS, WordLists, read_word_lists

T = TypeVar("T")

EXPERIMENTS = Shipped("experiment", "experiments/shipped", ".toml")


def read_experiment(path: Path) -> Experiment:
    """Read an experiment; paths in it are relative to its folder. Raises DataError or UsageError."""
    return _File(path).experiment()


class _File:
    """An experiment's file whose tables are valid one by one; here they are checked against each other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.table = read_toml(path, ExperimentTable)

    def experiment(self) -> Experiment:
        table, arms = self.table, self.table.arms
        own = table.models and all(model.strengths() for model in table.models)
        if set(arms) - {"system"} and not (table.strengths() or own):
            self._wrong("doses", "missing: give strengths, as doses = [-0.3, 0, 0.3] or alphas = [-10, 0, 10]")
        models, vectors = self._models_and_vectors()
        prompts = self._prompts()
        return Experiment(
            name=table.name or self.path.stem,
            concept=table.concept,
            models=models,
            vectors=vectors,
            prompts=prompts,
            strengths=table.strengths() or Strengths("dose", (0.0,)),
            layers=table.layer_choices() or ("best",),
            words=self._words(),
            arms=tuple(arm for arm in ARMS if arm in arms),
            system=self._system() if {"system", "both"} & set(arms) else None,
            samples=table.samples,
            tokens=table.tokens,
            sampler=Sampler(**asdict(table.sampling)),
            positions=self._positions(),
            seed=table.seed,
            measures=table.measures,
            judge=self._judge(prompts),
        )

    def _positions(self) -> str:
        try:
            return str(Positions.parse(self.table.positions))
        except UsageError as error:
            self._wrong("positions", str(error))

    def _models_and_vectors(self) -> tuple[tuple[ModelChoice, ...], tuple[VectorChoice, ...]]:
        models = tuple(map(_model, self.table.models))
        for number, model in enumerate(models, 1):
            try:
                template_arguments(model.options.template_args)
            except UsageError as error:
                self._wrong("template_args", str(error), f"models {number}")
        if twice := _twice(map(str, models)):
            self._wrong("models", f"{twice} is listed twice")
        named = [model.name for model in models]
        vectors = tuple(self._vector(number, table, named) for number, table in enumerate(self.table.vectors, 1))
        if not vectors and set(self.table.arms) - {"system"}:
            self._wrong("vectors", 'missing: name at least one, under [[vectors]], by fit = "empathy" or file = "..."')
        if not models:
            models, vectors = self._own_models(vectors)
        for model in models:
            names = [vector.name for vector in vectors if vector.is_for(model.name)]
            if same := _twice(names):
                self._wrong("vectors", f"{model.name} has two named {same!r}: give each its own name, or its models")
            if not names and vectors:
                self._wrong("vectors", f"none is for {model.name}: add one, or name it under models of one")
        return models, vectors

    def _own_models(self, vectors: Sequence[VectorChoice]) -> tuple[tuple[ModelChoice, ...], tuple[VectorChoice, ...]]:
        """Pair each vector with the model that its file names, for an experiment that names no models."""
        models = [vector.load().origin.model if vector.file else "" for vector in vectors]
        if not models or not all(models):
            self._wrong("models", 'missing: name at least one, as [[models]] and name = "smollm2-135m" under it')
        own = tuple(replace(vector, models=(model,)) for vector, model in zip(vectors, models, strict=True))
        return tuple(ModelChoice(name) for name in dict.fromkeys(models)), own

    def _vector(self, number: int, table: VectorTable, models: Sequence[str]) -> VectorChoice:
        place = f"vectors {number}"
        path = PAIR_SETS.resolve(table.fit, self.path.parent) if table.fit else self._path(table.file or "")
        stranger = next((name for name in table.models or () if name not in models), None)
        if stranger is not None:
            self._wrong(
                "models", f"{shown(stranger)} is not a model of this experiment: it has {listed(models)}", place
            )
        try:
            return VectorChoice(
                name=table.name or path.stem,
                file=path if table.file else None,
                fit=path if table.fit else None,
                probe=ProbeConfig(
                    table.method, table.pooling, table.test_fraction, table.seed, special_tokens=table.special_tokens
                ),
                models=table.models or (),
            )
        except UsageError as error:
            self._wrong("special_tokens", str(error), place)
        except DataError as error:
            self._wrong("fit" if table.fit else "file", str(error), place)

    def _prompts(self) -> tuple[PromptChoice, ...]:
        pressures = sorted(set(self.table.empathy_pressure), reverse=True)
        prompts = [
            choice
            for scenario in self._scenarios()
            for pressure in (pressures if scenario.empathy_pressure else [True])
            if (choice := PromptChoice.of(scenario, pressure=pressure)).text
        ]
        prompts += [
            PromptChoice(table.id, table.title or table.id, table.text, raw=table.raw) for table in self.table.prompts
        ]
        if not prompts:
            self._wrong("scenarios", 'missing: name some, as scenarios = ["the_listener"], or write [[prompts]]')
        if twice := _twice((prompt.id, prompt.pressure) for prompt in prompts):
            self._wrong("scenarios", f"two prompts have the id {twice[0]!r}: give each its own")
        return tuple(prompts)

    def _scenarios(self) -> list[Scenario]:
        """Shipped scenarios by id, or all scenarios of a file by its path."""
        selected: list[Scenario] = []
        for name in self.table.scenarios or ():
            if name in scenarios():
                selected.append(scenarios()[name])
            elif Path(name).suffix in SUFFIXES:
                selected += read_scenarios(self._path(name))
            else:
                self._wrong("scenarios", f"{unknown('scenario', name, scenarios())}; or give a .json or .csv file")
        return selected

    def _words(self) -> WordLists:
        lists, concept = self.table.word_lists, self.table.concept
        return read_word_lists(WORD_LISTS.resolve(lists, self.path.parent) if lists else WORD_LISTS.path(concept))

    def _system(self) -> SystemPrompts:
        prompts, concept = self.table.system_prompts, self.table.concept
        if prompts:
            return read_system_prompts(SYSTEM_PROMPTS.resolve(prompts, self.path.parent))
        if concept not in SYSTEM_PROMPTS.names():
            self._wrong("system_prompts", f"missing: none for {concept!r} ship; give a file of positive and negative")
        return read_system_prompts(SYSTEM_PROMPTS.path(concept))

    def _judge(self, prompts: Sequence[PromptChoice]) -> JudgeChoice | None:
        table = self.table.judge
        if table is None:
            return None
        if not any(prompt.rubric for prompt in prompts):
            self._wrong("judge", "no scenario here has a rubric to judge by")
        return JudgeChoice(**asdict(table))

    def _path(self, name: str) -> Path:
        return self.path.parent / path_of(name)  # an absolute path stays

    def _wrong(self, key: str, what: str, place: str = "") -> NoReturn:
        raise DataError(": ".join(filter(None, (f"{self.path}{', ' if place else ''}{place}", key, one_line(what)))))


def _model(table: ModelTable) -> ModelChoice:
    options = {option.name: getattr(table, option.name) for option in fields(LoadOptions)}
    options |= {name: options[name] or None for name in ("context", "threads")}  # 0 means no limit
    load_options = LoadOptions(**options)
    return ModelChoice(table.name, table.engine, load_options, table.label, table.layer_choices(), table.strengths())


def _twice(names: Iterable[T]) -> T | None:
    listed = list(names)
    return next((name for name in listed if listed.count(name) > 1), None)
