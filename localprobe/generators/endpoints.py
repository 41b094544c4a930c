"""Generators behind OpenAI-compatible endpoints: Ollama, LM Studio, llama-server, hosted ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from localprobe.generators.endpoint_errors import EndpointError, advice, filtered, pause, unsupported, what
from localprobe.generators.generator import Completion, TextRequest, spoken
from localprobe.terminal_text import tell

if TYPE_CHECKING:
    from openai import OpenAI

WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds before each new attempt at a busy server that does not say how long to wait."""
_OPTIONAL = ("max_tokens", "seed", "temperature")
"""Options that a server may not support: they are left out if it refuses them, and the line records that."""
_SHORT = 10.0  # seconds, for requests that run no model


@dataclass(frozen=True, slots=True)
class Key:
    """An API key. Its value leaves this process only in the header of a request."""

    variable: str
    """The environment variable that it comes from."""
    value: str

    def __repr__(self) -> str:
        return f"Key({self.variable})"


class Endpoint:
    """A model behind an OpenAI-compatible endpoint.

    `start` says what to do if no server listens at `url`. `notify` is called with a line when an attempt is repeated.
    `sleep` waits a number of seconds.
    """

    in_memory = False

    def __init__(
        self,
        name: str,
        model: str,
        url: str,
        *,
        key: Key | None = None,
        start: str = "start the server, or mend the URL",
        timeout: float = 300.0,
        notify: Callable[[str], None] = tell,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name, self.model, self.url = name, model, url
        self._key, self._start, self._timeout = key, start, timeout
        self._notify, self._sleep = notify, sleep
        self._unknown: list[str] = []

    def ready(self) -> None:
        """Request the list of models, with a short timeout, to check that a server listens."""
        client = self._client
        import openai

        try:
            client.models.list(timeout=min(self._timeout, _SHORT))
        except openai.APITimeoutError:
            return  # it may be loading a model; a failure shows at the first text
        except openai.APIConnectionError as error:
            self._fail(error)
        except (openai.OpenAIError, ValueError):
            return  # not every server lists models or accepts the key here

    def answer(self, requests: Sequence[TextRequest]) -> list[Completion]:
        return [self._answer(request) for request in requests]

    def provenance(self) -> dict[str, Any]:
        return {"endpoint": self.url, **({"not_sent": list(self._unknown)} if self._unknown else {})}

    def rest(self) -> None:
        """Nothing to free."""

    @cached_property
    def _client(self) -> OpenAI:
        try:
            import openai
        except ImportError as error:
            raise EndpointError(
                f"{self.name} needs the openai client: run pip install 'localprobe[generate]'"
            ) from error
        # Retries are made here, so that the user can be notified. The client requires a key in any case.
        return openai.OpenAI(
            base_url=self.url,
            api_key=self._key.value if self._key else "none",
            timeout=self._timeout,
            max_retries=0,
        )

    def _answer(self, request: TextRequest) -> Completion:
        client = self._client
        import openai

        waits = iter(WAITS)
        while True:
            try:
                return self._read(self._request(client, request))
            except openai.APITimeoutError as error:
                self._fail(error)
            except (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError) as error:
                seconds = pause(error, next(waits, None))
                if seconds is None:
                    self._fail(error)
                self._notify(f"{self.name}: {what(error)}; asking again in {seconds:.0f} s")
                self._sleep(seconds)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if filtered(error):
                    return Completion("", "content_filter", self.model)
                left = [name for name in _OPTIONAL if name not in self._unknown]
                refused = unsupported(error, left) or self._fail(error)
                self._unknown.append(refused)
                self._notify(f"{self.name}: does not take {refused!r} ({what(error)}); asking without it")
            except (openai.OpenAIError, ValueError) as error:
                self._fail(error)

    def _request(self, client: OpenAI, request: TextRequest) -> Any:
        options: dict[str, Any] = {
            "max_tokens": request.tokens,
            "seed": request.seed,
            "temperature": request.temperature,
        }
        options = {name: value for name, value in options.items() if name not in self._unknown}
        if "max_tokens" in self._unknown:  # its newer name, which many servers do not know
            options["extra_body"] = {"max_completion_tokens": request.tokens}
        return client.chat.completions.create(
            model=self.model,
            messages=[{"role": "system", "content": request.system}, {"role": "user", "content": request.prompt}],
            **options,
        )

    def _read(self, reply: Any) -> Completion:
        choices = getattr(reply, "choices", None)
        if not choices or getattr(choices[0], "message", None) is None:
            raise EndpointError(
                f"{self.name}: {self.url} answers, but not as an OpenAI-compatible endpoint: "
                "is it the base URL? It usually ends in /v1"
            )
        message, usage = choices[0].message, getattr(reply, "usage", None)
        refusal = getattr(message, "refusal", None)
        return Completion(
            # A server that cuts an answer at its tokens may send half a character, which no file takes.
            spoken(message.content or refusal or "").encode(errors="replace").decode(),
            "refusal" if refusal else str(choices[0].finish_reason or "stop"),
            str(reply.model or self.model),
            int(getattr(usage, "completion_tokens", None) or 0),
        )

    def _fail(self, error: Exception) -> NoReturn:
        message = f"{self.name}: {self._advice(error)}"
        raise EndpointError(message.replace(self._key.value, "***") if self._key else message) from error

    def _advice(self, error: Exception) -> str:
        import openai

        match error:
            case openai.APITimeoutError():
                return f"no answer from {self.url} within {self._timeout:g} s: raise `timeout`, or take a smaller model"
            case openai.APIConnectionError():
                return f"cannot connect to {self.url} ({what(error)}): {self._start}"
            case openai.AuthenticationError() | openai.PermissionDeniedError() if self._key:
                return f"{self.url} refuses the key in {self._key.variable} ({what(error)}): put a valid one there"
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                return f"{self.url} wants an API key ({what(error)}): name its environment variable by `keys`"
            case openai.NotFoundError():
                return f"{self.url} has no model {self.model!r} ({what(error)}): {self._models()}"
        return f"{self.url} {advice(error)}"

    def _models(self) -> str:
        """The models that the server has, or what else may be wrong."""
        import openai

        try:
            names = [model.id for model in self._client.models.list(timeout=_SHORT).data]
        except (openai.OpenAIError, ValueError, AttributeError, TypeError):
            names = []
        if not names:
            return "check the model's name, and that this is the base URL (it usually ends in /v1)"
        return f"it has {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
