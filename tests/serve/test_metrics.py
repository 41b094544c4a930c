"""What Prometheus is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry
from starlette.testclient import TestClient

from localprobe.scheduling.job import Stats
from localprobe.serve.app import create_app
from localprobe.serve.exchange import Exchange, Observed
from localprobe.serve.metrics import Metrics
from localprobe.serve.settings import Settings
from tests.serve.server import Server

STATS = Stats(rows=3, waiting=2, tokens=640, prompt_tokens=90, reused_tokens=30, steps=200, rows_stepped=500, alerts=4)


class Models:
    """A host of two models, one of them loaded."""

    default = ""

    def __init__(self) -> None:
        loaded: Any = SimpleNamespace(scheduler=SimpleNamespace(stats=STATS))
        self._slots = [
            SimpleNamespace(name="a", hosted=loaded, reloads=2, goes_by="a".__eq__),
            SimpleNamespace(name='b"\n', hosted=None, reloads=0, goes_by="b".__eq__),
        ]

    def find(self, name: str) -> Any:
        return next((slot for slot in self.slots() if slot.goes_by(name)), None)

    def slots(self) -> Any:
        return self._slots


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(Models())  # type: ignore[arg-type]


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"localprobe_{name}", labels)


def test_what_schedulers_count_is_told_by_model(metrics: Metrics) -> None:
    told = metrics.registry
    assert value(told, "tokens_total", model="a") == 640
    assert value(told, "prompt_tokens_total", model="a") == 90
    assert value(told, "reused_tokens_total", model="a") == 30
    assert value(told, "steps_total", model="a") == 200
    assert value(told, "rows_stepped_total", model="a") == 500
    assert value(told, "alerts_total", model="a") == 4
    assert value(told, "rows", model="a") == 3
    assert value(told, "waiting", model="a") == 2
    assert value(told, "model_ready", model="a") == 1
    assert value(told, "engine_reloads_total", model="a") == 2
    assert value(told, "model_ready", model='b"\n') == 0
    assert value(told, "tokens_total", model='b"\n') is None


def test_every_count_of_the_scheduler_is_told(metrics: Metrics) -> None:
    names = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    for field in Stats.__dataclass_fields__:
        assert {f"localprobe_{field}", f"localprobe_{field}_total"} & names, field


def test_requests_are_counted_by_route_and_status_and_timed(metrics: Metrics) -> None:
    answered = Exchange(method="POST", route="/v1/completions", status=200, seconds=2.0)
    answered.tokens, answered.first_token, answered.last_token = 5, answered.began + 0.5, answered.began + 0.9
    for exchange in (answered, Exchange(method="POST", route="/v1/completions", status=400, seconds=0.001)):
        metrics.observe(exchange)
    told, route = metrics.registry, {"route": "/v1/completions"}
    assert value(told, "requests_total", **route, method="POST", status="200") == 1
    assert value(told, "requests_total", **route, method="POST", status="400") == 1
    assert value(told, "request_seconds_sum", **route) == pytest.approx(2.001)
    assert value(told, "first_token_seconds_sum") == pytest.approx(0.5)
    assert value(told, "token_seconds_sum") == pytest.approx(0.1)
    assert value(told, "token_seconds_count") == 1


def test_two_servers_count_apart() -> None:
    one, other = (Metrics(Models()) for _ in range(2))  # type: ignore[arg-type]
    one.observe(Exchange(route="/"))
    assert value(other.registry, "request_seconds_count", route="/") is None


def test_requests_cannot_make_up_labels() -> None:
    app = create_app(Models(), Settings())  # type: ignore[arg-type]
    client = TestClient(Observed(app, (app.state.metrics.observe,)))
    for number in range(20):
        client.request(f"METHOD{number}", f"/path{number}?q={number}")
        client.get(f"/v1/models/name{number}")
    text = client.get("/metrics").text
    requests = [line for line in text.splitlines() if line.startswith("localprobe_requests_total{")]
    assert sorted(line.rpartition(" ")[0] for line in requests) == [
        'localprobe_requests_total{method="GET",route="/v1/models/{name:path}",status="404"}',
        'localprobe_requests_total{method="other",route="other",status="404"}',
    ]


def test_a_server_that_answered_says_so(server: Server) -> None:
    before = _sample(server, "localprobe_tokens_total")
    server.chat(max_tokens=7)
    assert _sample(server, "localprobe_tokens_total") - before == 7


def _sample(server: Server, name: str) -> float:
    answer = server.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return next(sample.value for family in families for sample in family.samples if sample.name == name)
