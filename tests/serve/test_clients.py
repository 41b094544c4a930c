"""Other people's clients on a real server with a key: curl, OpenAI's, the llm tool and LangChain's. Each gets what the
model says alone, whole and streamed, and tells its user of a refusal."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.vectors.vector import Vector
from tests.serve.process import Started, started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
KEY = "secret-key"
TEXT = "What do you do?"
ASK: Any = {"model": "fake", "messages": [{"role": "user", "content": TEXT}], "seed": 5, "max_tokens": 20}
STEERED: Any = {"steering": "0.4 warm", "probes": ["warm"]}
ABROAD = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE")
"""Variables, in capitals and small letters, that would send a client elsewhere."""


@pytest.fixture(scope="module", autouse=True)
def at_home() -> Iterator[None]:
    """No client reaches for anything but the server."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ABROAD:
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        patch.setenv("LANGSMITH_TRACING", "false")
        patch.setenv("LANGCHAIN_TRACING_V2", "false")
        yield


@pytest.fixture(scope="module")
def locked(warm: Vector) -> Iterator[Started]:
    """A server that asks for a key."""
    with started(keys=[KEY]) as server:
        yield server


@pytest.fixture(scope="module")
def said(warm: Vector) -> dict[str, str]:
    """What the model says with these seeds, unsteered and steered."""
    with Model(FakeEngine()) as model:
        plain, steered = (model.answer(TEXT, seed=5, tokens=20, steer=steer).text for steer in (None, "0.4 warm"))
    assert plain != steered
    return {"plain": plain, "steered": steered}


