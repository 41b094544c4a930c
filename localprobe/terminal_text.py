"""Text that is safe to write to a terminal, whoever wrote it: a model, a file, the name of a run.

A terminal obeys control characters: ESC and the C1 controls begin sequences that move the cursor, set the window's
title or write to the clipboard; bidirectional overrides show a text in another order than it has. Everything that
localprobe shows goes through `visible`: the command line by `localprobe.cli.output`, the app by
`localprobe_tui.widgets.plain`.
"""

from __future__ import annotations

_PICTURES = {number: 0x2400 + number for number in range(0x20) if chr(number) not in "\n\t"} | {0x7F: 0x2421}
_MARK = 0xFFFD  # the replacement character
_HIDDEN = (
    *range(0x80, 0xA0),  # C1 controls: U+009B begins a sequence as ESC [ does
    *range(0x202A, 0x202F),  # bidirectional embeddings and overrides
    *range(0x2066, 0x206A),  # bidirectional isolates
    0x2028,  # separators of lines and paragraphs: some programs break the line at them
    0x2029,
)
_SHOWN = _PICTURES | dict.fromkeys(_HIDDEN, _MARK) | dict.fromkeys(range(0xD800, 0xE000), _MARK)


def visible(text: str) -> str:
    """The text with every character that a terminal obeys, or cannot write, made visible; `\\n` and `\\t` stay.

    C0 controls become their pictures (ESC is ␛), C1 controls, bidirectional controls and lone surrogates become U+FFFD.
    One character stays one character, so positions in the text stay what they were.
    """
    return text if text.isascii() and text.isprintable() else text.translate(_SHOWN)


def one_line(text: str) -> str:
    """`visible`, and newlines and tabs are visible too: for a name, or an error, that must not begin a line of its
    own."""
    return visible(text).translate({0x0A: 0x240A, 0x09: 0x2409})


def tell(line: str) -> None:
    """Print a line for a user of the Python API: the default of what takes a `notify`."""
    print(visible(line))
