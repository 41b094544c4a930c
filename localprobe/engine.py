"""The contract that every engine fulfils. What the core can do for all engines is not part of it.

An engine turns rows of token ids into residuals, log-probabilities and sampled tokens. It has three verbs:
`encode`/`decode` (text and ids), `forward` (one pass, no cache) and `open` (decoding with a KV cache).
Batching by length, spans, pooling rules, chat templates, seeds, stop rules, doses and live scores are the core's.

Conventions, everywhere:

- Layer `b` is the 0-based index of a transformer block. Its residual is the block's output, before the final
  norm and after any steering at that layer.
- A position is a 0-based index into a row's ids, a first BOS included. A span is `[start, stop)`.
- Steering edits the residual of a term's layer at the positions of its span: it adds `delta` (float32, already
  alpha * v), or moves the residual's coordinates along some directions. The terms of a row at one layer act in their
  order; `localprobe.edits` is the reference.
- Arrays that cross the contract are numpy, on the host: ids int32, residuals, scores and log-probabilities float32.

An engine may be called from any thread, but only from one at a time; an engine whose library is bound to one thread
moves the calls there itself. `localprobe.testing.EngineContract` is the test suite that every engine passes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.int32]
FloatArray: TypeAlias = NDArray[np.float32]
Span: TypeAlias = tuple[int, int]
WeightsFormat: TypeAlias = Literal["folder", "gguf", "fake"]
Operator: TypeAlias = Literal["add", "keep-norm", "ablate", "cap"]
"""What a term does: add a delta; add it and restore the residual's length; take a share of the coordinates along some
directions away; hold a coordinate within bounds."""
OPERATORS: tuple[Operator, ...] = get_args(Operator)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine supports. The core works around what is missing or raises; nothing is ignored silently."""

    row_steering: bool = True
    """Rows of one batch may be steered differently. If not, the core makes one batch per steering."""
    span_steering: bool = True
    """A term may apply to some positions only. If not, only positions `all` are accepted."""
    operators: tuple[Operator, ...] = ("add",)
    """What terms may do. The core refuses the others by name."""
    top: bool = False
    """Steps report the most likely tokens. If not, the core refuses to list them."""
    early_stop: bool = True
    """A pass without logits ends after the deepest of the requested layers."""
    reuse: bool = True
    """`open` can resume from an earlier stream's cache. If not, the core prefills again."""
    join: bool = False
    """Rows may join a stream that decodes, and positions be held for later rows: `open` takes a `reserve`. If not, a
    server refuses the engine."""
    first_layer: int = 0
    """The lowest layer that can be steered."""
    no_decoding: str = ""
    """Why `open` is refused, as a verb and what follows: `keeps a recurrent state (conv) that this engine cannot resume
    row by row`. Then only `forward` works. Empty if the model decodes."""


@dataclass(frozen=True, slots=True)
class Info:
    """What was loaded."""

    engine: str
    """The engine's registered name: `torch`, `mlx`, `llama`, `fake`."""
    version: str
    """The libraries that do the computation, e.g. `torch 2.13.0, transformers 5.23.0`."""
    model: str
    """The model's name as the user knows it."""
    architecture: str
    """`llama`, `qwen2`, `phi3`, `gemma3_text`, ... as the model's own config calls it."""
    layers: int
    width: int
    """d_model: the length of a residual."""
    vocabulary: int
    """Length of a row of logits."""
    context: int
    """The most tokens that a row may hold, prompt and answer together."""
    device: str
    dtype: str
    """Type that residuals are computed in: `float32`, `bfloat16`, `float16`."""
    weights: str
    """Hash of the weights (`localprobe.models.weights.fingerprint`)."""
    quantisation: str | None = None
    """`Q4_1`, `4bit`, ...; None for plain floats."""
    chat_template: str | None = None
    """The model's own Jinja template."""
    special_text: dict[str, str] = field(default_factory=dict)
    """Special tokens by the names that templates use: `bos_token`, `eos_token`, ..."""
    marks: tuple[str, ...] = ()
    """Texts of all special tokens: what `encode` reads as one token in the output of a template, and as characters in
    plain text."""
    template_args: tuple[str, ...] = ()
    """Arguments of the chat template, `NAME=VALUE`, as the user gave them (`LoadOptions.template_args`)."""
    bos: int | None = None
    """The id that `encode` puts before plain text; None if the model uses none."""
    eos: tuple[int, ...] = ()
    """Ids that end an answer (end of text and end of turn)."""
    capabilities: Capabilities = Capabilities()
    notes: tuple[str, ...] = ()
    """Lines to show to the user, e.g. that this build has no GPU support."""
    threads: int | None = None
    """CPU threads used; None where the CPU computes nothing, or the engine does not report it."""
    rope_length: int | None = None
    """A row of more tokens than this is rotated by other factors at all of its positions (long RoPE, as in Phi-3);
    None if the model has one set of factors. `forward` runs rows on both sides of it as if each were alone; a stream
    stays on one side, and the core opens a row again when it outgrows it."""

    def is_long(self, length: int) -> bool:
        """Whether a row of `length` tokens is rotated by the factors for long rows."""
        return self.rope_length is not None and length > self.rope_length

    @property
    def place(self) -> str:
        """Device and threads, as shown to a user: `cpu, 8 threads`."""
        if self.threads is None:
            return self.device
        return f"{self.device}, {self.threads} thread{'' if self.threads == 1 else 's'}"