def run(*command: str | Path, **how: Any) -> str:
    """What a command prints."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, **how)
    assert done.returncode == 0, done.stderr
    told: str = done.stdout
    return told


class TestCurl:
    @pytest.fixture(autouse=True)
    def there(self) -> None:
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")

    def ask(self, server: Started, *options: str, key: str | None = KEY, **fields: Any) -> str:
        sent = ["-H", f"Authorization: Bearer {key}"] if key else []
        body = ["-H", "Content-Type: application/json", "-d", json.dumps(ASK | fields)]
        return run("curl", "-sS", *options, f"{server.url}/v1/chat/completions", *sent, *body)

    def test_an_answer(self, locked: Started, said: dict[str, str]) -> None:
        assert json.loads(self.ask(locked))["choices"][0]["message"]["content"] == said["plain"]
        steered = json.loads(self.ask(locked, **STEERED))
        assert steered["choices"][0]["message"]["content"] == said["steered"]
        assert steered["localprobe"]["steering"] == "0.4 warm"

    def test_a_stream(self, locked: Started, said: dict[str, str]) -> None:
        told = self.ask(locked, "-N", **STEERED, stream=True)
        lines = [line for line in told.split("\n\n") if line]
        assert all(line.startswith("data: ") for line in lines)
        assert lines.pop() == "data: [DONE]"
        chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == said["steered"]

    @pytest.mark.parametrize("key", [None, "wrong-key"])
    def test_a_key_that_is_missing_or_wrong(self, locked: Started, key: str | None) -> None:
        *body, status = self.ask(locked, "-w", "\n%{http_code}", key=key).splitlines()
        assert status == "401"
        assert json.loads("\n".join(body))["error"]["type"] == "authentication_error"

    def test_an_error(self, locked: Started) -> None:
        *body, status = self.ask(locked, "-w", "\n%{http_code}", steering="0.4 worm", stream=True).splitlines()
        assert status == "400"
        assert "did you mean 'warm'" in json.loads("\n".join(body))["error"]["message"]

    def test_two_large_bodies_on_one_connection(self, locked: Started) -> None:
        """curl asks before it sends a large body (`Expect: 100-continue`)."""
        long = json.dumps(ASK) + " " * 300_000
        url = f"{locked.url}/v1/chat/completions"
        key = f"Authorization: Bearer {KEY}"
        told = run(
            "curl", "-sS", "-w", "%{http_code} %{num_connects}\n", "-o", os.devnull, "-o", os.devnull,
            "-H", key, "-H", "Content-Type: application/json", "-H", "Expect: 100-continue", "-d", "@-", url, url,
            input=long,
        )  # fmt: skip
        assert told.split() == ["200", "1", "200", "0"]


class TestOpenAI:
    def client(self, server: Started, key: str = KEY) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)

    def test_models_and_answers(self, locked: Started, said: dict[str, str]) -> None:
        client = self.client(locked)
        assert [model.id for model in client.models.list()] == ["fake"]
        assert client.models.retrieve("fake").id == "fake"
        assert client.chat.completions.create(**ASK).choices[0].message.content == said["plain"]

    def test_the_stream_helper_joins_chunks_that_have_scores(self, locked: Started, said: dict[str, str]) -> None:
        with self.client(locked).chat.completions.stream(**ASK, extra_body=STEERED) as stream:
            for _ in stream:
                pass
            whole = stream.get_final_completion()
        assert whole.choices[0].message.content == said["steered"]
        assert whole.choices[0].finish_reason == "stop"

    def test_the_raw_answer(self, locked: Started) -> None:
        raw = self.client(locked).chat.completions.with_raw_response.create(**ASK)
        assert raw.status_code == 200
        assert raw.parse().id.startswith("chatcmpl-")

    def test_the_async_client_asks_for_several_at_once(self, locked: Started, said: dict[str, str]) -> None:
        async def ask() -> tuple[str | None, str]:
            async with openai.AsyncOpenAI(base_url=f"{locked.url}/v1", api_key=KEY, max_retries=0) as client:

                async def streamed() -> str:
                    chunks = await client.chat.completions.create(**ASK, extra_body=STEERED, stream=True)
                    return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

                whole, text = await asyncio.gather(client.chat.completions.create(**ASK), streamed())
                return whole.choices[0].message.content, text

        assert asyncio.run(ask()) == (said["plain"], said["steered"])

    def test_a_stream_may_be_left(self, locked: Started) -> None:
        client = self.client(locked)
        with client.chat.completions.create(**ASK | {"max_tokens": 400}, stream=True) as stream:
            next(iter(stream))
        assert client.chat.completions.create(**ASK).choices

    def test_the_responses_api_is_not_found(self, locked: Started) -> None:
        with pytest.raises(openai.NotFoundError, match="no '/v1/responses' here"):
            self.client(locked).responses.create(model="fake", input=TEXT)

    def test_a_wrong_key(self, locked: Started) -> None:
        with pytest.raises(openai.AuthenticationError):
            self.client(locked, "wrong-key").models.list()

    @pytest.mark.parametrize("asked", [{"tools": [{"type": "function", "function": {"name": "f"}}]}, {"n": 0}])
    def test_what_is_refused(self, locked: Started, asked: dict[str, Any]) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            self.client(locked).chat.completions.create(**ASK, **asked)
        assert caught.value.param == next(iter(asked))


class TestLlm:
    """Simon Willison's command line, told of the server in its own file of models."""

    @pytest.fixture(autouse=True)
    def configured(self, locked: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("llm")
        base = f"{locked.url}/v1"
        models = [
            {
                "model_id": name,
                "model_name": "fake",
                "api_base": base,
                "api_key_name": "localprobe",
                "completion": plain,
            }
            for name, plain in (("local", False), ("text", True))
        ]
        (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models))  # which is YAML too
        monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
        monkeypatch.setenv("LLM_LOAD_PLUGINS", "")  # a bundled model is a plugin of it, and would be loaded

    def llm(self, *arguments: str, key: str = KEY, model: str = "local") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "llm", "-m", model, "--key", key, *arguments]
        options = ["-o", "seed", "5", "-o", "max_tokens", "20"]
        return subprocess.run([*command, *options], check=False, capture_output=True, text=True, timeout=60)

    @pytest.mark.parametrize("how", [[], ["--no-stream"]])
    def test_an_answer(self, said: dict[str, str], how: list[str]) -> None:
        done = self.llm(TEXT, *how)
        assert done.stdout == said["plain"] + "\n", done.stderr

    def test_an_answer_under_the_steering_of_the_server(self, locked: Started, said: dict[str, str]) -> None:
        """llm cannot name a steering: the operator's holds."""
        assert locked.http.put("/v1/steering", json={"steering": "0.4 warm"}).status_code == 200
        try:
            assert self.llm(TEXT).stdout == said["steered"] + "\n"
        finally:
            locked.http.put("/v1/steering", json={"steering": ""})

    def test_a_chat_that_goes_on(self, locked: Started, said: dict[str, str]) -> None:
        self.llm(TEXT, "-s", "Be brief.")
        told = self.llm("And then?", "-c").stdout
        first = self.ask(locked, ("system", "Be brief."), ("user", TEXT))
        again = self.ask(locked, ("system", "Be brief."), ("user", TEXT), ("assistant", first), ("user", "And then?"))
        assert told == again + "\n"

    def test_a_completion(self, locked: Started) -> None:
        body = {"model": "fake", "prompt": "Once", "seed": 5, "max_tokens": 20}
        expected = locked.http.post("/v1/completions", json=body).json()["choices"][0]["text"]
        assert self.llm("Once", model="text").stdout == expected + "\n"

    def test_an_error(self) -> None:
        done = self.llm(TEXT, key="wrong-key")
        assert done.returncode != 0
        assert "401" in done.stderr

    def ask(self, server: Started, *messages: tuple[str, str]) -> str:
        wanted = [{"role": role, "content": text} for role, text in messages]
        answer = server.http.post("/v1/chat/completions", json=ASK | {"messages": wanted}).json()
        text: str = answer["choices"][0]["message"]["content"]
        return text


