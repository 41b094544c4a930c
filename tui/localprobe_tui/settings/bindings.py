"""The keys that a user can set in `config.toml`."""

from __future__ import annotations

from collections.abc import Iterable

from textual.binding import Binding
from textual.dom import DOMNode


def ids(classes: Iterable[type[DOMNode]]) -> frozenset[str]:
    """The ids of the bindings of screens and widgets."""
    every = [binding for node in classes for binding in node.BINDINGS]
    return frozenset(binding.id for binding in every if isinstance(binding, Binding) and binding.id)
