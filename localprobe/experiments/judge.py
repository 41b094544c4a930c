"""An optional judge: a model behind an OpenAI-compatible endpoint that scores answers by their scenario's rubric.

A judge is a measure like any other, with errors of its own. It gets the scenario, the rubric and the answer, and not
how the answer was made. Answers are judged one by one, at temperature 0.
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
    """Judgements of answers by key, one at a time; a score of None if the judge's reply holds none of the rubric's.
    Raises UsageError or EndpointError.
    """
    if experiment.judge is None or not answers:
        return
    asked = _asked(experiment)
    generator = _generator(experiment.judge, notify)
    generator.ready()
    try:
        for answer in answers:
            prompt = asked[answer.cell.scenario, answer.cell.pressure]
            yield {answer.cell.key: _judged(generator, prompt, answer.text)}
    finally:
        generator.rest()


def pending(experiment: Experiment, answers: Sequence[CellAnswer]) -> list[CellAnswer]:
    """Those that are not judged yet and whose prompts have a rubric."""
    asked = _asked(experiment)
    return [each for each in answers if each.judgement is None and (each.cell.scenario, each.cell.pressure) in asked]


def _asked(experiment: Experiment) -> dict[tuple[str, bool], PromptChoice]:
    return {(prompt.id, prompt.pressure): prompt for prompt in experiment.prompts if prompt.rubric}


def _generator(choice: JudgeChoice, notify: Callable[[str], None]) -> Generator:
    keys = [choice.key_env] if choice.key_env else []
    return generators([choice.generator], keys, timeout=choice.timeout, notify=notify)[0]


def _judged(generator: Generator, prompt: PromptChoice, text: str) -> Judgement:
    if not text.strip():  # nothing to ask about
        return Judgement(min(map(int, prompt.rubric)), "", "")
    rubric = "\n".join(f"{score}: {what}" for score, what in prompt.rubric.items())
    question = f"SITUATION\n{prompt.text}\n\nRUBRIC\n{rubric}\n\nANSWER\n{text}"
    (reply,) = generator.answer([TextRequest(_SYSTEM, question, 0, 0.0, _TOKENS)])
    return Judgement(_score(reply.text, prompt.rubric), reply.text, reply.model)


def _score(reply: str, rubric: dict[str, str]) -> int | None:
    """The first number of a reply, if it is one of the rubric's."""
    found = _NUMBER.search(reply)
    return int(found[0]) if found and found[0] in rubric else None
