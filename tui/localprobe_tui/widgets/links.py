"""Text whose links run actions of the widget around it."""

from __future__ import annotations

from textual.content import Content
from textual.style import Style

from localprobe_tui.widgets.plain import Static


def link(words: str, action: str) -> Content:
    """Text that runs an action of the app. Markup cannot express negative numbers."""
    return Content.styled(words, Style.from_meta({"@click": action}))


def closes(action: str = "dismiss(None)") -> str:
    """A link for the border of a dialog, so that the mouse can close it too."""
    return f"[@click=screen.{action}]esc closes[/]"


class Links(Static):
    """`[@click=do('layer')]19[/]` runs `action_layer` of the nearest ancestor that has it; `do('drop(2)')` passes 2
    on."""

    async def action_do(self, action: str) -> None:
        for ancestor in self.ancestors:
            if hasattr(ancestor, f"action_{action.partition('(')[0]}"):
                await self.app.run_action(action, default_namespace=ancestor)
                return
