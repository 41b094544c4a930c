"""The decoders that the libraries know, by the `model_type` of their configs, read without importing the libraries."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path


def transformers_names() -> list[str]:
    """The keys of MODEL_FOR_CAUSAL_LM_MAPPING_NAMES; empty if transformers is not installed."""
    folder = _folder("transformers")
    if folder is None:
        return []
    tree = ast.parse((folder / "models" / "auto" / "modeling_auto.py").read_text(encoding="utf-8"))
    mapping = _assigned(tree, "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES")
    assert isinstance(mapping, ast.Call)
    return [name for name, _ in ast.literal_eval(mapping.args[0])]


def mlx_names() -> list[str]:
    """The modules of mlx_lm.models that hold a model, and the names that mlx-lm loads as one of them."""
    folder = _folder("mlx_lm")
    if folder is None:
        return []
    files = sorted((folder / "models").glob("*.py"))
    modules = [file.stem for file in files if "\nclass ModelArgs" in file.read_text(encoding="utf-8")]
    mapping = _assigned(ast.parse((folder / "utils.py").read_text(encoding="utf-8")), "MODEL_REMAPPING")
    return modules + list(ast.literal_eval(mapping))


def _folder(module: str) -> Path | None:
    spec = find_spec(module)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _assigned(tree: ast.Module, name: str) -> ast.expr:
    """The value that a module assigns to `name`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            return node.value
    raise LookupError(f"no {name}: has the library changed?")
