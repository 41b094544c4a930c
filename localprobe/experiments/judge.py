"""An optional judge: a model behind an OpenAI-compatible endpoint that scores answers by their scenario's rubric.

A judge is a measure with errors of its own. It sees the scenario, the rubric and the answer, but not how the answer was
steered. Answers are judged one by one, at temperature 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from localprobe.experiments.cells import CellAnswer, Judgement
from localprobe.experiments.experiment import Experiment, JudgeChoice, PromptChoice
from localprobe.generators.generator import Generator, TextRequest
from localprobe.generators.names import generators

_SYSTEM = (
    "You rate answers by a rubric. Read the situation, the rubric and the answer. Judge only what the answer says and "
    "does, not how well it is written. An answer that cannot be understood gets the lowest score. Reply with the score "
    "alone, one number of the rubric, then a line with your reason in at most twenty words."
)
_TOKENS = 200
_NUMBER = re.compile(r"-?\d+")


def judge(
    experiment: Experiment, answers: Sequence[CellAnswer], *, notify: Callable[[str], None] = lambda line: None
) -> Iterator[dict[str, Judgement]]:
    """Yield judgements by key, one at a time; the score is None if the reply contains no score of the rubric.
    Raises UsageError or EndpointError.
    """
    if experiment.judge is None or not answers:
        return
    prompts = _prompts(experiment)
    generator = _generator(experiment.judge, notify)
    generator.ready()
    try:
        for answer in answers:
            prompt = prompts[answer.cell.scenario, answer.cell.pressure]
            yield {answer.cell.key: _judged(generator, prompt, answer.text)}
    finally:
        generator.rest()


def pending(experiment: Experiment, answers: Sequence[CellAnswer]) -> list[CellAnswer]:
    """The answers that are not judged yet and whose prompts have a rubric."""
    prompts = _prompts(experiment)
    return [
        answer
        for answer in answers
        if answer.judgement is None and (answer.cell.scenario, answer.cell.pressure) in prompts
    ]


def _prompts(experiment: Experiment) -> dict[tuple[str, bool], PromptChoice]:
    return {(prompt.id, prompt.pressure): prompt for prompt in experiment.prompts if prompt.rubric}


def _generator(choice: JudgeChoice, notify: Callable[[str], None]) -> Generator:
    keys = [choice.key_env] if choice.key_env else []
    return generators([choice.generator], keys, timeout=choice.timeout, notify=notify)[0]


def _judged(generator: Generator, prompt: PromptChoice, text: str) -> Judgement:
    if not text.strip():  # nothing to judge
        return Judgement(min(map(int, prompt.rubric)), "", "")
    rubric = "\n".join(f"{score}: {meaning}" for score, meaning in prompt.rubric.items())
    question = f"SITUATION\n{prompt.text}\n\nRUBRIC\n{rubric}\n\nANSWER\n{text}"
    (reply,) = generator.answer([TextRequest(_SYSTEM, question, 0, 0.0, _TOKENS)])
    return Judgement(_score(reply.text, prompt.rubric), reply.text, reply.model)


def _score(reply: str, rubric: dict[str, str]) -> int | None:
    """The first number of a reply, if it is one of the rubric's."""
    match = _NUMBER.search(reply)
    return int(match[0]) if match and match[0] in rubric else None
