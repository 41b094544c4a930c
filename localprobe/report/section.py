"""The parts of a report: sections of verdicts, figures and tables, in reading order."""

from __future__ import annotations

from dataclasses import dataclass

from localprobe.report.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing."""

    name: str
    caption: str
    svg: str
    wide: bool = False
    """Whether it needs the whole width of a page."""


@dataclass(frozen=True, slots=True)
class AnswerSample:
    """A text that a model wrote, and how it was steered."""

    under: str
    text: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One subject: first the conclusions, then the evidence."""

    title: str
    headline: str = ""
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(heading, sentences), such as what a probe shows."""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    details: tuple[Table, ...] = ()
    """Tables to fold away."""
    samples: tuple[AnswerSample, ...] = ()

    @property
    def every_table(self) -> list[Table]:
        """Its tables, folded away or not."""
        return [*self.tables, *self.details]
