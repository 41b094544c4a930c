"""The PyTorch engine: Hugging Face transformers on CUDA, MPS or the CPU.

Importing this package imports neither torch nor transformers; `backend.available()` and `backend.load()` do.
"""

from localprobe_torch.plugin import TorchBackend

__all__ = ["backend"]

backend = TorchBackend()
