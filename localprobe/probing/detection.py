"""The paper's detection half for several models on the same texts: Tables 1 to 3 and Figures 1 to 5.

Every model gets the same split of the same pairs, and its own probe. All are shown, never the best alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from localprobe.capture.job import Amount, Capture
from localprobe.contrast.pairs import Pair
from localprobe.contrast.rated import Rated
from localprobe.model import Model
from localprobe.probing.behaviour import Behaviour, behaviour
from localprobe.probing.comparison import direction_agreement, score_agreement
from localprobe.probing.fitting import probe_of
from localprobe.probing.study import LIMIT, Choices, Study, study
from localprobe.store.runs import measured_on


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """What one model gave."""

    label: str
    """A group to show it in, as `safety-trained`; free, may be empty."""
    measured_on: dict[str, Any]
    study: Study
    behaviour: Behaviour | None

    @property
    def name(self) -> str:
        """The model and engine, and how it is quantised."""
        on = self.measured_on
        return f"{on['model']} ({', '.join(filter(None, (on['engine'], on['quantisation'])))})"

    def as_json(self) -> dict[str, Any]:
        """Plain dicts, lists and finite numbers."""
        return {
            "name": self.name,
            "label": self.label,
            "measured_on": self.measured_on,
            "paper_layers": paper_layers(self.measured_on["layers"], self.study.layers),
            **self.study.as_json(),
            "behaviour": self.behaviour.as_json() if self.behaviour else None,
        }


def detect(
    model: Model,
    pairs: Sequence[Pair],
    choices: Choices,
    *,
    label: str = "",
    test: Sequence[Pair] | None = None,
    rated: Sequence[Rated] = (),
    layers: Sequence[int] | None = None,
    capturing: Callable[[Amount], None] = lambda amount: None,
    progress: Callable[[str], None] = lambda step: None,
) -> Detection:
    """Fit and validate a probe on one model, and set it against rated texts if there are any. DataError, UsageError or
    EngineError."""
    found = study(model, pairs, choices, test=test, layers=layers, capturing=capturing, progress=progress)
    behaves = None
    if rated:
        progress("rated texts")
        # Rated texts are captured alone, whatever the pairs were read in.
        pooling = "mean" if choices.pooling == "answer" else choices.pooling
        capture = Capture(model.engine, [text.text for text in rated], found.layers, pooling, limit=LIMIT)
        for amount in capture:
            capturing(amount)
        behaves = behaviour(found.vector, rated, capture.residuals, seed=choices.seed)
    return Detection(label, measured_on(model.info), found, behaves)


def comparison(models: Sequence[Detection], *, resamples: int = 2000, seed: int = 0) -> list[dict[str, Any]]:
    """How far every two models agree on the test texts, each at its own layer, and how alike their directions are."""
    return [
        {
            "models": [first.name, second.name],
            "layers": [first.study.vector.layer(), second.study.vector.layer()],
            **asdict(score_agreement(_scores(first.study), _scores(second.study), resamples=resamples, seed=seed)),
            "directions": _directions(first, second),
        }
        for first, second in combinations(models, 2)
    ]


def paper_layers(depth: int, layers: Sequence[int]) -> list[int]:
    """The paper's layers 8, 12, 16, 20, 24 (and 28 of 32), as far as they were captured; in a model too shallow for
    them, the layers at the same depths."""
    wanted = range(8, depth, 4) if depth >= 25 else [depth * eighth // 8 for eighth in range(2, 7)]
    return [layer for layer in dict.fromkeys(wanted) if layer in layers and layer <= 28]


def _scores(found: Study) -> tuple[Any, Any]:
    at = found.layers.index(found.vector.layer())
    return found.positive[:, at], found.negative[:, at]


def _directions(first: Detection, second: Detection) -> list[float] | None:
    """Cosines a layer, for two loads of one model: its own name, or else its weights, say that it is one."""
    a, b = first.measured_on, second.measured_on
    if (a["model"], a["architecture"]) != (b["model"], b["architecture"]) and a["weights"] != b["weights"]:
        return None
    probes = [probe_of(each.study.vector, each.study.layers) for each in (first, second)]
    cosines = direction_agreement(probes[0].directions, probes[1].directions)
    return list(cosines) if cosines else None
