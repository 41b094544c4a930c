"""Writing the removal of directions into a model's weights: a folder that loads without localprobe.

`source` finds the weights and the directions, `families` says which tensors write to the residual stream, `subspace` is
the arithmetic, `stored` reads and writes safetensors one tensor at a time, `folder` puts the folder together, `check`
loads it and looks for what is left, `note` says in it what was done. `removal` does all of that in turn.
"""

from localprobe.baking.removal import bake
from localprobe.baking.result import Baked, Check, Removed

__all__ = ["Baked", "Check", "Removed", "bake"]
