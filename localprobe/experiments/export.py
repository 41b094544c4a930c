"""Every answer of a sweep as a record with its measures: JSONL or CSV for other programs.

An ablation has a `share`, and an expression its text under `steering`; both have no `alpha` and no `dose`. `localprobe
audit` reads strengths with a sign, so the arms `vector` and `random`, by `model`, `layer`, `scenario`, `alpha`, `text`
and `reason`. A scenario without its pressure counts as another scenario, so its name says so.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from localprobe.errors import UsageError
from localprobe.experiments.cells import CellAnswer, Cells
from localprobe.experiments.grid import BASELINE
from localprobe.experiments.outcomes import prompt_name
from localprobe.store.json_values import from_json
from localprobe.store.runs import Run, Runs
from localprobe.store.stored_result import understood
from localprobe.text_metrics.degeneration import degeneration
from localprobe.text_metrics.language import coherent, expresses
from localprobe.text_metrics.word_lists import WordLists

_BASELINES = {"both": ("system",), "all": ()}
"""What an arm is compared with, if not with the unsteered answers."""


def lines(runs: Runs, run: Run, arm: str = "vector") -> list[dict[str, Any]]:
    """Records of the answers of one arm and of the unsteered answers that it is compared with; or of `all` arms.

    Raises UsageError for a run that is not a sweep or has no such answers.
    """
    if run.kind != "sweep":
        raise UsageError(f"run {run.id} is a {run.kind}: only a sweep has answers to export")
    with understood(run):
        words = run.about["experiment"]["words"]
        lists = from_json(WordLists, words) if words else None
    answers = Cells(runs, run.id).read()
    selected = [
        answer for answer in answers if arm == "all" or answer.cell.arm in (arm, *_BASELINES.get(arm, (BASELINE,)))
    ]
    if not selected:
        raise UsageError(f"run {run.id} has no answers of the arm {arm!r}")
    return [_record(answer, lists) for answer in selected]


def as_jsonl(records: Sequence[dict[str, Any]]) -> str:
    """One JSON object per line."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def as_csv(records: Sequence[dict[str, Any]]) -> str:
    """A table with a header; lists and objects as JSON."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow(
            {
                name: json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
                for name, value in record.items()
            }
        )
    return out.getvalue()


def _record(answer: CellAnswer, lists: WordLists | None) -> dict[str, Any]:
    cell = answer.cell
    measures = answer.measures
    return {
        "model": cell.model,
        "engine": cell.engine,
        "label": cell.label,
        "layer": cell.layer,
        "scenario": prompt_name(cell.scenario, cell.pressure),
        "alpha": cell.alpha,
        "dose": cell.dose,
        "text": answer.text,
        "reason": answer.reason,
        "arm": cell.arm,
        "pole": cell.pole,
        "pressure": cell.pressure,
        "vector": cell.vector,
        "operator": cell.operator,
        "share": cell.share,
        "steering": cell.steering,
        "sample": cell.sample,
        "tokens": len(answer.ids),
        "expresses": expresses(answer.text, lists) if lists else None,
        "coherent": coherent(answer.text),
        "degenerate": list(degeneration(answer.text, reason=answer.reason).reasons),
        "scores": dict(answer.scores),
        "readings": dict(measures.readings) if measures else None,
        "nll": measures.nll if measures else None,
        "kl": measures.kl if measures else None,
        "judge": answer.judgement.score if answer.judgement else None,
        "key": cell.key,
    }