@dataclass(frozen=True, slots=True, eq=False)
class Coordinates:
    """What becomes of the coordinates `p = h @ basis.T` of a residual h: they turn into
    `p' = clip(p + share * (target - p), low, high)`, and h into `h + (p' - p) @ basis`.

    With `share` s and no bounds this is directional ablation, `h - s (p - m) d` (Arditi et al. 2024, eq. 4, for s = 1
    and m = 0; m = the mean over neutral texts is mean ablation). With `share` 0 it holds p within [low, high].
    """

    basis: FloatArray
    """(k, width) float32, orthonormal rows."""
    target: FloatArray
    """(k,) float32: m."""
    share: float = 0.0
    """s, 0 leaves the coordinates as they are, 1 sets them to the target."""
    low: float = float("-inf")
    high: float = float("inf")

    @property
    def bounded(self) -> bool:
        """Whether it has a bound."""
        return self.low != float("-inf") or self.high != float("inf")


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One edit of the residual stream of one row at `layer`, for positions in `[start, stop)`.

    `h' = h + delta`, or what `coordinates` say.

    `delta` is alpha * v, float32, shape (width,), multiplied once by the core; zeros for a term with coordinates, which
    `along` makes. `stop=None` reaches every later position, generated ones included.
    """

    layer: int
    delta: FloatArray
    start: int = 0
    stop: int | None = None
    keep_norm: bool = False
    """The sum is rescaled to the length that the residual had: `h' = (h + delta) |h| / |h + delta|`."""
    coordinates: Coordinates | None = None

    @classmethod
    def along(cls, layer: int, coordinates: Coordinates, start: int = 0, stop: int | None = None) -> Term:
        """A term that moves coordinates."""
        nothing = np.zeros(coordinates.basis.shape[1], dtype=np.float32)
        return cls(layer, nothing, start, stop, coordinates=coordinates)

    @property
    def operator(self) -> Operator:
        """What it does."""
        if self.coordinates is not None:
            return "cap" if self.coordinates.bounded else "ablate"
        return "keep-norm" if self.keep_norm else "add"

    @property
    def idle(self) -> bool:
        """Whether it leaves every residual as it is."""
        if self.coordinates is not None:
            return self.coordinates.share == 0 and not self.coordinates.bounded
        return not self.delta.any()

    def covers(self, position: int) -> bool:
        """Whether `position` is steered by this term."""
        return self.start <= position and (self.stop is None or position < self.stop)

    @property
    def content(self) -> Hashable:
        """What it does at its layer, equal for terms that do the same bit for bit."""
        if self.coordinates is None:
            return (self.operator, self.delta.tobytes())
        parts = self.coordinates
        return (parts.basis.tobytes(), parts.target.tobytes(), parts.share, parts.low, parts.high)


Steering: TypeAlias = tuple[Term, ...]
"""All terms of one row; several terms at one layer act in their order."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One row of a forward pass, and the outputs requested for it."""

    ids: IntArray
    """(n,) int32, n >= 1."""
    steering: Steering = ()
    spans: tuple[Span, ...] | None = None
    """Residuals are averaged over each of these spans, on the device, in float32; None gives every position.
    A span is not empty and lies inside the row."""
    targets: IntArray | None = None
    """(k, 2) int32 of (position, id): the log-probability of `id` as the token that follows `position`."""
    full: tuple[int, ...] = ()
    """Positions whose next-token log-probabilities are returned for the whole vocabulary."""


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """The output of one row of a forward pass."""

    residuals: FloatArray
    """(len(layers), spans or positions, width) float32, in the order of the requested `layers`."""
    targets: FloatArray
    """(k,) float32 log-probabilities, natural log, temperature 1."""
    full: FloatArray
    """(len(row.full), vocabulary) float32 log-probabilities."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """How a token is drawn: temperature, then top-k, top-p, min-p, then the inverse CDF of one uniform number.

    `localprobe.sampling.sample` is the reference that engines follow. Temperature 0 takes the most likely token.
    """

    temperature: float = 0.7
    top_k: int = 0
    """Keep the k most likely; 0 keeps all."""
    top_p: float = 1.0
    """Keep the fewest most likely tokens whose probabilities reach p."""
    min_p: float = 0.0
    """Keep tokens whose probability is at least this fraction of the largest."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """A prompt to decode from."""

    ids: IntArray
    """(n,) int32, n >= 1."""
    steering: Steering = ()
    sampler: Sampler = Sampler()
    copies: int = 1
    """How many adjacent rows of the stream start from this prompt, prefilled once."""
    keep: int = 0
    """The number of leading positions that are already in a cache, keep < n: with `reuse`, in the same row of the old
    stream; with `held`, among the held positions."""
    held: int | None = None
    """For `Stream.join` and `Stream.prefill`: the number of held positions that the prompt begins with. They are copied
    and stay held."""
    top: int = 0
    """How many of the most likely tokens each step reports for its rows."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """What a stream that rows may join needs memory for."""

    rows: int
    """The most rows at a time; prefixes that are held count as rows."""
    tokens: int
    """The most positions of all rows, with the room that each was given, and of held prefixes together."""
    longest: int
    """The most tokens that a row will hold. It decides the side of `Info.rope_length` that all rows must be on."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Positions that a stream keeps in its cache apart from its rows."""

    number: int
    """Names them in this stream; never given twice."""
    scores: FloatArray
    """(n - keep, watches) float32: projections of the positions that were computed."""


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """A projection to read at every token: the dot product of the residual after `layer` with `vector` (width,)."""

    layer: int
    vector: FloatArray

    @property
    def content(self) -> Hashable:
        """Equal for watches that read the same."""
        return (self.layer, self.vector.tobytes())


