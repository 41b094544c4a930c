"""The MLX engine: mlx-lm models on Apple's Metal, or on the CPU of a Linux machine for tests.

Importing this package imports no mlx; `backend.available()` and `backend.load()` do.
"""

from localprobe_mlx.plugin import MlxBackend

__all__ = ["backend"]

backend = MlxBackend()
