"""Text that grows at its end cheaply, to leave the cores to the engine."""

from __future__ import annotations

from typing import Self

from textual.content import Content
from textual.geometry import Region, Size
from textual.widget import Widget

from localprobe_tui.widgets.plain import Static


class GrowsDown(Widget):
    """A second base for widgets that grow. Textual lays out the whole screen again for each widget whose size changed;
    here that is unnecessary, as nothing inside depends on the height."""

    def _size_updated(self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True) -> bool:
        wider = size.width != self._size.width
        return super()._size_updated(size, virtual_size, container_size, layout and wider)


class Growing(Static, GrowsDown):
    """A Static whose `grow` redraws only what changed, where Textual would redraw all of it and everything beside
    it."""

    def __init__(self, *, classes: str) -> None:
        super().__init__(classes=classes)
        self._text = Content("")
        self._changed: Region | None = None

    def grow(self, text: Content, *, layout: bool) -> None:
        """Show `text`. Without `layout` its height must be what it was."""
        width, height = self.size
        first = 0 if layout else same_rows(self._text, text, width)
        self._text = text
        self._changed = Region(0, first, width, height - first) if first else None
        self.update(text, layout=layout)
        self._changed = None

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        changed = regions or ((self._changed,) if self._changed else ())
        return super().refresh(*changed, repaint=repaint, layout=layout, recompose=recompose)


def same_rows(old: Content, new: Content, width: int) -> int:
    """A lower bound of the number of equal rows at the top of both texts, wrapped at `width`."""
    end = len(old.plain)
    while end and not new.plain.startswith(old.plain[:end]):
        end = end - 1 if end == len(old.plain) else 0  # the last character may be a cursor; more is another text
    for before, after in zip(old.spans, new.spans, strict=False):
        if before != after:
            end = min(end, before.start, after.start)
            break
    # The last word of what is the same may become longer, and go to the next row.
    return max(0, Content(new.plain[:end]).get_height({}, width) - 2) if end and width else 0
