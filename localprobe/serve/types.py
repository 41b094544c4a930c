"""The bodies of requests for generation, and of their answers: OpenAI's, and `localprobe` beside them.

What is not declared here is refused by name, so that a typo is not ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType, field

from localprobe.generation.events import Reason

Count: TypeAlias = Annotated[int, Meta(ge=1, le=1 << 31)]
Choices: TypeAlias = Annotated[int, Meta(ge=1, le=8)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200)]
Said: TypeAlias = Annotated[str, Meta(min_length=1, max_length=2000)]
"""A name or a condition as the steering language writes it, in quotes if it must."""
Stop: TypeAlias = str | Annotated[list[str], Meta(max_length=4)] | None
Seed: TypeAlias = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
TokenId: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]


class Strict(Struct, forbid_unknown_fields=True):
    """A part of a body, with no other fields than these."""


class TextPart(Strict):
    """A part of a message. Only texts are read."""

    text: str
    type: Literal["text"] = "text"


class ChatMessage(Strict):
    """A message of a conversation; `developer` is another word for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None
    """Only an answer may be null, as if it were empty."""
    name: str | None = None
    """Ignored."""
    refusal: None = None
    audio: None = None
    annotations: Any = None
    """Ignored."""
    function_call: None = None
    tool_calls: Annotated[list[Any], Meta(max_length=0)] | None = None

    @property
    def text(self) -> str:
        """The content, parts joined."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content or ())


class StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    """Ignored: nothing is obfuscated."""


class SteeringTerm(Strict):
    """A term of the steering language, in parts. One of `dose`, `alpha` and `ablate` is given."""

    vector: Name
    """A name of the library."""
    dose: float | None = None
    """What is added, in residual lengths of the model."""
    alpha: float | None = None
    """What is added, as the factor of the vector."""
    ablate: Share | None = None
    """The share of the component that is removed."""
    layer: Annotated[int, Meta(ge=0)] | None = None
    layers: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1, max_length=1000)] | Said | None = None
    """A list, or as the language writes them: `all`, `12-18`."""
    positions: Said | None = None
    """As the language writes them: `response`, `first 5`, `response outside thinking`."""
    if_: Said | None = field(default=None, name="if")
    """A condition on the prompt: `refusal > fpr 0.01`."""
    when: Said | None = None
    """A condition on the tokens of the answer."""
    until: float | None = None
    """Where the condition of `when` ends."""
    tokens: Count | None = None
    """Only the first so many tokens of the answer."""


Steering: TypeAlias = str | list[str | SteeringTerm] | SteeringTerm | bool | None
"""An expression of the steering language, terms, or a list of both. `false` or an empty text steers nothing; null takes
the server's default."""


class Generation(Struct, forbid_unknown_fields=True, kw_only=True):
    """What requests for chats and for texts have in common."""

    model: str | None = None
    """One of `GET /v1/models`; without it, the one that is loaded."""
    steering: Steering = None
    probes: Annotated[list[Said], Meta(max_length=64)] | None = None
    """Vectors of the library, `NAME` or `NAME@LAYER`: every token is scored by them."""
    watch: Annotated[list[Said], Meta(max_length=64)] | None = None
    """Conditions such as `refusal > fpr 0.01`: the answer tells of tokens where they hold."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Choices | None = None
    seed: Seed | None = None
    """The same seed gives the same random numbers; without one they differ by request."""
    stop: Stop = None
    max_tokens: Count | None = None
    return_token_ids: bool | None = None
    """Whether choices say the ids of their tokens, as `token_ids`."""
    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    """0.7 if not given. 0 takes the most likely token."""
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=(1 << 31) - 1)] | None = None
    min_p: Share | None = None
    # Accepted, since they change nothing here.
    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None
    # Refused unless they ask for nothing: see `localprobe.serve.unsupported`.
    frequency_penalty: Any = None
    presence_penalty: Any = None
    logit_bias: Any = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def tells_usage(self) -> bool:
        """Whether its stream ends with the number of tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def limit(self) -> int | None:
        """The most tokens that it asks for."""
        return self.max_tokens


