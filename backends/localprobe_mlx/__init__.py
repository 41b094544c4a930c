"""The MLX engine: mlx-lm models on Apple's Metal; on Linux on the CPU, for tests."""

from localprobe_mlx.backend import backend

__all__ = ["backend"]
