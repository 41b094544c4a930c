"""A chat as a file: Markdown to read, JSONL with every token's score and every dose to work with."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from localprobe_tui.talk.words import alarm_lines, in_words, turned

if TYPE_CHECKING:
    from localprobe.chats.turns import Chat, Turn


def write(chat: Chat, folder: Path, kind: str) -> Path:
    """Write the shown path of a chat as `md` or `jsonl` to a new file, and return the file.

    Raises LocalprobeError if the disk refuses.
    """
    from localprobe.store.files import write_whole

    name = "".join(letter if letter.isalnum() else "-" for letter in chat.title.lower())[:40].strip("-") or "chat"
    path = folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.{kind}"
    write_whole(path, (markdown(chat) if kind == "md" else jsonl(chat)).encode())
    return path


def markdown(chat: Chat) -> str:
    """The chat as Markdown, each answer headed by its knobs."""
    lines = [f"# {chat.title or 'Chat'}", "", f"Model: {chat.model}"]
    if chat.system:
        lines += ["", f"System prompt: {chat.system}"]
    for turn in chat.path():
        lines += ["", "## You" if turn.role == "user" else f"## {_heading(turn)}", "", _marked(turn), *_alarms(turn)]
        other = chat.turns.get(turn.beside or "")
        if other is not None:
            lines += ["", f"### Beside it: {_heading(other)}", "", _marked(other), *_alarms(other)]
    return "\n".join(lines) + "\n"


def jsonl(chat: Chat) -> str:
    """One line per message; the answers of a split view have lines too.

    `tokens` are [text, score], where the score is the raw projection on the direction of `reading`. Each of `parts` has
    its first token, its knobs, and what they add to a score directly. `gates` are the conditions that began or ceased
    to hold, and `alerts` the tokens at which a watched-for probe fired.
    """
    lines = []
    for turn in chat.path():
        for message in filter(None, (turn, chat.turns.get(turn.beside or ""))):
            scores = [None if math.isnan(score) else score for score in message.scores]
            lines.append(
                {
                    "role": message.role,
                    "content": message.content,
                    "id": message.id,
                    "parent": message.parent,
                    "kept": message is turn,
                    "tokens": list(zip(message.pieces, scores, strict=True)),
                    "reading": asdict(message.reading) if message.reading else None,
                    "parts": [asdict(part) for part in message.parts],
                    "gates": [asdict(change) for change in message.gates],
                    "alerts": [asdict(alert) for alert in message.alerts],
                    "reason": message.reason,
                    "how": {key: value for key, value in message.details.items() if key not in ("gates", "alerts")},
                }
            )
    first = {"title": chat.title, "model": chat.model, "system": chat.system}
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [first, *lines])


def _heading(turn: Turn) -> str:
    steered = " → ".join(in_words(part.knobs) for part in turn.parts) or "unsteered"
    scores = [score for score in turn.scores if not math.isnan(score)]
    if not scores or turn.reading is None:
        return steered
    return f"{steered} (probe {sum(scores) / len(scores):+.2f} at layer {turn.reading.layer})"


def _marked(turn: Turn) -> str:
    """The text, with each later dose where it took effect, and gates where they turned."""
    if not turn.pieces:
        return turn.content
    marks = {part.start: f" **[{in_words(part.knobs)}]** " for part in turn.parts if part.start}
    for token, gates in turned(turn).items():
        marks[token] = marks.get(token, "") + "".join(f" **⟦{gate}⟧** " for gate in gates)
    return "".join(marks.get(number, "") + piece for number, piece in enumerate(turn.pieces))


def _alarms(turn: Turn) -> list[str]:
    """What was watched for and fired, as a list."""
    lines = [f"- ⚑ {line}" for line in alarm_lines(turn)]
    return ["", *lines] if lines else []
