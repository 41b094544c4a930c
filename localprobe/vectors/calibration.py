"""The threshold of a vector at a false-positive rate, as `localprobe calibrate` kept it.

threshold(vector, 0.01)                             of a token's score
threshold(vector, 0.01, unit="text", tokens=60)     of the mean score of 60 tokens
"""

from __future__ import annotations

import math
from typing import get_args

from localprobe.errors import UsageError, VectorError
from localprobe.vectors.calibrated import Calibration, Kind, Unit, check_fpr
from localprobe.vectors.vector import Vector


def calibration(
    vector: Vector, fpr: float, *, layer: int | None = None, unit: Unit = "token", kind: Kind | None = None
) -> Calibration:
    """The calibration of a vector for a false-positive rate, at `layer` or its best one.

    `kind` None takes the one of answers, and if there is none that of texts. VectorError if it was never calibrated for
    this rate there, UsageError for a rate outside (0, LARGEST].
    """
    check_fpr(fpr)
    if unit not in get_args(Unit) or kind not in (None, *get_args(Kind)):
        raise UsageError(f"`unit` is token or text and `kind` texts or answers, not {unit!r} and {kind!r}")
    layer = vector.layer(layer)
    found = {c.kind: c for c in vector.directions[layer].calibrations if c.unit == unit and math.isclose(c.fpr, fpr)}
    for wanted in (kind,) if kind else ("answers", "texts"):
        if wanted in found:
            return found[wanted]
    of = " of whole texts" if unit == "text" else ""
    asked = f"--fpr {fpr:g}{'' if layer == vector.best else f' --layer {layer}'}"
    answers = f" --answers {max(120, 5 / fpr) if unit == 'text' else 120:.0f}" if kind == "answers" else ""
    raise VectorError(
        f"vector {vector.concept!r} has no threshold{of} for fpr {fpr:g} at layer {layer}"
        f"{' from answers' if kind == 'answers' else ''}: run localprobe calibrate {vector.concept} {asked}{answers}"
    )


def threshold(
    vector: Vector,
    fpr: float,
    *,
    layer: int | None = None,
    unit: Unit = "token",
    tokens: int | None = None,
    kind: Kind | None = None,
) -> float:
    """The score above which a token of a neutral text lies at this false-positive rate; for unit `text`, the mean score
    of `tokens` tokens. See `calibration`."""
    return calibration(vector, fpr, layer=layer, unit=unit, kind=kind).at(tokens)
