"""An experiment read from TOML. `localprobe sweep --init` writes a commented one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from localprobe.contrast.pairs import PAIR_SETS
from localprobe.contrast.scenario_file import read_scenarios
from localprobe.contrast.scenarios import Scenario, scenarios
from localprobe.contrast.system_prompts import SYSTEM_PROMPTS, read_system_prompts
from localprobe.engine import LoadOptions, Sampler
from localprobe.experiments.experiment import (
    ARMS,
    Arm,
    Experiment,
    JudgeChoice,
    LayerChoice,
    ModelChoice,
    PromptChoice,
    Strengths,
    VectorChoice,
)
from localprobe.experiments.table import Table, numbers, read_toml
from localprobe.steering.positions import Positions
from localprobe.store.shipped import Shipped, unknown
from localprobe.text_metrics.word_lists import WORD_LISTS, WordLists, read_word_lists

_METHODS = ("mean-difference", "logistic", "pca", "lda")
_POOLINGS = ("mean-without-first", "mean", "last", "answer")
EXPERIMENTS = Shipped("experiment", "experiments/shipped", ".toml")


def read_experiment(path: Path) -> Experiment:
    """Read an experiment; paths in it are relative to its own folder. DataError or UsageError in one line."""
    top = read_toml(path)
    folder = path.parent
    concept = top.text("concept", "empathy")
    arms = _arms(top)
    strengths = _strengths(top)
    layers = _layers(top)
    models = _models(top)
    if set(arms) - {"system"} and strengths is None and not all(model.strengths for model in models):
        top.wrong("doses", "missing: say how hard to push, as doses = [-0.3, 0, 0.3] or alphas = [-10, 0, 10]")
    prompts = _prompts(top, folder)
    experiment = Experiment(
        name=top.text("name", path.stem),
        concept=concept,
        models=models,
        vectors=_vectors(top, folder, models, arms),
        prompts=prompts,
        strengths=strengths or Strengths("dose", (0.0,)),
        layers=layers or ("best",),
        words=_words(top, folder, concept),
        arms=arms,
        system=_system(top, folder, concept) if {"system", "both"} & set(arms) else None,
        samples=top.whole("samples", 5, 1),
        tokens=top.whole("tokens", 200, 1),
        sampler=_sampler(top.table("sampling")),
        positions=_one_of(top, "positions", get_args(Positions), "all"),
        seed=top.whole("seed", 0),
        measures=top.flag("measures", True),
        judge=_judge(top, prompts) if top.has("judge") else None,
    )
    top.has("system_prompts")  # known, though no arm of this experiment needs them
    top.done()
    return experiment


def _arms(top: Table) -> tuple[Arm, ...]:
    found = top.items("arms", ["vector"])
    wrong = next((each for each in found if each not in ARMS), None)
    if wrong is not None:
        top.wrong("arms", f"{wrong!r} is none of {', '.join(ARMS)}")
    return tuple(arm for arm in ARMS if arm in found)


def _strengths(table: Table) -> Strengths | None:
    units = [unit for unit in ("dose", "alpha") if table.has(f"{unit}s")]
    if not units:
        return None
    if len(units) == 2:
        table.wrong("doses", "give doses or alphas, not both")
    unit = "dose" if units == ["dose"] else "alpha"
    values = sorted({each + 0.0 for each in numbers(table, f"{unit}s")})  # -0.0 is 0.0
    if 0.0 not in values:
        table.wrong(f"{unit}s", "there is no 0: every effect is measured against unsteered answers; add 0")
    return Strengths("dose" if unit == "dose" else "alpha", tuple(values))


def _layers(table: Table) -> tuple[LayerChoice, ...]:
    if not table.has("layers"):
        return ()
    found = table.some("layers")
    for each in found:
        sound = each == "best" or (isinstance(each, int) and not isinstance(each, bool))
        if not sound and not (isinstance(each, float) and 0 <= each <= 1):
            table.wrong(
                "layers", f'{each!r} is no layer: write 12, a depth between 0.0 and 1.0, or "best" (the vector\'s own)'
            )
    return tuple(value for _, value in dict.fromkeys((type(each), each) for each in found))  # 1 and 1.0 are two things


def _models(top: Table) -> tuple[ModelChoice, ...]:
    models = [_model(table) for table in top.tables("models")]
    if not models:
        top.wrong("models", 'missing: name at least one, as [[models]] and name = "smollm2-135m" under it')
    names = [str(model) for model in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        top.wrong("models", f"{twice} is there twice")
    return tuple(models)


def _model(table: Table) -> ModelChoice:
    options = {
        "dtype": table.text("dtype", "") or None,
        "device": table.text("device", "") or None,
        "quantise": table.text("quantise", "") or None,
        "context": table.whole("context", 0) or None,
        "threads": table.whole("threads", 0) or None,
        "gpu_layers": table.whole("gpu_layers", 0) if table.has("gpu_layers") else None,
        "trust_remote_code": table.flag("trust_remote_code", False),
        "low_memory": table.flag("low_memory", False),
    }
    model = ModelChoice(
        table.text("name"),
        table.text("engine", "") or None,
        LoadOptions(**options),  # type: ignore[arg-type]
        table.text("label", ""),
        _layers(table),
        _strengths(table),
    )
    table.done()
    return model


def _vectors(top: Table, folder: Path, models: Sequence[ModelChoice], arms: Sequence[Arm]) -> tuple[VectorChoice, ...]:
    vectors = tuple(_vector(table, folder, models) for table in top.tables("vectors"))
    if not vectors and set(arms) - {"system"}:
        top.wrong("vectors", 'missing: name at least one, as [[vectors]] and fit = "empathy" or file = "..." under it')
    for model in models:
        names = [each.name for each in vectors if not each.models or model.name in each.models]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            top.wrong("vectors", f"{model.name} has two named {twice!r}: give each its own name, or its models")
        if not names and vectors:
            top.wrong("vectors", f"none is for {model.name}: add one, or name it under models of one")
    return vectors


def _vector(table: Table, folder: Path, models: Sequence[ModelChoice]) -> VectorChoice:
    if table.has("file") == table.has("fit"):
        table.wrong("file", "give file (a vector) or fit (pairs to fit one on), one of the two")
    fits = table.has("fit")
    written = table.text("fit" if fits else "file")
    path = PAIR_SETS.resolve(written, folder) if fits else _found(folder, written)
    known = [model.name for model in models]
    wanted = table.items("models", [])
    stranger = next((each for each in wanted if each not in known), None)
    if stranger is not None:
        table.wrong("models", f"{stranger!r} is no model of this experiment: it has {', '.join(known)}")
    vector = VectorChoice(
        name=table.text("name", path.stem),
        file=None if fits else path,
        fit=path if fits else None,
        method=_one_of(table, "method", _METHODS, _METHODS[0]),
        pooling=_one_of(table, "pooling", _POOLINGS, _POOLINGS[0]),
        test_fraction=table.number("test_fraction", 0.3, 0, 0.9),
        seed=table.whole("seed", 0),
        models=tuple(wanted),
        sha256=_hash(table, "fit" if fits else "file", path),
    )
    table.done()
    return vector


def _prompts(top: Table, folder: Path) -> tuple[PromptChoice, ...]:
    pressures = _pressures(top)
    found = [
        PromptChoice(each.id, each.title or each.id, text, pressure, rubric=each.rubric)
        for each in _scenarios(top, folder)
        for pressure in (pressures if each.empathy_pressure else [True])
        if (text := " ".join(each.prompt(empathy_pressure=pressure).split("  ")).strip())
    ]
    for table in top.tables("prompts"):
        text = table.text("text")
        name = table.text("id")
        found.append(PromptChoice(name, table.text("title", name), text, raw=table.flag("raw", False)))
        table.done()
    if not found:
        top.wrong("scenarios", 'missing: name some, as scenarios = ["the_listener"], or write [[prompts]]')
    ids = [(each.id, each.pressure) for each in found]
    twice = next((each for each in ids if ids.count(each) > 1), None)
    if twice is not None:
        top.wrong("scenarios", f"two prompts have the id {twice[0]!r}: give each its own")
    return tuple(found)


def _scenarios(top: Table, folder: Path) -> list[Scenario]:
    """Shipped ones by id, and all of a file by its path."""
    found: list[Scenario] = []
    for name in top.items("scenarios", []):
        if name in scenarios():
            found.append(scenarios()[name])
        elif isinstance(name, str) and Path(name).suffix in (".json", ".jsonl", ".ndjson"):
            found += read_scenarios(_found(folder, name))
        else:
            top.wrong("scenarios", f"{unknown('scenario', name, scenarios())}; or give a .json file")
    return found


def _pressures(top: Table) -> list[bool]:
    found = top.items("empathy_pressure", [True])
    if not all(isinstance(each, bool) for each in found):
        top.wrong("empathy_pressure", "write [true], [false] or [true, false] (with it, without it, both)")
    return sorted(set(found), reverse=True)


def _words(top: Table, folder: Path, concept: str) -> WordLists:
    if top.has("word_lists"):
        return read_word_lists(WORD_LISTS.resolve(top.text("word_lists"), folder))
    return read_word_lists(WORD_LISTS.path(concept))


def _system(top: Table, folder: Path, concept: str) -> Any:
    if top.has("system_prompts"):
        return read_system_prompts(SYSTEM_PROMPTS.resolve(top.text("system_prompts"), folder))
    if concept not in SYSTEM_PROMPTS.names():
        top.wrong("system_prompts", f"missing: none for {concept!r} ship; give a file of positive and negative")
    return read_system_prompts(SYSTEM_PROMPTS.path(concept))


def _sampler(table: Table) -> Sampler:
    sampler = Sampler(
        table.number("temperature", 0.7, 0),
        table.whole("top_k", 0),
        table.number("top_p", 1.0, 1e-6, 1),
        table.number("min_p", 0.0, 0, 1),
    )
    table.done()
    return sampler


def _judge(top: Table, prompts: Sequence[PromptChoice]) -> JudgeChoice:
    table = top.table("judge")
    judge = JudgeChoice(table.text("generator"), table.text("key_env", ""), table.number("timeout", 300.0, 1))
    table.done()
    if not any(prompt.rubric for prompt in prompts):
        top.wrong("judge", "no scenario here has a rubric to judge by")
    return judge


def _one_of(table: Table, key: str, known: Sequence[str], default: str) -> str:
    value = table.text(key, default)
    if value not in known:
        table.wrong(key, f"{value!r} is none of {', '.join(known)}")
    return value


def _found(folder: Path, name: str) -> Path:
    path = Path(name).expanduser()
    return path if path.is_absolute() else folder / path


def _hash(table: Table, key: str, path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        table.wrong(key, f"cannot read {path}: {error.strerror}")
