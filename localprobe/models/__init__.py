"""From a model's name to weights on this disk that an engine can load.

`names` resolves, `catalogue` holds the short names, `shape` tells layers and width, `download` fetches from the hub,
`checkpoint` looks at files without loading them, `weights` hashes them, `fits` judges memory, `inventory` lists what
there is.
"""

from localprobe.models.names import formats, resolve
from localprobe.models.shape import shape

__all__ = ["formats", "resolve", "shape"]
