"""What a baked folder says of itself: localprobe.json for programs, README.md for people."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from localprobe.baking.folder import MARK, README, write_json
from localprobe.baking.result import Baked
from localprobe.gguf.folder import wrote_tokenizer
from localprobe.store import hashes
from localprobe.store.json_values import to_json
from localprobe.store.names import exists, path_of
from localprobe.terminal_text import one_line
from localprobe.version import __version__

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def write(baked: Baked, source: Path, folder: Path, digests: dict[str, str]) -> None:
    """Write both notes into `folder`. `digests` are the SHA-256 of its weight files."""
    write_json(folder / MARK, _mark(baked, source, digests))
    (folder / README).write_text(readme(baked), encoding="utf-8")


def _mark(baked: Baked, source: Path, digests: dict[str, str]) -> dict[str, Any]:
    mark: dict[str, Any] = {
        "format": 1,
        "kind": "removal",
        "localprobe": __version__,
        "source": {"model": _named(baked.model), "weights": baked.weights, "architecture": baked.architecture},
        "removed": [to_json(replace(removed, model=_named(removed.model))) for removed in baked.removed],
        "share": baked.share,
        "changed": baked.changed,
        "dtype": baked.dtype,
        "quantisation": baked.quantisation,
        "untied": baked.untied,
        "check": to_json(baked.check) if baked.check else {"unchecked": baked.unchecked},
        "sha256": dict(digests),
    }
    if wrote_tokenizer(source):  # a tokenizer made of a GGUF's is to be loaded as it is
        mark["sha256"]["tokenizer.json"] = hashes.sha256(source / "tokenizer.json")
    return mark


def readme(baked: Baked) -> str:
    """The model card."""
    concepts = ", ".join(f"**{removed.concept}**" for removed in baked.removed)
    name = _plain(_named(baked.model))
    base = f"base_model: {name}\n" if _HUB_NAME.fullmatch(name) and not _is_local(baked.model) else ""
    return f"""---
{base}tags:
  - localprobe
---

# {name} without {_plain(", ".join(removed.concept for removed in baked.removed))}

Weights of `{name}` from which localprobe {__version__} removed {_plain(concepts)}: {_what(baked)}.

| | |
| --- | --- |
| source | `{name}` ({baked.architecture}), SHA-256 of its weights `{baked.weights}` |
{_rows(baked)}| share removed | {baked.share:g} |
| changed | {changes(baked)} |
| unembedding | {_head(baked)} |
| checked | {checked(baked)} |

With D an orthonormal basis of the directions and s the share, a matrix that writes to the residual stream became
W - s D Dᵀ W, a bias b - s D Dᵀ b, and a row e of an embedding e - s D Dᵀ e. Nothing else was changed. The licence of
the source holds for these weights too. What the removal does to answers was not measured.
"""


def changes(baked: Baked) -> str:
    """`token embedding, attention (30), MLP (30): 61 of 273 tensors, as float32`."""
    parts = [what if count == 1 else f"{what} ({count})" for what, count in baked.changed.items()]
    return f"{', '.join(parts)}: {sum(baked.changed.values())} of {baked.tensors} tensors, as {_type(baked)}"


def checked(baked: Baked) -> str:
    """What the check found, in words."""
    check = baked.check
    if check is None:
        return f"no: {baked.unchecked}"
    at_one = "" if baked.share == 1 else " (measured at share 1, where nothing should be left)"
    return (
        f"on {check.engine} in {check.dtype}, {check.tokens} tokens, {check.layers} layers: the residuals have at most "
        f"{check.left:.1e} of a random direction's part left, of {check.tolerance:g} allowed for rounding{at_one}"
    )


def _what(baked: Baked) -> str:
    several = len(baked.removed) > 1
    whole = "what these directions span" if several else "its direction"
    share = "" if baked.share == 1 else f"{baked.share:.0%} of "
    return f"{share}{whole} is projected out of all that writes to the residual stream"


def _type(baked: Baked) -> str:
    return f"{baked.dtype}, converted from {baked.quantisation}" if baked.quantisation else baked.dtype


def _head(baked: Baked) -> str:
    return "was tied to the embedding; now a tensor of its own, with the old values" if baked.untied else "unchanged"


def _rows(baked: Baked) -> str:
    return "".join(
        f"| direction | {_plain(removed.concept)} at layer {removed.layer}, fitted on "
        f"{f'`{_plain(_named(removed.model))}`' if removed.model else 'a model that its file does not name'}, "
        f"SHA-256 of the vector `{removed.sha256}` |\n"
        for removed in baked.removed
    )


def _plain(text: str) -> str:
    """A name on one line of a Markdown table."""
    return one_line(text).replace("|", "/").replace("`", "'")


def _named(model: str) -> str:
    """A model's name; of one on this disk the last part of its path, as a folder may travel where the path is nobody's
    business."""
    return path_of(model).name if _is_local(model) else model


def _is_local(model: str) -> bool:
    return model.startswith(("/", ".", "~")) or exists(path_of(model)) or path_of(model).is_absolute()
