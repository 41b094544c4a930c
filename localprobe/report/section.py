"""What a report is made of: sections of verdicts, figures and tables, in the order in which they should be read."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    """A text that a model wrote, and under what."""

    under: str
    text: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One subject: what it says first, then what that rests on."""

    title: str
    headline: str = ""
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Sentences under a heading each, e.g. what a probe shows."""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    details: tuple[Table, ...] = ()
    """Tables to fold away."""
    samples: tuple[AnswerSample, ...] = ()
    sections: tuple[Section, ...] = field(default=())
    """Under it."""

    @property
    def every_table(self) -> list[Table]:
        """Its tables and those of the sections under it."""
        below = [table for section in self.sections for table in section.every_table]
        return [*self.tables, *self.details, *below]
