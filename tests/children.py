"""The child processes that engines run in."""

from __future__ import annotations

import psutil


def children() -> list[psutil.Process]:
    """Engines that run as children of this process."""
    return [each for each in psutil.Process().children(recursive=True) if "localprobe.remote.child" in each.cmdline()]
