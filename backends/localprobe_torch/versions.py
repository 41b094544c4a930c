"""The versions of the libraries."""

from __future__ import annotations

from importlib.metadata import version


def versions() -> str:
    """The libraries that do the computation, e.g. `torch 2.13.0, transformers 5.23.0`."""
    return ", ".join(f"{name} {version(name).split('+')[0]}" for name in ("torch", "transformers"))
