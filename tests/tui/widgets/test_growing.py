"""Text that grows: the rows that look the same are found, and none that does not."""

from __future__ import annotations

import asyncio

import pytest
from textual.app import App, ComposeResult
from textual.content import Content, Span

from localprobe_tui.widgets.growing import Growing, same_rows

WORDS = "one two three four five six seven eight nine ten"  # three rows of 20


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (Content(WORDS + "▌"), Content(WORDS + " eleven▌"), 1),
        (Content(WORDS + "▌"), Content(WORDS + "\n\nand so on▌"), 1),
        (Content(WORDS), Content("another text " + WORDS), 0),
        (Content(""), Content(WORDS), 0),
        (Content(WORDS, [Span(0, 3, "bold")]), Content(WORDS + " more", [Span(0, 3, "bold")]), 1),
        (Content(WORDS, [Span(0, 3, "bold")]), Content(WORDS + " more", [Span(0, 3, "red")]), 0),
        (Content(WORDS, [Span(40, 48, "bold")]), Content(WORDS + "s", [Span(40, 49, "bold")]), 0),
    ],
)
def test_rows_that_look_the_same(old: Content, new: Content, same: int) -> None:
    assert same_rows(old, new, 20) == same


def test_no_row_that_changes_is_taken_for_the_same() -> None:
    text = "a bb  ccc\n\ndddd eeeee ffffff\n" * 6
    for width in (5, 9, 30):
        for end in range(1, len(text)):
            old, new = Content(text[:end] + "▌"), Content(text[: end + 3] + "▌")
            same = same_rows(old, new, width)
            assert old.wrap(width)[:same] == new.wrap(width)[:same]


def test_it_shows_what_a_static_would() -> None:
    class One(App[None]):
        def compose(self) -> ComposeResult:
            yield Growing(classes="body")

    async def scene() -> None:
        app = One()
        async with app.run_test(size=(20, 8)) as pilot:
            shown = app.query_one(Growing)
            for count in range(1, 11):
                text = Content(" ".join(WORDS.split()[:count]))
                shown.grow(text, layout=shown.size.height != text.get_height({}, 20))
                await pilot.pause()
            lines = [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]
            assert " ".join(lines).split() == WORDS.split()
            assert shown.size.height == 3

    asyncio.run(scene())
