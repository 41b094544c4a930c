"""Who listens to jobs in tests."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from localprobe.generation.answer import Answer, AnswerBuilder
from localprobe.generation.events import Event


class Heard:
    """Builds the answers of a job, and tells when it is over."""

    def __init__(self, rows: int = 1) -> None:
        self.builders = [AnswerBuilder() for _ in range(rows)]
        self.steps: list[list[Event]] = []
        self.error: Exception | None = None
        self.began = threading.Event()
        self.over = threading.Event()

    def events(self, events: Sequence[Event]) -> None:
        assert not self.over.is_set(), "nothing comes after the end"
        self.steps.append(list(events))
        for event in events:
            self.builders[event.row].take(event)
        self.began.set()
        if all(builder.reason for builder in self.builders):
            self.over.set()

    def failed(self, error: Exception) -> None:
        assert not self.over.is_set(), "nothing comes after the end"
        self.error = error
        self.began.set()
        self.over.set()

    def answers(self) -> list[Answer]:
        """The answers, once they are there."""
        assert self.over.wait(60), "the job did not end"
        if self.error:
            raise self.error
        return [builder.answer() for builder in self.builders]

    @property
    def text(self) -> str:
        return self.answers()[0].text
