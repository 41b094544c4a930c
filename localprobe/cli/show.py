"""The console of tables, and progress bars of commands, on stderr, so that stdout holds only results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich import console as rich_console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

from localprobe.terminal_text import visible

if TYPE_CHECKING:
    from localprobe.capture.job import Amount
    from localprobe.generators.generate import GeneratedPair
    from localprobe.progress import Progress as Report


class Console(rich_console.Console):
    """Rich's console, for text that anybody may have written: `[bold]` in it is no style, `:smile:` no picture, and
    control characters are made visible, in everything that is printed. Styles are given by `style=` or `styled`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)

    def render(
        self, renderable: rich_console.RenderableType, options: rich_console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):  # a Text that was made elsewhere
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def styled(*parts: str | tuple[str, str]) -> Text:
    """Text of parts, each plain or (text, style)."""
    safe = [visible(part) if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts]
    return Text.assemble(*safe)


errors = Console(stderr=True)


def console() -> Console:
    """The console for results: as wide as the terminal, or 140 columns if there is none."""
    out = Console()
    return out if out.is_terminal else Console(width=140)


@contextmanager
def loading(name: str) -> Iterator[Report]:
    """A spinner with the stage of the load, and a bar for each download, conversion or hash."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[amount]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bars:
        spinner = bars.add_task(f"loading {name}", total=None, amount="")
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if not total:
                bars.update(spinner, description=what)
                return
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, amount="")
            bars.update(tasks[what], completed=done, total=total, amount=f"{done / 1e6:,.0f}/{total / 1e6:,.0f} MB")

        yield report


@contextmanager
def counting(what: str, total: int, unit: str = "texts") -> Iterator[Count]:
    """A bar that counts items, with tokens per second and the time left."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.completed}/{task.total} {task.fields[unit]}", markup=False),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bars:
        yield Count(bars, bars.add_task(what, total=total, unit=unit, rate="", visible=total > 0))


@contextmanager
def capturing() -> Iterator[Callable[[Amount], None]]:
    """A bar for a capture of residuals; yields the function to call with the amount captured so far."""
    with counting("capturing", 0) as count:
        yield lambda amount: count.reach(amount.texts, amount.total, amount.tokens, amount.rate)


def step(name: str) -> None:
    """Print the step that is being computed."""
    errors.print(f"  {name} ...", highlight=False)


class Writing:
    """A line for each pair of texts that a generator wrote, with the time left."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def __call__(self, outcome: GeneratedPair, done: int, total: int) -> None:
        """A pair is written or rejected: it is number `done` of `total`."""
        seconds = (time.perf_counter() - self._start) / done
        left = seconds * (total - done)
        record = outcome.record
        errors.print(
            f"{done}/{total}  {record['scenario']}, run {record['run']}, {record['generator']}: "
            f"{'written' if outcome.accepted else 'rejected'}, {seconds:.1f} s per pair, "
            f"{f'{left:.0f} s' if left < 90 else f'{left / 60:.0f} min'} left",
            highlight=False,
            soft_wrap=True,
        )


class Count:
    """A running count of items and of their tokens."""

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars, self._task = bars, task
        self._start = time.perf_counter()
        self.tokens = 0

    def advance(self, tokens: int) -> None:
        """Count one more item, of `tokens` tokens."""
        self.tokens += tokens
        self._bars.update(self._task, advance=1, rate=f"{self.rate:,.0f} tok/s")

    def reach(self, items: int, total: int, tokens: int, rate: float) -> None:
        """Set the count to `items` of `total`; `rate` is in tokens per second."""
        self.tokens = tokens
        shown = f"{rate:,.0f} tok/s" if rate else ""
        self._bars.update(self._task, completed=items, total=total, visible=True, rate=shown)

    @property
    def rate(self) -> float:
        """Tokens per second so far."""
        return self.tokens / max(time.perf_counter() - self._start, 1e-9)
