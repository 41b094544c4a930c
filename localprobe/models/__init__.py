"""From a model's name to weights on this disk that an engine can load.

`names` resolves names, `catalogue` holds the short names, `shape` gives layers and width, `download` fetches from the
hub, `checkpoint` checks files without loading them, `weights` hashes them, `tokens` turns text into ids by
their tokenizer, `fits` estimates memory, `inventory` lists the available models.
"""

from localprobe.models.names import formats, resolve
from localprobe.models.shape import shape

__all__ = ["formats", "resolve", "shape"]
