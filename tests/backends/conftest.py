"""Engines whose libraries are not installed are not tested."""

from __future__ import annotations

from importlib.util import find_spec

_TORCH = all(find_spec(name) for name in ("torch", "transformers", "accelerate"))
collect_ignore_glob = [] if _TORCH else ["test_torch_*.py"]
