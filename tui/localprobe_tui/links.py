"""Text whose links act on the widget that it stands in."""

from __future__ import annotations

from textual.widgets import Static


class Links(Static):
    """`[@click=do('layer')]19[/]` runs `action_layer` of the nearest ancestor that has it."""

    async def action_do(self, action: str) -> None:
        for ancestor in self.ancestors:
            if hasattr(ancestor, f"action_{action}"):
                await self.app.run_action(action, default_namespace=ancestor)
                return
