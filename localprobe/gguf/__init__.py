"""GGUF files in numpy: header, tensors and tokenizer, and the Hugging Face folder they become."""

from localprobe.gguf.folder import to_folder
from localprobe.gguf.header import Header, TensorInfo
from localprobe.gguf.parts import read_model
from localprobe.gguf.reader import read_header

__all__ = ["Header", "TensorInfo", "read_header", "read_model", "to_folder"]
