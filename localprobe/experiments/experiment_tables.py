"""The tables of an experiment's TOML file: their keys and the values allowed."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, field

from localprobe.contrast.pairs import TEST_FRACTION
from localprobe.errors import UsageError
from localprobe.experiments.experiment import Arm, LayerChoice, Strengths
from localprobe.probing.config import METHOD, POOLING, MethodName, PoolingName
from localprobe.store.toml import Table

Text: TypeAlias = Annotated[str, Meta(pattern=r"\S")]
_MOST = 2**63 - 1  # what SQLite holds
Seed: TypeAlias = Annotated[int, Meta(ge=0, le=_MOST)]
Whole: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]  # as engines take it
Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]
Texts: TypeAlias = Annotated[tuple[Text, ...], Meta(min_length=1)]
Numbers: TypeAlias = Annotated[tuple[float, ...], Meta(min_length=1)]
_A_LAYER = Meta(description='a layer: write 12, a depth between 0.0 and 1.0, or "best" (the vector\'s own)')
Layer: TypeAlias = Annotated[int | Annotated[float, Meta(ge=0, le=1)] | Literal["best"], _A_LAYER]
Layers: TypeAlias = Annotated[Layer | Annotated[tuple[Layer, ...], Meta(min_length=1)], _A_LAYER]
_ON_OR_OFF = Meta(min_length=1, description="a list: [true], [false] or [true, false] (with it, without it, both)")


class SteeredTable(Table):
    """Strengths and layers, of the experiment or of one model."""

    doses: Numbers | None = None
    alphas: Numbers | None = None
    layers: Layers = ()

    def __post_init__(self) -> None:
        self.strengths()  # so that an error names the table

    def strengths(self) -> Strengths | None:
        """None if the table has none."""
        return Strengths.given(self.doses, self.alphas)

    def layer_choices(self) -> tuple[LayerChoice, ...]:
        """Each once."""
        layers = self.layers if isinstance(self.layers, tuple) else (self.layers,)
        return tuple(value for _, value in dict.fromkeys((type(value), value) for value in layers))  # 1 and 1.0 differ


class ModelTable(SteeredTable, kw_only=True):
    """One of `[[models]]`."""

    name: Text
    engine: Text | None = None
    label: str = ""
    dtype: Text | None = None
    device: Text | None = None
    quantise: Literal["4bit", "8bit"] | None = None
    context: Whole = 0
    threads: Whole = 0
    gpu_layers: Whole | None = None
    trust_remote_code: bool = False
    template_args: Texts = ()
    low_memory: bool = False


class VectorTable(Table):
    """One of `[[vectors]]`."""

    name: Text | None = None
    file: Text | None = None
    fit: Text | None = None
    method: MethodName = METHOD
    pooling: PoolingName = POOLING
    test_fraction: Annotated[float, Meta(ge=0, le=0.9)] = TEST_FRACTION
    seed: Seed = 0
    special_tokens: bool = False
    models: Texts | None = None

    def __post_init__(self) -> None:
        if (self.file is None) == (self.fit is None):
            raise UsageError("give `file` (a vector) or `fit` (pairs to fit one on), not both")


class PromptTable(Table):
    """One of `[[prompts]]`."""

    id: Text
    text: Text
    title: Text | None = None
    raw: bool = False


class SamplingTable(Table):
    """`[sampling]`, as `localprobe.engine.Sampler` has it."""

    temperature: Annotated[float, Meta(ge=0, le=1e6)] = 0.7
    top_k: Whole = 0
    top_p: Annotated[float, Meta(ge=1e-6, le=1)] = 1.0
    min_p: Annotated[float, Meta(ge=0, le=1)] = 0.0


class JudgeTable(Table):
    """`[judge]`"""

    generator: Text
    key_env: str = ""
    timeout: Annotated[float, Meta(ge=1, le=1e6)] = 300.0


class ExperimentTable(SteeredTable):
    """The whole file."""

    name: Text | None = None
    concept: Text = "empathy"
    word_lists: Text | None = None
    scenarios: Texts | None = None
    empathy_pressure: Annotated[tuple[bool, ...], _ON_OR_OFF] = (True,)
    arms: Annotated[tuple[Arm, ...], Meta(min_length=1)] = ("vector",)
    system_prompts: Text | None = None
    samples: Count = 5
    tokens: Count = 200
    positions: Text = "all"
    seed: Seed = 0
    measures: bool = True
    sampling: SamplingTable = field(default_factory=SamplingTable)
    models: tuple[ModelTable, ...] = ()
    vectors: tuple[VectorTable, ...] = ()
    prompts: tuple[PromptTable, ...] = ()
    judge: JudgeTable | None = None
