"""A sweep over a model and a vector in memory, without a TOML file.

    report = sweep(model, vector, prompts=["My friend has gone quiet."], doses=[-0.3, 0, 0.3])

It is recorded like the command line's sweeps, under a run id that hashes the experiment, the vector's tensors and the
model's weights. Calling it again resumes the run; a change of any of these starts another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from textwrap import shorten

from localprobe.contrast.scenarios import scenarios
from localprobe.contrast.system_prompts import SYSTEM_PROMPTS, SystemPrompts, read_system_prompts
from localprobe.engine import Info, LoadOptions, Sampler
from localprobe.errors import UsageError
from localprobe.experiments.experiment import (
    ARMS,
    Arm,
    Experiment,
    LayerChoice,
    ModelChoice,
    PromptChoice,
    Strengths,
    VectorChoice,
)
from localprobe.experiments.result import SweepResult
from localprobe.experiments.sweep import SweepProgress, run
from localprobe.experiments.sweep_report import SweepReport
from localprobe.model import Model
from localprobe.probing.named import Reference, vector_for
from localprobe.steering.places import Positions
from localprobe.store.json_values import from_json
from localprobe.store.runs import Runs
from localprobe.suggest import close_match
from localprobe.text_metrics.word_lists import WORD_LISTS, WordLists, read_word_lists

_TITLE = 60  # characters of a prompt that tables show as its name


def sweep(
    model: Model,
    vector: Reference,
    *,
    prompts: Sequence[str | PromptChoice],
    doses: Sequence[float] | None = None,
    alphas: Sequence[float] | None = None,
    layers: LayerChoice | Sequence[LayerChoice] = "best",
    arms: Sequence[Arm] = ("vector",),
    samples: int = 5,
    tokens: int = 200,
    sampler: Sampler = Sampler(),
    positions: str = "all",
    seed: int = 0,
    concept: str = "",
    words: WordLists | None = None,
    system: SystemPrompts | None = None,
    measures: bool = True,
    name: str = "",
    runs: Runs | None = None,
    progress: Callable[[SweepProgress], None] = lambda progress: None,
    notify: Callable[[str], None] = lambda line: None,
) -> SweepReport:
    """Answer prompts while steering with a vector at several strengths, and measure the answers.

    `prompts` are texts, ids of scenarios that ship (`the_listener`), or PromptChoice. Strengths are `doses` (median
    residual lengths of this model) or `alphas`, including 0. `layers` are numbers, depths from 0.0 to 1.0, or `best`,
    the vector's own. There are `samples` answers to each prompt at each strength, of at most `tokens` tokens, steered
    at `positions` such as `all`, `prompt` or `response` (docs/steering-language.md). `words` are those of the two poles
    to count in answers: of `concept` (the vector's, if not given) where they ship; without any, what depends on them is
    left out of the result. `system` are the opposite system prompts of the arms `system` and `both`. `measures` adds
    probe readings, perplexity and KL.

    The model stays open. Every answer is in the store, `runs`, as soon as it is finished: after Ctrl-C the same call
    resumes. Raises UsageError for an argument that is out of range, VectorError for a vector that does not fit the
    model, EngineError, and LocalprobeError if the disk refuses.
    """
    steers = vector_for(model, vector, notify=notify)
    concept = concept or steers.concept
    strengths = Strengths.given(doses, alphas)
    if strengths is None:
        raise UsageError("give either `doses` or `alphas`, such as doses=[-0.3, 0, 0.3]")
    experiment = Experiment(
        name=name or concept,
        concept=concept,
        models=(_in_memory(model.info),),
        vectors=(VectorChoice(steers.concept, vector=steers),),
        prompts=_prompts(prompts),
        strengths=strengths,
        layers=(layers,) if isinstance(layers, int | float | str) else tuple(layers),
        words=words or _words_of(concept),
        arms=tuple(arm for arm in ARMS if arm in arms),
        system=_system(system, concept) if {"system", "both"} & set(arms) else None,
        samples=samples,
        tokens=tokens,
        sampler=sampler,
        positions=str(Positions.parse(positions)),
        seed=seed,
        measures=measures,
    )
    _check(experiment, arms)

    store = runs or Runs()
    finished = run(experiment, store, progress=progress, load=lambda choice: nullcontext(model), notify=notify)
    return SweepReport(from_json(SweepResult, finished.result), finished.id, store)


def _in_memory(info: Info) -> ModelChoice:
    """A loaded model as a choice of the experiment; its load options count as part of its identity."""
    quantise = next((name for name in ("4bit", "8bit") if name == info.quantisation), None)
    return ModelChoice(info.model, info.engine, LoadOptions(dtype=info.dtype, quantise=quantise), weights=info.weights)


def _prompts(prompts: Sequence[str | PromptChoice]) -> tuple[PromptChoice, ...]:
    listed = [prompts] if isinstance(prompts, str) else prompts
    choices = tuple(_prompt(prompt) if isinstance(prompt, str) else prompt for prompt in listed)
    if not choices:
        raise UsageError("`prompts` is empty: give texts, or ids of scenarios such as 'the_listener'")
    ids = [(choice.id, choice.pressure) for choice in choices]
    if twice := next((name for name in ids if ids.count(name) > 1), None):
        raise UsageError(f"`prompts` holds {twice[0]!r} twice: give each once, and samples for more answers to it")
    return choices


def _prompt(text: str) -> PromptChoice:
    """A scenario by its id, or any other text, which becomes its own id."""
    if not text.strip():
        raise UsageError("`prompts` holds an empty text")
    if text in scenarios():
        return PromptChoice.of(scenarios()[text])
    if re.fullmatch(r"[a-z_]+", text) and (match := close_match(text, scenarios())):
        raise UsageError(f"no scenario {text!r}: did you mean {match!r}?")
    return PromptChoice(id=text, title=shorten(text, _TITLE, placeholder=" ..."), text=text)


def _words_of(concept: str) -> WordLists | None:
    return read_word_lists(WORD_LISTS.path(concept)) if concept in WORD_LISTS.names() else None


def _system(system: SystemPrompts | None, concept: str) -> SystemPrompts:
    if system is None and concept not in SYSTEM_PROMPTS.names():
        raise UsageError(f"`system` is missing: no system prompts for {concept!r} ship")
    return system or read_system_prompts(SYSTEM_PROMPTS.path(concept))


def _check(experiment: Experiment, arms: Sequence[str]) -> None:
    """UsageError for values that an experiment's file would refuse."""
    for name in ("samples", "tokens"):
        if getattr(experiment, name) < 1:
            raise UsageError(f"`{name}` must be at least 1, not {getattr(experiment, name)}")
    if not arms or set(arms) - set(ARMS):
        raise UsageError(f"`arms` is {', '.join(arms) or 'empty'}: choose of {', '.join(ARMS)}")