class TestLangChain:
    def chat(self, server: Started, key: str = KEY, **more: Any) -> Any:
        module = pytest.importorskip("langchain_openai")
        return module.ChatOpenAI(
            base_url=f"{server.url}/v1", api_key=key, model="fake", seed=5, max_tokens=20, max_retries=0, **more
        )

    def test_an_answer(self, locked: Started, said: dict[str, str]) -> None:
        answer = self.chat(locked, temperature=0.7).invoke(TEXT)
        assert answer.content == said["plain"]
        assert answer.response_metadata["finish_reason"] == "length"
        assert answer.usage_metadata["output_tokens"] == 20

    def test_a_stream_of_a_steered_answer(self, locked: Started, said: dict[str, str]) -> None:
        chunks = list(self.chat(locked, extra_body=STEERED, stream_usage=True).stream(TEXT))
        assert "".join(chunk.content for chunk in chunks) == said["steered"]
        assert sum((chunk.usage_metadata or {}).get("output_tokens", 0) for chunk in chunks) == len(said["steered"])

    def test_a_batch(self, locked: Started, said: dict[str, str]) -> None:
        assert [answer.content for answer in self.chat(locked).batch([TEXT] * 4)] == [said["plain"]] * 4

    def test_answers_of_several_at_once(self, locked: Started, said: dict[str, str]) -> None:
        async def ask() -> list[Any]:
            chat = self.chat(locked)
            return await asyncio.gather(*(chat.ainvoke(TEXT) for _ in range(3)))

        assert [answer.content for answer in asyncio.run(ask())] == [said["plain"]] * 3

    def test_log_probabilities(self, locked: Started) -> None:
        answer = self.chat(locked, logprobs=True, top_logprobs=2).invoke(TEXT)
        tokens = answer.response_metadata["logprobs"]["content"]
        assert "".join(token["token"] for token in tokens) == answer.content
        assert all(len(token["top_logprobs"]) == 2 for token in tokens)

    def test_errors(self, locked: Started) -> None:
        with pytest.raises(openai.BadRequestError, match="did you mean 'warm'"):
            self.chat(locked, extra_body={"steering": "0.4 worm"}).invoke(TEXT)
        with pytest.raises(openai.AuthenticationError):
            self.chat(locked, "wrong-key").invoke(TEXT)
