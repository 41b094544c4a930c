"""The versions of the libraries."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_KERNELS = {
    "4bit": "bitsandbytes",
    "8bit": "bitsandbytes",
    "bitsandbytes": "bitsandbytes",
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
    "compressed-tensors": "compressed-tensors",
    "torchao": "torchao",
    "quanto": "optimum-quanto",
    "hqq": "hqq",
}
"""The package that computes with weights of a quantisation."""


def versions(quantisation: str | None = None) -> str:
    """The libraries that do the computation, e.g. `torch 2.13.0, transformers 5.23.0`."""
    names = ["torch", "transformers"]
    if (kernels := _KERNELS.get(quantisation or "")) and _installed(kernels):
        names.append(kernels)
    return ", ".join(f"{name} {version(name).split('+')[0]}" for name in names)


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