class ChatRequest(Generation, kw_only=True):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    max_completion_tokens: Count | None = None
    # Accepted, since they change nothing here.
    parallel_tool_calls: Any = None
    moderation: Any = None
    # Refused unless they ask for nothing.
    audio: Any = None
    functions: Any = None
    function_call: Any = None
    modalities: Any = None
    prediction: Any = None
    reasoning_effort: Any = None
    response_format: Any = None
    tools: Any = None
    tool_choice: Any = None
    verbosity: Any = None
    web_search_options: Any = None

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(Generation, kw_only=True):
    """The body of `POST /v1/completions`."""

    prompt: str | list[str | TokenId | list[TokenId]]
    """A text, texts, token ids, or lists of ids. No chat template is put around it."""
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    # Refused unless they ask for nothing.
    best_of: Any = None
    echo: Any = None
    suffix: Any = None


class Applied(Struct, omit_defaults=True):
    """The steering of an answer, as it was applied."""

    steering: str
    """The expression, as the language writes it; empty if nothing steers."""
    terms: list[dict[str, Any]] = []
    """Each knob: layer, alpha, dose, positions, ..."""
    notices: list[str] = []


class GateEvent(Struct):
    """A condition of the steering holds from this token on, or no longer."""

    token: int
    gate: str
    open: bool
    score: float | None


class AlertEvent(Struct):
    """A probe that is watched fired at this token."""

    token: int
    probe: str
    score: float
    threshold: float


class Extra(Struct, omit_defaults=True):
    """What an answer, or a chunk of it, says beside OpenAI's fields."""

    scores: list[dict[str, float | int]] = []
    """`token` is the index in the answer; the scores, by the names of `probes`, are projections in residual units."""
    gates: list[GateEvent] = []
    alerts: list[AlertEvent] = []
    reason: Reason | None = None
    """Why the answer ended, if not at the model's end token or the token limit, which `finish_reason` means otherwise:
    `stop` (a stop string) or `context` (it is full)."""

    def __bool__(self) -> bool:
        return bool(self.scores or self.gates or self.alerts or self.reason)

    def add(self, other: Extra) -> None:
        """Take what is known more."""
        self.scores += other.scores
        self.gates += other.gates
        self.alerts += other.alerts
        self.reason = self.reason or other.reason


Finish: TypeAlias = Literal["stop", "length"]


class TopLogprob(Struct):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(Struct):
    """A token, its log-probability, and the most likely ones at its place."""

    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Struct):
    content: list[TokenLogprob]
    refusal: None = None


class TextLogprobs(Struct):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class CachedTokens(Struct):
    cached_tokens: int


class Usage(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class AnswerMessage(Struct):
    content: str
    role: Literal["assistant"] = "assistant"
    refusal: None = None


class ChatChoice(Struct):
    index: int
    message: AnswerMessage
    finish_reason: Finish
    logprobs: ChatLogprobs | None = None
    localprobe: Extra | UnsetType = UNSET
    token_ids: list[int] | UnsetType = UNSET


class ChatAnswer(Struct):
    """The answer of `POST /v1/chat/completions`."""

    id: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    localprobe: Applied
    system_fingerprint: str
    object: Literal["chat.completion"] = "chat.completion"


class Delta(Struct):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET


class ChunkChoice(Struct):
    index: int
    delta: Delta
    finish_reason: Finish | None = None
    logprobs: ChatLogprobs | None = None
    localprobe: Extra | UnsetType = UNSET
    token_ids: list[int] | UnsetType = UNSET


class ChatChunk(Struct):
    """One event of a streamed answer."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    system_fingerprint: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    usage: Usage | UnsetType | None = UNSET
    localprobe: Applied | UnsetType = UNSET


class TextChoice(Struct):
    index: int
    text: str
    finish_reason: Finish | None = None
    logprobs: TextLogprobs | None = None
    localprobe: Extra | UnsetType = UNSET
    token_ids: list[int] | UnsetType = UNSET


class TextAnswer(Struct):
    """The answer of `POST /v1/completions`, or, without `usage`, one event of it."""

    id: str
    created: int
    model: str
    choices: list[TextChoice]
    system_fingerprint: str
    object: Literal["text_completion"] = "text_completion"
    usage: Usage | UnsetType | None = UNSET
    localprobe: Applied | UnsetType = UNSET


class ErrorBody(Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(Struct):
    """What every refusal and failure answers."""

    error: ErrorBody
