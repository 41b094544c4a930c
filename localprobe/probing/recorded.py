"""Recording a probe's result as a run, for Python, the CLI and the app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from localprobe.probing.report import ProbeReport
from localprobe.store.json_values import to_json
from localprobe.store.runs import Runs


def record(
    report: ProbeReport,
    kind: Literal["fit", "validate"],
    *,
    pairs: str = "",
    hashes: Mapping[str, str] | None = None,
    runs: Runs | None = None,
) -> ProbeReport:
    """Record a result in the store; returns the report with its run id.

    `pairs` names the source of the pairs and `hashes` are of their files. LocalprobeError if the disk refuses.
    """
    result = replace(report.result, pairs=pairs)
    run = (runs or Runs()).add(kind, result.name, to_json(result), about={"hashes": dict(hashes or {})})
    return replace(report, result=result, run=run.id)