@dataclass(frozen=True, slots=True, eq=False)
class Top:
    """The most likely next tokens of each row, the most likely first."""

    ids: IntArray
    """(rows, k) int32: k is the most that a live row asked for."""
    logprobs: FloatArray
    """(rows, k) float32, as `Step.logprobs`."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One token for every live row of a stream."""

    ids: IntArray
    """(rows,) int32: the tokens just sampled."""
    logprobs: FloatArray
    """(rows,) float32: their log-probabilities under the steered model at temperature 1, before any cut. Not finite in
    a row whose predictions are not, which ends no other row."""
    scores: FloatArray
    """(rows, watches) float32: projections of the tokens sampled by the step *before*, whose residuals exist only
    now. NaN at the first step."""
    top: Top | None = None
    """None if no row asked (`Prompt.top`). Needs `Capabilities.top`."""


class Stream(Protocol):
    """Rows being decoded, each with its own steering and sampler. Rows are numbered from 0 in
    prompt order; `drop` renumbers those that stay.

    The core keeps at most one stream open at a time. A `forward` between two steps disturbs neither.
    """

    @property
    def prompt_scores(self) -> Sequence[FloatArray]:
        """For each prompt given to `open` (not each copy): (n - keep, watches) projections of the positions that
        its prefill computed."""
        ...

    def step(self, uniforms: NDArray[np.float64]) -> Step:
        """Run the tokens sampled last (with the steering of their positions), then sample the next ones by `uniforms`
        (rows,) in [0, 1). The first step samples from the prompt's last position and runs nothing."""
        ...

    def settle(self) -> FloatArray:
        """Run the tokens sampled last without sampling more, so that the cache holds them. Returns their scores
        (rows, watches), NaN if no token is pending."""
        ...

    def steer(self, row: int, steering: Steering) -> None:
        """Replace a row's terms for every position not yet run; it affects the next token sampled."""
        ...

    def drop(self, rows: Sequence[int]) -> None:
        """Take finished rows out of the batch."""
        ...

    def join(self, prompts: Sequence[Prompt], room: int) -> Sequence[FloatArray]:
        """Prefill prompts into a stream that was opened with a `reserve`: their rows come after those there are, and
        each may grow by `room` tokens. Returns scores as `prompt_scores` gives them.

        Tokens sampled last are run first; their scores come with the next `step` or `settle`, in which rows that have
        just joined have NaN. Nothing of the other rows changes.

        Raises OutOfMemory if the reserve or the memory has no place; the other rows go on.
        """
        ...

    def prefill(self, prompt: Prompt) -> Held:
        """Run a prompt that no row decodes yet, and hold its positions: the beginning of a long prompt, or one that
        many share. Its sampler, `copies` and later positions of its steering do not matter. Raises as `join`."""
        ...

    def hold(self, row: int, length: int) -> int:
        """Hold the first `length` positions of a row, at least 1 and at most those that were run. Returns their number.
        Raises as `join`."""
        ...

    def release(self, held: int) -> None:
        """Free held positions."""
        ...

    def watch(self, watch: Sequence[Watch]) -> None:
        """Read these projections instead, from the next token run on. Scores that wait for the next step are given for
        those of them that were read before, NaN for the others."""
        ...

    def close(self) -> None:
        """Free the cache. Any other call on a closed stream raises LocalprobeError; closing twice is fine."""
        ...


