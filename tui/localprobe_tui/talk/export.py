"""A chat as a file: Markdown to read, JSONL with every token's score and every dose to work with."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from localprobe_tui.talk import panel_knob

if TYPE_CHECKING:
    from localprobe.chats.turns import Chat, Turn


def write(chat: Chat, folder: Path, kind: str) -> Path:
    """Write the path that is shown as `md` or `jsonl`, under a name of its own, and return it.

    LocalprobeError if the disk refuses.
    """
    from localprobe.store.files import write_whole

    name = "".join(each if each.isalnum() else "-" for each in chat.title.lower())[:40].strip("-") or "chat"
    path = folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.{kind}"
    write_whole(path, (markdown(chat) if kind == "md" else jsonl(chat)).encode())
    return path


def markdown(chat: Chat) -> str:
    """The chat as it is read, each answer under what it was steered by."""
    lines = [f"# {chat.title or 'Chat'}", "", f"Model: {chat.model}"]
    if chat.system:
        lines += ["", f"System prompt: {chat.system}"]
    for turn in chat.path():
        lines += ["", "## You" if turn.role == "user" else f"## {_heading(turn)}", "", _marked(turn)]
        other = chat.turns.get(turn.beside or "")
        if other is not None:
            lines += ["", f"### Beside it: {_heading(other)}", "", _marked(other)]
    return "\n".join(lines) + "\n"


def jsonl(chat: Chat) -> str:
    """One line a message; answers that stand beside those of the path have lines too.

    `tokens` are [text, score]: the score is the raw projection, `reading` says on what, `parts` say from which token
    on which knobs were turned, and how much of a score they add by themselves.
    """
    lines = []
    for turn in chat.path():
        for each in filter(None, (turn, chat.turns.get(turn.beside or ""))):
            scores = [None if math.isnan(score) else score for score in each.scores]
            lines.append(
                {
                    "role": each.role,
                    "content": each.content,
                    "id": each.id,
                    "parent": each.parent,
                    "kept": each is turn,
                    "tokens": list(zip(each.pieces, scores, strict=True)),
                    "reading": asdict(each.reading) if each.reading else None,
                    "parts": [asdict(part) for part in each.parts],
                    "reason": each.reason,
                    "how": each.details,
                }
            )
    first = {"title": chat.title, "model": chat.model, "system": chat.system}
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [first, *lines])


def _heading(turn: Turn) -> str:
    steered = " → ".join(panel_knob.in_words(part.knobs) for part in turn.parts) or "unsteered"
    known = [score for score in turn.scores if not math.isnan(score)]
    if not known or turn.reading is None:
        return steered
    return f"{steered} (probe {sum(known) / len(known):+.2f} at layer {turn.reading.layer})"


def _marked(turn: Turn) -> str:
    """The text, with each later dose where it took effect."""
    if not turn.pieces:
        return turn.content
    marks = {part.start: f" **[{panel_knob.in_words(part.knobs)}]** " for part in turn.parts if part.start}
    return "".join(marks.get(number, "") + piece for number, piece in enumerate(turn.pieces))
