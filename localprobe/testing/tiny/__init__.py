"""Tiny models with random weights, created without torch: Hugging Face folders and GGUF files.

The same architecture and seed give the same weights in both forms, so that engines can be compared on them.
"""

from localprobe.testing.tiny.configs import ARCHITECTURES
from localprobe.testing.tiny.folder import tiny_folder
from localprobe.testing.tiny.gguf import GGUF_ARCHITECTURES, tiny_gguf

__all__ = ["ARCHITECTURES", "GGUF_ARCHITECTURES", "tiny_folder", "tiny_gguf"]