class Engine(Protocol):
    """A loaded model."""

    @property
    def info(self) -> Info: ...

    def encode(self, text: str, *, template: bool = False) -> IntArray:
        """Ids of a text.

        Plain text (`template=False`) follows the model's own BOS rule and gets no EOS; special tokens written in it
        are encoded as ordinary characters. In the output of a chat template (`template=True`) special tokens are
        recognised, and nothing is added.
        """
        ...

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        """Text of ids without special tokens and without clean-up of spaces; incomplete UTF-8 gives U+FFFD."""
        ...

    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        """One pass over a batch of rows, with no cache.

        Returns residuals of `layers` (any order, may be empty) for each row's `spans`, and log-probabilities for its
        `targets` and `full`. Without either of those, the pass ends after the deepest layer. Rows are independent, on
        both sides of `info.rope_length` too (`localprobe.batches.apart` runs the two sides one after the other).

        Raises OutOfMemory if the batch does not fit; the engine stays usable.
        """
        ...

    def open(
        self,
        prompts: Sequence[Prompt],
        *,
        room: int,
        watch: Sequence[Watch] = (),
        reuse: Stream | None = None,
        reserve: Reserve | None = None,
    ) -> Stream:
        """Prefill prompts and return the stream that decodes them; each row may grow by `room` tokens.

        With `reserve`, rows may join later, `prompts` may be empty, and what rows leave behind is used again.

        With `reuse`, row i resumes row i of that stream (which has the same number of rows; copies=1): its first `keep`
        positions stay in the cache, and the old stream is closed. The core has checked that tokens and steering of
        those positions are equal, and that the row was and is on one side of `info.rope_length`.

        All prompts are on one side of `info.rope_length`, and rows must not be run past it: `step` and `settle` raise
        UsageError instead (`localprobe.checks.check_growth`).

        Raises OutOfMemory if the cache does not fit; the engine stays usable.
        """
        ...

    def close(self) -> None:
        """Free the model. Closing twice is fine."""
        ...


@dataclass(frozen=True, slots=True)
class Weights:
    """Local weights of a model, in the format that the engine will load."""

    name: str
    """The model's name as the user gave it, or its short name."""
    path: Path
    """A Hugging Face folder, or a GGUF file."""
    format: WeightsFormat
    fingerprint: str
    """Hash of the weights."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load. An engine raises UsageError for an option that it does not support."""

    dtype: str | None = None
    """`float32`, `bfloat16`, `float16`; None lets the engine choose."""
    device: str | None = None
    """`cpu`, `cuda`, `cuda:1`, `mps`, `auto` (spread over cards); None takes the best one."""
    quantise: Literal["4bit", "8bit"] | None = None
    """Quantise while loading (torch with bitsandbytes)."""
    context: int | None = None
    """Tokens a row may hold, if fewer than the model's own limit."""
    threads: int | None = None
    """CPU threads; None takes the physical cores."""
    gpu_layers: int | None = None
    """llama.cpp: blocks to put on the GPU; None puts all."""
    trust_remote_code: bool = False
    """Run Python code that comes with the weights. Set only if the user explicitly allows it."""
    template_args: tuple[str, ...] = ()
    """Arguments of the chat template, each `NAME=VALUE` with VALUE in JSON or a text: `enable_thinking=false`."""
    low_memory: bool = False
    """llama.cpp: memory-map the weights, so that they can be evicted from memory. As slow as half the usual speed."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether an engine can be used here, and on which device."""

    installed: bool
    version: str = ""
    reason: str = ""
    """If not installed: why, and the command that installs it."""
    device: str = ""
    gpu: bool = False
    notes: tuple[str, ...] = ()


@runtime_checkable
class Backend(Protocol):
    """What a backend registers in the entry-point group `localprobe.backends`: `name = "module:backend"`.

    Importing the module must not import the engine's library; `available` and `load` may.
    """

    name: str
    formats: tuple[WeightsFormat, ...]
    """Formats that it loads itself, best first."""

    def available(self) -> Availability: ...

    def load(self, weights: Weights, options: LoadOptions) -> Engine:
        """Load a model. Raises ModelError or EngineError; never leaves half a model behind."""
        ...
